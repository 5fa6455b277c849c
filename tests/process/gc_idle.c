/* gc_idle.c: what a cycle frees in a program that has no more to do goes back to the kernel all the same:
 * nobody calls malloc or free, which else start the thread that gives pages back.
 *
 * env: SPANGC_MODE=gc
 * leaks: its mode is gc
 */
#include "tests/process/process.h"

#define NBLOCKS 100000
#define BLOCK_BYTES 1000                        /* 100 MB in all */
#define LEFT_BYTES MIB(30)                      /* of them, and the program itself */
#define PATIENCE_MS 60000

static void *held[NBLOCKS];                     /* no list: a stale word in a register keeps one block only */

static void hold(void)
{
	for (unsigned i = 0; i < NBLOCKS; i++)
		held[i] = memset(hide(malloc(BLOCK_BYTES)), 1, BLOCK_BYTES);
}

int main(void)
{
	size_t (*collect)(void) = (size_t (*)(void))symbol("spangc_collect");
	size_t now = 0;

	watchdog(100);
	hold();
	memset(held, 0, sizeof held);
	collect();
	collect();
	for (unsigned i = 0; (now = rss_bytes()) >= LEFT_BYTES && i < PATIENCE_MS / 100; i++)
		sleep_ms(100);
	CHECKF(now < LEFT_BYTES, "%zu MiB are resident", now >> 20);
	return 0;
}
