/* callers.c: every way to allocate.
 *
 * leaks: direct 480/1 of_calloc; direct 70/1 of_reallocarray; direct 6/1 of_strdup; direct 13/1 of_asprintf
 */
#include "tests/corpus/corpus.h"

static NOINLINE void of_calloc(void)
{
	hide(calloc(12, 40));
}

static NOINLINE void of_reallocarray(void)
{
	hide(reallocarray(NULL, 7, 10));
}

static NOINLINE void of_strdup(void)
{
	hide(strdup("hello"));
}

static NOINLINE void of_asprintf(void)
{
	char *text;

	CHECK(asprintf(&text, "%s %d", "hello,", 12345) == 12);
	hide(text);
}

int main(void)
{
	apart(of_calloc);
	apart(of_reallocarray);
	apart(of_strdup);
	apart(of_asprintf);
	return 0;
}
