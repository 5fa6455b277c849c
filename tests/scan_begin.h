/* scan_begin.h: a thread that a test makes announces itself as preload's pthread_create has it do. */
#ifndef TESTS_SCAN_BEGIN_H
#define TESTS_SCAN_BEGIN_H

#include "core/base.h"
#include "scan/threads.h"
#include "tests/core.h"

#include <pthread.h>

static void *scan_begin(void *record)
{
	pthread_attr_t attr;
	void *base;
	size_t nbytes;

	check(pthread_getattr_np(pthread_self(), &attr) == 0);
	check(pthread_attr_getstack(&attr, &base, &nbytes) == 0);
	pthread_attr_destroy(&attr);

	struct scan_job job = scan_thread_begins(record, (uintptr_t)base, (uintptr_t)base + nbytes);

	return job.start(job.arg);
}

#endif
