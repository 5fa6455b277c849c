/* pauses.c: the histogram of stops at the edges of its buckets. */
#include <criterion/criterion.h>

#include "scan/pauses.h"

#define LAST (PAUSES_NBUCKETS - 1)

/* In which bucket a pause is counted. */
static unsigned bucket_of(uint64_t ns)
{
	struct pauses p;
	unsigned i = 0;

	pauses_fork_child();
	pauses_note(ns);
	pauses_get(&p);
	cr_assert_eq(p.n, 1);
	cr_assert_eq(p.sum_ns, ns);
	cr_assert_eq(p.max_ns, ns);
	while (!p.counts[i])
		i++;
	cr_assert_eq(p.counts[i], 1);
	return i;
}

Test(pauses, each_is_in_the_bucket_that_says_so)
{
	cr_assert_eq(bucket_of(0), 0);
	cr_assert_eq(bucket_of(UINT64_MAX), LAST);
	cr_assert_eq(pauses_bucket_ns(0), 1024);
	cr_assert_eq(pauses_bucket_ns(1), 1280);
	cr_assert_eq(pauses_bucket_ns(4), 2048);
	cr_assert_eq(pauses_bucket_ns(LAST - 1), UINT64_C(1) << PAUSES_LAST_BITS);
	cr_assert_eq(pauses_bucket_ns(LAST), UINT64_MAX);
	for (unsigned i = 0; i < LAST; i++) {
		cr_assert_eq(bucket_of(pauses_bucket_ns(i) - 1), i);
		cr_assert_eq(bucket_of(pauses_bucket_ns(i)), i + 1);
		cr_assert_leq(pauses_bucket_ns(i + 1), UINT64_MAX);
	}
}

Test(pauses, quantiles)
{
	struct pauses p;

	pauses_fork_child();
	pauses_get(&p);
	cr_assert_eq(pauses_quantile_ns(&p, 500), 0, "there was none");
	for (int i = 0; i < 99; i++)
		pauses_note(100000);
	pauses_note(5000000);
	pauses_get(&p);
	cr_assert_eq(p.n, 100);
	cr_assert_geq(pauses_quantile_ns(&p, 500), 100000);
	cr_assert_lt(pauses_quantile_ns(&p, 990), 125000, "a quarter of an octave");
	cr_assert_eq(pauses_quantile_ns(&p, 1000), 5000000, "never above the longest");
}
