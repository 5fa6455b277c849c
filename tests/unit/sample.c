/* sample.c: blocks are samples with probability 1 - exp(-n/rate) whatever their sizes and order, so
 * that weights add up to what was allocated; the same seed gives the same samples; weights agree with
 * libm. The bounds are 6 standard deviations.
 */
#include <criterion/criterion.h>

#include "scan/sample.h"
#include "tests/core.h"

#include <math.h>

#define NBLOCKS 300000

static uint64_t seed_of_run(void)
{
	const char *text = getenv("SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	cr_log_info("SEED=%llu", (unsigned long long)seed);
	return seed;
}

static void expect_estimate(size_t nbytes, uint64_t rate)
{
	double p = -expm1(-(double)(nbytes ? nbytes : 1) / (double)rate);
	unsigned n = 0;

	sample_start(rate, seed_of_run());
	for (unsigned i = 0; i < NBLOCKS; i++)
		n += sample_takes(nbytes);
	cr_assert_lt(fabs(n - NBLOCKS * p), 6 * sqrt(NBLOCKS * p * (1 - p)) + 1, "%u of %d, %zu in %lu", n,
	             NBLOCKS, nbytes, rate);
}

Test(sample, takes_blocks_of_each_size_in_proportion)
{
	static const size_t sizes[] = { 0, 1, 16, 100, 1000, 4096, 5000, 100000 };

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		expect_estimate(sizes[i], 4096);
		expect_estimate(sizes[i], 1);
		expect_estimate(sizes[i], 3);
		expect_estimate(sizes[i], KIB(512));
	}
}

Test(sample, weights_add_up_for_small_blocks_among_large_ones)
{
	double nsmall = 0, nlarge = 0, variance = 0;

	sample_start(1000, seed_of_run());
	for (unsigned i = 0; i < NBLOCKS; i++) {
		nsmall += sample_takes(10) ? sample_weight(10) : 0;
		nlarge += sample_takes(1500) ? sample_weight(1500) : 0;
	}
	variance = NBLOCKS * (sample_weight(10) - 1);
	cr_assert_lt(fabs(nsmall - NBLOCKS), 6 * sqrt(variance));
	variance = NBLOCKS * (sample_weight(1500) - 1);
	cr_assert_lt(fabs(nlarge - NBLOCKS), 6 * sqrt(variance));
}

Test(sample, weights_are_exact)
{
	for (uint64_t rate = 1; rate < UINT64_C(1) << 60; rate = rate * 7 + 1) {
		sample_start(rate, 1);
		for (size_t n = 0; n < (size_t)1 << 40; n = n * 3 + 1) {
			double wanted = -1 / expm1(-(double)(n ? n : 1) / (double)rate);

			cr_assert_lt(fabs(sample_weight(n) / wanted - 1), 1e-9, "%zu in %lu", n, rate);
		}
	}
}

Test(sample, is_everything_without_a_rate)
{
	cr_assert_eq(sample_weight(100), 1);
	cr_assert_eq(sample_rate(), 0);
}

static uint64_t pattern(uint64_t seed)
{
	uint64_t bits = 0;

	sample_start(64, seed);
	for (unsigned i = 0; i < 64; i++)
		bits = bits << 1 | sample_takes(32);
	return bits;
}

static void *pattern_in_thread(void *arg)
{
	(void)arg;
	uint64_t bits = 0;

	for (unsigned i = 0; i < 64; i++)
		bits = bits << 1 | sample_takes(32);
	return (void *)bits;
}

Test(sample, threads_and_seeds_have_their_own)
{
	uint64_t first = pattern(1);

	cr_assert_neq(first, pattern(2));
	cr_assert_neq(core_in_thread(pattern_in_thread, NULL), core_in_thread(pattern_in_thread, NULL));
}

Test(sample, takes_the_largest_blocks)
{
	sample_start(4096, 1);
	for (unsigned i = 0; i < 100; i++)
		cr_assert(sample_takes(SIZE_MAX / 2 - i));
}
