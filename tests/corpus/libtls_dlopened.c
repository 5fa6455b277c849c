/* libtls_dlopened.c: a library with thread-local variables, too large for the static space. */
#include "tests/corpus/corpus.h"

HOLDER __thread void *held[2000];

static NOINLINE void keep(void)
{
	held[1999] = block(48);
	held[0] = block(480);
}

void library_keep(void)
{
	apart(keep);
}
