/* leaks.c: direct and indirect, held against a definition that is too slow to be used: of each block,
 * all that it leads to.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scan/leaks.h"
#include "tests/core.h"

#define MAX 24
#define WORDS 4

static uintptr_t memory[MAX][WORDS];
static struct leaks_block blocks[MAX];
static uint32_t list[MAX], n;

/* Anywhere in a block is that block. */
static uintptr_t find(uintptr_t word)
{
	uintptr_t base = (uintptr_t)memory, each = sizeof memory[0];

	return word - base < n * each ? base + (word - base) / each * each : 0;
}

static void begin(uint32_t nblocks)
{
	n = nblocks;
	memset(memory, 0, sizeof memory);
	memset(blocks, 0, sizeof blocks);
	for (uint32_t i = 0; i < n; i++)
		blocks[i] = (struct leaks_block){ .p = (uintptr_t)memory[i],
			                          .nreadable = sizeof memory[i],
			                          .nbytes = (uint64_t)1 << i };
}

static void link_to(unsigned from, unsigned word, unsigned to)
{
	memory[from][word] = (uintptr_t)memory[to];
}

static void classify(void)
{
	leaks_classify(blocks, n, list, find);
}

static uint32_t direct(void)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < n; i++)
		bits |= (uint32_t)blocks[i].is_direct << i;
	return bits;
}

Test(leaks, a_list_has_one_head_wherever_it_lies)
{
	begin(4);
	link_to(3, 1, 2);
	link_to(2, 0, 0);
	link_to(0, 3, 1);
	classify();
	cr_assert_eq(direct(), 1u << 3);
	cr_assert_eq(blocks[3].indirect_bytes, 7);
}

Test(leaks, a_circle_has_one_head_the_lowest)
{
	begin(5);
	link_to(1, 0, 3);
	link_to(3, 0, 4);
	link_to(4, 0, 1);
	classify();
	cr_assert_eq(direct(), 1u << 0 | 1u << 1 | 1u << 2);
	cr_assert_eq(blocks[1].indirect_bytes, 8 + 16);
}

Test(leaks, a_circle_that_something_leads_to_has_none)
{
	begin(5);
	link_to(0, 0, 1);                       /* 0 <-> 1 */
	link_to(1, 0, 0);
	link_to(4, 0, 1);                       /* into it, not at its lowest block */
	link_to(2, 0, 3);                       /* 2 <-> 3 */
	link_to(3, 0, 2);
	link_to(3, 1, 0);                       /* and from there, too */
	classify();
	cr_assert_eq(direct(), 1u << 4 | 1u << 2);
	cr_assert_eq(blocks[4].indirect_bytes, 1 + 2);
	cr_assert_eq(blocks[2].indirect_bytes, 8, "what two hold counts for the higher");
}

Test(leaks, who_leads_to_himself_is_direct)
{
	begin(1);
	link_to(0, 0, 0);
	classify();
	cr_assert_eq(direct(), 1);
	cr_assert_eq(blocks[0].indirect_bytes, 0);
}

Test(leaks, what_is_not_readable_leads_nowhere)
{
	begin(2);
	link_to(0, 3, 1);
	blocks[0].nreadable = 3 * sizeof(uintptr_t);
	classify();
	cr_assert_eq(direct(), 3);
}

static uint32_t reach[MAX];

static void slow_reach(void)
{
	for (uint32_t i = 0; i < n; i++) {
		reach[i] = 1u << i;
		for (unsigned w = 0; w < WORDS; w++) {
			uintptr_t to = memory[i][w] ? find(memory[i][w]) : 0;

			if (to)
				reach[i] |= 1u << (to - (uintptr_t)memory) / sizeof memory[0];
		}
	}
	for (uint32_t round = 0; round < n; round++) {
		for (uint32_t i = 0; i < n; i++) {
			for (uint32_t j = 0; j < n; j++)
				reach[i] |= reach[i] >> j & 1 ? reach[j] : 0;
		}
	}
}

/* Direct: whoever leads here is in a circle with it, and none of them is lower. */
static uint32_t slow_direct(void)
{
	uint32_t bits = 0;

	for (uint32_t i = 0; i < n; i++) {
		bool is_direct = true;

		for (uint32_t j = 0; j < n; j++) {
			bool leads = reach[j] >> i & 1, is_led = reach[i] >> j & 1;

			if (j != i && leads && (!is_led || j < i))
				is_direct = false;
		}
		bits |= (uint32_t)is_direct << i;
	}
	return bits;
}

Test(leaks, of_any_graph_agree_with_the_definition)
{
	const char *text = getenv("SEED");
	unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);

	srand(seed);
	for (unsigned round = 0; round < 20000; round++) {
		uint64_t held = 0, indirect = 0;

		begin(1 + (uint32_t)rand() % MAX);
		for (unsigned links = (unsigned)rand() % (2 * n + 1); links--;) {
			unsigned from = (unsigned)rand() % n, to = (unsigned)rand() % n;

			link_to(from, (unsigned)rand() % WORDS, to);
		}
		slow_reach();
		classify();
		cr_assert_eq(direct(), slow_direct(), "SEED=%u round %u: %x, not %x", seed, round,
		             direct(), slow_direct());
		for (uint32_t i = 0; i < n; i++) {
			held += blocks[i].indirect_bytes;
			indirect += blocks[i].is_direct ? 0 : blocks[i].nbytes;
		}
		cr_assert_eq(held, indirect, "SEED=%u round %u", seed, round);
	}
}
