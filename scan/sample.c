/* sample.c: see sample.h.
 *
 * Reached from preload/leaks.c, and from leaks.c for the weights. Logarithm and exponential are our
 * own: the library needs libc alone.
 */
#include "scan/sample.h"

#define LN_2 0.69314718055994530942
#define LN_TERMS 9                              /* of the series: 1e-10 */
#define EXP_HALVINGS 10
#define EXP_TERMS 7

_Thread_local int64_t sample_ahead;

static _Thread_local uint64_t state;            /* of the random numbers; 0: not seeded */

static struct {
	/* Constant after sample_start(). */
	uint64_t rate, seed;

	/* Any thread, atomic. */
	_Atomic uint64_t nthreads;
} sample;

void sample_start(uint64_t rate, uint64_t seed)
{
	sample.rate = rate;
	sample.seed = seed;
	state = 0;
	sample_ahead = 0;
}

uint64_t sample_rate(void)
{
	return sample.rate;
}

/* Vigna's splitmix64: any state will do, each is followed by all the others. */
static uint64_t next_random(void)
{
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Of x in (0, 1]. With x = m * 2^-e, m in [1, 2): ln m = 2 artanh((m - 1) / (m + 1)). */
static double ln(double x)
{
	double sum = 0, m = x, e = 0;

	while (m < 1) {
		m *= 2;
		e++;
	}

	double t = (m - 1) / (m + 1), power = t;

	for (unsigned k = 1; k <= 2 * LN_TERMS; k += 2) {
		sum += power / k;
		power *= t * t;
	}
	return 2 * sum - e * LN_2;
}

/* 1 - exp(-x), also where x is tiny. With y = x / 2^k, by the series; then k times what follows from
 * 1 - (1 - d)^2 = d (2 - d). */
static double one_less_exp(double x)
{
	double y = x / (1u << EXP_HALVINGS), power = y, d = 0;

	if (x > 40)
		return 1;
	for (unsigned k = 1; k <= EXP_TERMS; k++) {
		d += k % 2 ? power : -power;
		power *= y / (k + 1);
	}
	for (unsigned k = 0; k < EXP_HALVINGS; k++)
		d *= 2 - d;
	return d;
}

/* Exponential, with `rate` as the mean; at least 1. */
static int64_t next_gap(void)
{
	double uniform = (double)((next_random() >> 11) + 1) / (double)(UINT64_C(1) << 53);
	double gap = -ln(uniform) * (double)sample.rate;

	return gap < (double)(INT64_MAX / 2) ? (int64_t)gap + 1 : INT64_MAX / 2;
}

bool sample_takes_slow(size_t nbytes)
{
	int64_t n = nbytes < INT64_MAX / 4 ? (int64_t)nbytes + !nbytes : INT64_MAX / 4;

	if (!state) {
		/* relaxed: a number for each thread is all there is to it. */
		uint64_t thread = atomic_fetch_add_explicit(&sample.nthreads, 1,
		                                            memory_order_relaxed);

		state = sample.seed + thread * UINT64_C(0xd1342543de82ef95);
		state += !state;
		sample_ahead = next_gap();
	}
	sample_ahead -= n;
	if (sample_ahead > 0)
		return false;
	sample_ahead = next_gap();
	return true;
}

double sample_weight(size_t nbytes)
{
	double n = nbytes ? (double)nbytes : 1;

	return sample.rate ? 1 / one_less_exp(n / (double)sample.rate) : 1;
}
