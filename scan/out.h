/* out.h: text of any length on its way to a file, in pieces as large as the buffer. */
#ifndef SCAN_OUT_H
#define SCAN_OUT_H

#include "core/base.h"

struct out {
	int    fd;
	bool   has_failed;
	size_t len;
	char   buf[8192];
};

/* ctx of all: any. Nothing is written after an error. */
void out_bytes(struct out *o, const char *s, size_t nbytes);
void out_str(struct out *o, const char *s);
void out_dec(struct out *o, uint64_t n);
void out_dec_width(struct out *o, uint64_t n, unsigned width);
void out_hex(struct out *o, uint64_t n);
void out_flush(struct out *o);

/* A string of JSON with its quotes, or null; bytes that are no UTF-8 become U+FFFD. */
void out_json(struct out *o, const char *s);

#endif
