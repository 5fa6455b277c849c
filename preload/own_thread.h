/* own_thread.h: threads of ours in the program's process, and the words that are waited on. */
#ifndef PRELOAD_OWN_THREAD_H
#define PRELOAD_OWN_THREAD_H

#include "core/base.h"

#include <pthread.h>

/* Runs `run` in a new thread. False: there can be none. `waits`: returns when the thread has got to
 * `run`, and what libc allocates for it is freed again. ctx: any that may call pthread_create() */
bool own_thread_create(pthread_t *thread, void *(*run)(void *), bool waits);

/* Until `word` is no longer `value`, or `ms` are over, or for no reason; and for all who wait: it
 * changes. errno is kept. ctx: any */
void own_thread_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ms);
void own_thread_wake(_Atomic uint32_t *word);

#endif
