/* lost_sizes.c: one of each size from 0 bytes up, all from one line: a report of what was asked
 * for, not of slots. 0 + 1 + ... + 99 bytes.
 *
 * leaks: direct 4950/100 lose
 */
#include "tests/corpus/corpus.h"

static NOINLINE void lose(void)
{
	for (size_t nbytes = 0; nbytes < 100; nbytes++)
		block(nbytes);
}

int main(void)
{
	apart(lose);
	return 0;
}
