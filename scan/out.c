/* out.c: a buffered writer for reports.
 *
 * Reached from whatever writes a report: report_*.c, why_*.c.
 */
#include "scan/out.h"

#include "core/report.h"
#include "core/sigmask.h"

#include <string.h>

void out_flush(struct out *o)
{
	if (!o->has_failed)
		o->has_failed = !sigmask_write(o->fd, o->buf, o->len);
	o->len = 0;
}

void out_bytes(struct out *o, const char *s, size_t nbytes)
{
	while (nbytes) {
		size_t room = sizeof o->buf - o->len;
		size_t n = nbytes < room ? nbytes : room;

		memcpy(o->buf + o->len, s, n);
		o->len += n;
		s += n;
		nbytes -= n;
		if (o->len == sizeof o->buf)
			out_flush(o);
	}
}

void out_str(struct out *o, const char *s)
{
	out_bytes(o, s, strlen(s));
}

void out_dec(struct out *o, uint64_t n)
{
	struct text t = { 0 };

	text_dec(&t, n);
	out_bytes(o, t.buf, t.len);
}

void out_dec_width(struct out *o, uint64_t n, unsigned width)
{
	struct text t = { 0 };

	text_dec_width(&t, n, width);
	out_bytes(o, t.buf, t.len);
}

void out_hex(struct out *o, uint64_t n)
{
	struct text t = { 0 };

	text_hex(&t, n);
	out_bytes(o, t.buf, t.len);
}

/* Bytes of the UTF-8 sequence at `s`; 0: it is none. Longer encodings than need be and surrogates
 * are none. */
static unsigned utf8_length(const unsigned char *s)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n = *s < 0x80 ? 1 : *s >= 0xf0 ? 4 : *s >= 0xe0 ? 3 : *s >= 0xc0 ? 2 : 0;
	uint32_t c = n < 2 ? *s : *s & (0x7fu >> n);

	if (n == 0 || *s >= 0xf8)
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	return c < lowest[n] || c > 0x10ffff || c >> 11 == 0x1b ? 0 : n;
}

static void out_escaped(struct out *o, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	char code[] = { '\\', 'u', '0', '0', digits[c >> 4], digits[c & 15] };

	out_bytes(o, code, sizeof code);
}

void out_json(struct out *o, const char *s)
{
	if (!s) {
		out_str(o, "null");
		return;
	}
	out_str(o, "\"");
	while (*s) {
		unsigned n = utf8_length((const unsigned char *)s);

		if (n == 0) {
			out_str(o, "\\ufffd");
			s++;
		} else if (n == 1 && (*s == '"' || *s == '\\' || (unsigned char)*s < ' ' || *s == 127)) {
			out_escaped(o, (unsigned char)*s++);
		} else {
			out_bytes(o, s, n);
			s += n;
		}
	}
	out_str(o, "\"");
}
