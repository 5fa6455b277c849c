/* malloc_info.c: well-formed XML, also to a stream that allocates; options are refused; what the
 * system gave less what is free is what the program holds.
 */
#include "tests/check.h"

#include <ctype.h>
#include <malloc.h>

/* Tags of `xml` open and close in pairs; quotes are balanced. */
static bool is_well_formed(const char *xml)
{
	const char *open[20];
	size_t depth = 0;

	for (const char *p = strchr(xml, '<'); p; p = strchr(p + 1, '<')) {
		const char *end = strchr(p, '>');
		size_t name = strcspn(p + 1, " />");
		if (!end)
			return false;
		if (p[1] == '/') {
			name = strcspn(p + 2, ">");
			if (depth == 0 || strncmp(open[--depth] + 1, p + 2, name) != 0)
				return false;
		} else if (end[-1] != '/') {
			if (name == 0 || !isalpha((unsigned char)p[1]) || depth == COUNT(open))
				return false;
			open[depth++] = p;
		}
	}
	return depth == 0;
}

/* A stream whose every write calls malloc: a lock held meanwhile would be met again. */
static struct {
	char  *text;
	size_t len;
} sink;

static ssize_t sink_write(void *unused, const char *from, size_t nbytes)
{
	(void)unused;
	sink.text = realloc(sink.text, sink.len + nbytes + 1);
	CHECK(sink.text);
	memcpy(sink.text + sink.len, from, nbytes);
	sink.len += nbytes;
	sink.text[sink.len] = '\0';
	check_heap_works();
	return (ssize_t)nbytes;
}

/* The `size` of the element that begins so, after </heap>. */
static size_t size_of(const char *xml, const char *element)
{
	const char *p = strstr(xml, "</heap>");

	p = p ? strstr(p, element) : NULL;
	CHECKF(p && strstr(p, "size=\""), "%s in %s", element, xml);
	return strtoull(strstr(p, "size=\"") + 6, NULL, 10);
}

static void the_totals_are_right(void)
{
	static char text[1 << 16];
	FILE *f = fmemopen(text, sizeof text, "w");
	struct mallinfo2 m;
	size_t current;

	CHECK(f);
	setvbuf(f, NULL, _IONBF, 0);
	m = mallinfo2();
	CHECK(malloc_info(0, f) == 0);
	fclose(f);
	current = size_of(text, "<system type=\"current\"");
	CHECKF(current - size_of(text, "<total type=\"fast\"") - size_of(text, "<total type=\"rest\"")
	       == m.uordblks, "%zu in %s", m.uordblks, text);
	CHECK(size_of(text, "<system type=\"max\"") >= current);
	CHECK(size_of(text, "<aspace type=\"total\"") >= current);
	CHECK(size_of(text, "<total type=\"rest\"") == m.fordblks - m.fsmblks);
	CHECK(strstr(text, "<size from=\"1\" to=\""));
}

int main(void)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){ .write = sink_write });

	CHECK(malloc_info(1, stdout) == EINVAL);
	CHECK(malloc_info(-1, stdout) == EINVAL);
	CHECK(f);
	setvbuf(f, NULL, _IONBF, 0);
	check_heap_works();
	CHECK(malloc_info(0, f) == 0);
	CHECK(fclose(f) == 0);
	CHECKF(strncmp(sink.text, "<malloc version=\"1\">", 20) == 0, "%s", sink.text);
	CHECKF(is_well_formed(sink.text), "%s", sink.text);
	CHECK(strstr(sink.text, "</malloc>"));
	the_totals_are_right();
	free(sink.text);
	f = fopen("/dev/null", "w");
	CHECK(f && malloc_info(0, f) == 0);
	fclose(f);
	return 0;
}
