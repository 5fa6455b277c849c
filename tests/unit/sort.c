/* sort.c: any number of elements of any size come out in order. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "scan/sort.h"
#include "tests/core.h"

struct thing {
	unsigned key;
	char rest[36];
};

static bool is_before(const void *a, const void *b)
{
	return ((const struct thing *)a)->key < ((const struct thing *)b)->key;
}

Test(sort, puts_elements_in_order_and_loses_none)
{
	const char *text = getenv("SEED");
	unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);
	static struct thing things[300];

	srand(seed);
	for (unsigned n = 0; n < 300; n++) {
		unsigned sum = 0;

		for (unsigned i = 0; i < n; i++) {
			things[i].key = (unsigned)rand() % (n + 1);
			snprintf(things[i].rest, sizeof things[i].rest, "%u", things[i].key);
			sum += things[i].key;
		}
		sort(things, n, sizeof *things, is_before);
		for (unsigned i = 0; i < n; i++) {
			cr_assert(!i || things[i - 1].key <= things[i].key, "SEED=%u n=%u", seed, n);
			cr_assert_eq(strtoul(things[i].rest, NULL, 10), things[i].key);
			sum -= things[i].key;
		}
		cr_assert_eq(sum, 0, "SEED=%u n=%u", seed, n);
	}
}
