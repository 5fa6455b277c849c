/* out.c: strings of JSON; long texts; errors. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "scan/out.h"
#include "tests/core.h"

static struct out out;

static void expect(const char *s, const char *json)
{
	out.len = 0;
	out_json(&out, s);
	cr_assert(out.len == strlen(json) && !memcmp(out.buf, json, out.len), "%.*s, not %s",
	          (int)out.len, out.buf, json);
}

Test(out, strings_of_json_are_valid_whatever_is_in_them)
{
	expect(NULL, "null");
	expect("", "\"\"");
	expect("a/b c", "\"a/b c\"");
	expect("a\"b\\", "\"a\\u0022b\\u005c\"");
	expect("\n\x01\x7f", "\"\\u000a\\u0001\\u007f\"");
	expect("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	expect("\xc3", "\"\\ufffd\"");                          /* cut */
	expect("\xe2\x82x", "\"\\ufffd\\ufffdx\"");
	expect("\x80\xff", "\"\\ufffd\\ufffd\"");
	expect("\xc0\xaf", "\"\\ufffd\\ufffd\"");               /* longer than need be */
	expect("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");    /* a surrogate */
	expect("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

Test(out, texts_of_any_length_arrive_whole)
{
	static char got[100000];
	char path[] = "/tmp/spangc-out-XXXXXX";
	size_t n = 0;

	out.fd = mkstemp(path);
	cr_assert(out.fd >= 0);
	for (unsigned i = 0; n < 50000; i++) {
		char piece[20];

		n += (size_t)sprintf(piece, "%u,", i);
		out_dec(&out, i);
		out_str(&out, ",");
	}
	out_flush(&out);
	cr_assert_eq(pread(out.fd, got, sizeof got, 0), (ssize_t)n);
	for (unsigned i = 0, at = 0; at < n; i++) {
		cr_assert_eq(strtoul(got + at, NULL, 10), i);
		at += (unsigned)strcspn(got + at, ",") + 1;
	}
	unlink(path);
	close(out.fd);
}

Test(out, an_error_is_remembered)
{
	out.fd = open("/dev/full", O_WRONLY);
	out_str(&out, "x");
	out_flush(&out);
	cr_assert(out.has_failed);
	close(out.fd);
}
