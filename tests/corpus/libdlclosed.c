/* libdlclosed.c: a library that loses one block and holds another one. */
#include "tests/corpus/corpus.h"

HOLDER void *held;

static NOINLINE void library_lose(void)
{
	block(64);
}

static NOINLINE void library_hold(void)
{
	held = block(480);
}

void library_run(void)
{
	apart(library_lose);
	apart(library_hold);
}
