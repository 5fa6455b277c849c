/* seed.h: random numbers of one thread, from a seed that is printed, or given by SEED. */
#ifndef TESTS_SEED_H
#define TESTS_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t rng;

static uint64_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return rng;
}

static void seed_random(void)
{
	const char *given = getenv("SEED");

	rng = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;
	fprintf(stderr, "SEED=%llu\n", (unsigned long long)rng);
}

#endif
