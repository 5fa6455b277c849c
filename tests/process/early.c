/* early.c: malloc before our constructor: from a library preloaded before and after ours, and
 * from .preinit_array. The blocks are good, and main() can free them.
 */
#include "tests/process/process.h"

static void *preinit_block;

static void allocate_at_preinit(void)
{
	preinit_block = malloc(1000);
	free(malloc(100000));
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(void) =
	allocate_at_preinit;

static void preload(const char *first, const char *second)
{
	char list[2 * PATH_MAX];

	snprintf(list, sizeof list, "%s %s", first, second);
	setenv("LD_PRELOAD", list, 1);
}

static void library_before(void)
{
	const char *ours = getenv("LD_PRELOAD");

	preload(beside("libearly.so"), ours ? ours : "");
}

static void library_after(void)
{
	const char *ours = getenv("LD_PRELOAD");

	preload(ours ? ours : "", beside("libearly.so"));
}

static int child(void)
{
	void **block = symbol("early_block");

	CHECK(preinit_block);
	memset(preinit_block, 1, 1000);
	free(preinit_block);
	for (size_t i = 0; i < 64; i++) {
		CHECK(block[i] && pattern_holds(block[i], i * 100 + 1, i));
		block[i] = realloc(block[i], 50000);
		CHECK(block[i]);
		free(block[i]);
	}
	check_heap_works();
	return 0;
}

int main(int argc, char **argv)
{
	struct outcome o;

	if (argc > 1 && strcmp(argv[1], "child") == 0)
		return child();
	run_self(&o, "child", library_before);
	CHECKF(ended_well(&o) && o.nlines == 0, "before: %x %s", (unsigned)o.status, o.err);
	run_self(&o, "child", library_after);
	CHECKF(ended_well(&o) && o.nlines == 0, "after: %x %s", (unsigned)o.status, o.err);
	return 0;
}
