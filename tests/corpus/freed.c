/* freed.c: everything is freed, and much is allocated at the same addresses.
 *
 * leaks: none
 */
#include "tests/corpus/corpus.h"

static NOINLINE void churn(void)
{
	void *held[100] = { 0 };

	for (size_t i = 0; i < 10000; i++) {
		free(held[i % 100]);
		held[i % 100] = block(i % 700);
	}
	for (size_t i = 0; i < 100; i++)
		free(held[i]);
}

int main(void)
{
	apart(churn);
	return 0;
}
