/* double_free_first_of_100.c: the first of 100 frees again, with neighbours allocated since in
 * other classes: the slot itself was not handed out again.
 *
 * status: SIGABRT
 * stderr: ==[0-9]+==ERROR: spangc: (double free of 0x[0-9a-f]+ in free\(\)|invalid free of 0x[0-9a-f]+ in free\(\): free memory.*)
 */
#include "tests/victims/victims.h"

int main(void)
{
	static char *block[100];

	for (size_t i = 0; i < COUNT(block); i++)
		block[i] = hide(malloc(48));
	for (size_t i = 0; i < COUNT(block); i++)
		free(block[i]);
	for (size_t i = 0; i < COUNT(block); i++)
		CHECK(hide(malloc(4000 + i)));
	misuse_of(block[0]);
	free(block[0]);
	return survived();
}
