/* out.c: a buffered writer for reports.
 *
 * Reached from leaks_report.c. By syscall(2): write() is a cancellation point.
 */
#include "scan/out.h"

#include "core/report.h"
#include "core/sigmask.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A pipe that nobody reads, and a file that may not grow, are told by a signal to the thread as well:
 * it is taken before signals are open again. */
static void take_signal(int signo)
{
	const struct sigmask set = { UINT64_C(1) << (signo - 1) };
	const struct timespec now = { 0 };

	syscall(SYS_rt_sigtimedwait, &set, NULL, &now, sizeof set.bits);
}

bool out_write(int fd, const char *s, size_t nbytes)
{
	struct sigmask saved;
	int error = 0;

	sigmask_block(&saved);
	while (nbytes && !error) {
		long n = syscall(SYS_write, fd, s, nbytes);

		if (n > 0) {
			s += n;
			nbytes -= (size_t)n;
		} else if (n == 0 || errno != EINTR) {
			error = n == 0 ? ENOSPC : errno;
		}
	}
	if (error == EPIPE)
		take_signal(SIGPIPE);
	if (error == EFBIG)
		take_signal(SIGXFSZ);
	sigmask_restore(&saved);
	return !error;
}

void out_flush(struct out *o)
{
	if (!o->has_failed && o->len && !out_write(o->fd, o->buf, o->len))
		o->has_failed = true;
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
