/* pretend.h: threads of libc's in the place of those of scan/workers.h, which ThreadSanitizer does not know:
 * workers_pretend(start, wait). */
#ifndef TESTS_RACE_PRETEND_H
#define TESTS_RACE_PRETEND_H

#include "scan/workers.h"

#include <pthread.h>

static pthread_t thread[WORKERS_MAX];
static bool is_started[WORKERS_MAX];
static void (*help[WORKERS_MAX])(unsigned number);

static void *run(void *arg)
{
	unsigned number = (unsigned)(uintptr_t)arg;

	help[number](number);
	return NULL;
}

static bool start(unsigned number, void (*fn)(unsigned number))
{
	help[number] = fn;
	is_started[number] = pthread_create(&thread[number], NULL, run,
	                                    (void *)(uintptr_t)number) == 0;
	return is_started[number];
}

static void wait(void)
{
	for (unsigned i = 0; i < WORKERS_MAX; i++) {
		if (is_started[i])
			check(pthread_join(thread[i], NULL) == 0);
		is_started[i] = false;
	}
}

#endif
