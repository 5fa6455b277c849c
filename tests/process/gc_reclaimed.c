/* gc_reclaimed.c: in mode gc with SPANGC_STACKS=all, freeing a block that was reclaimed tells who
 * allocated it; realloc() of one says the same, and SPANGC_GC_FREE=ignore says nothing of free(). A block
 * that is kept survives with its contents, its size and what realloc() makes of it.
 */
#include "tests/process/process.h"

#include <malloc.h>
#include <sys/wait.h>

#define NBLOCKS 200

static uintptr_t hidden[NBLOCKS];
static char *kept;

static __attribute__((noinline)) void make(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		hidden[i] = ~(uintptr_t)malloc(hide_size(100));
	kept = malloc(hide_size(100));
	memset(kept, 7, malloc_usable_size(kept));
}

static __attribute__((noinline)) void wipe(void)
{
	char stale[20000];

	memset(stale, 0, sizeof stale);
	hide(stale);
}

/* The part of the child: frees, or makes larger, what it hid. */
static int misuse(const char *how)
{
	size_t (*collect)(void) = (size_t (*)(void))symbol("spangc_collect");

	make();
	wipe();
	collect();
	wipe();
	for (size_t i = 0; i < malloc_usable_size(kept); i++)
		CHECK(kept[i] == 7);
	CHECK((kept = realloc(kept, 5000)) && kept[99] == 7);
	free(kept);
	if (!strcmp(how, "free"))
		free((void *)~hidden[NBLOCKS / 2]);
	else
		CHECK(!realloc((void *)~hidden[NBLOCKS / 2], 1000));
	return 0;
}

/* What a child says that does so with that setting. */
static const char *said(const char *how, const char *setting)
{
	static char text[10000];
	FILE *told = tmpfile();
	pid_t child = fork();
	int status;

	CHECK(told && child >= 0);
	if (!child) {
		putenv((char *)(uintptr_t) "SPANGC_MODE=gc");
		putenv((char *)(uintptr_t) "SPANGC_MISUSE=warn");
		putenv((char *)(uintptr_t)setting);
		dup2(fileno(told), 2);
		execl("/proc/self/exe", "gc_reclaimed", how, NULL);
		_exit(127);
	}
	CHECK(waitpid(child, &status, 0) == child);
	rewind(told);
	text[fread(text, 1, sizeof text - 1, told)] = '\0';
	CHECKF(status == 0, "%d: %s", status, text);
	fclose(told);
	return text;
}

int main(int argc, char **argv)
{
	const char *text;

	if (argc > 1)
		return misuse(argv[1]);
	text = said("free", "SPANGC_STACKS=all");
	CHECKF(strstr(text, "free of reclaimed ") && strstr(text, "allocated from:\n    #0 0x")
	       && strstr(text, "    #1 0x") && strstr(text, "gc_reclaimed+0x"), "%s", text);
	text = said("free", "SPANGC_STACKS=off");
	CHECKF(strstr(text, "free of reclaimed ") && !strstr(text, "allocated from"), "%s", text);
	text = said("realloc", "SPANGC_STACKS=all");
	CHECKF(strstr(text, "in realloc()") && strstr(text, "gc_reclaimed+0x"), "%s", text);
	text = said("free", "SPANGC_GC_FREE=ignore");
	CHECKF(!*text, "%s", text);
	return 0;
}
