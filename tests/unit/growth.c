/* growth.c: a diff is held against the moment of the diff before, stack by stack. */
#include <criterion/criterion.h>
#include <string.h>

#include "scan/growth.h"
#include "tests/core.h"

static struct leaks_entry list[8];
static struct leaks_entries entries = { .list = list };
static struct growth g;

static void begin(void)
{
	core_start();
	growth_prepare();
}

/* `text`: "STACK:BYTES/BLOCKS ...", by rising stacks: all that is allocated now. */
static void at(uint64_t ms, const char *text)
{
	unsigned stack, nbytes, nblocks;
	int len;

	memset(list, 0, sizeof list);
	entries.n = 0;
	for (; sscanf(text, " %u:%u/%u%n", &stack, &nbytes, &nblocks, &len) == 3; text += len) {
		list[entries.n].stack = stack;
		list[entries.n++].sum = (struct leaks_sum){ nbytes, nblocks };
	}
	cr_assert(growth_compare(&g, &entries, ms));
}

static void grew(unsigned i, uint32_t stack, int64_t nbytes, int64_t nblocks)
{
	cr_assert(i < entries.n);
	cr_assert_eq(list[i].stack, stack);
	cr_assert_eq((int64_t)list[i].sum.nbytes, nbytes);
	cr_assert_eq((int64_t)list[i].sum.nblocks, nblocks);
}

Test(growth, the_first_is_since_the_start, .init = begin)
{
	at(5000, "0:7/1 3:100/2 9:50/1");
	cr_assert(g.is_first && g.since_ms == 5000 && entries.n == 3);
	grew(0, 0, 7, 1);
	grew(1, 3, 100, 2);
	cr_assert(g.grown.nbytes == 157 && g.live.nbytes == 157 && !g.nshrunk);
}

Test(growth, what_did_not_change_is_not_told, .init = begin)
{
	at(5000, "1:100/2 2:50/1");
	at(7500, "1:100/2 2:50/1");
	cr_assert(!g.is_first && g.since_ms == 2500 && !entries.n && !g.nshrunk);
	cr_assert_eq(g.live.nbytes, 150);
}

Test(growth, stacks_that_come_grow_shrink_and_go, .init = begin)
{
	at(1, "1:100/2 2:50/1 3:30/3 4:10/1");
	at(2, "1:150/1 2:20/1 4:10/1 7:8/8");
	cr_assert_eq(entries.n, 2);
	grew(0, 1, 50, -1);                     /* fewer and larger */
	cr_assert_eq(list[0].live.nbytes, 150);
	grew(1, 7, 8, 8);
	cr_assert(g.nshrunk == 2 && g.shrunk.nbytes == 30 + 30 && g.shrunk.nblocks == 3);
	at(3, "");
	cr_assert(!entries.n && g.nshrunk == 4 && g.shrunk.nbytes == 188);
	at(4, "3:5/1");
	grew(0, 3, 5, 1);
}

Test(growth, more_blocks_of_no_more_bytes_are_growth, .init = begin)
{
	at(1, "1:0/2");
	at(2, "1:0/5");
	grew(0, 1, 0, 3);
}
