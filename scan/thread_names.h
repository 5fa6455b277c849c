/* thread_names.h: numbers for the threads that allocate, and their names, which outlive them.
 *
 * 1 is the first thread that allocates, which is the program's first one. A thread's name is the one
 * it has at the report, or had at its end.
 */
#ifndef SCAN_THREAD_NAMES_H
#define SCAN_THREAD_NAMES_H

#include "core/base.h"
#include "core/record.h"

#define THREAD_NAME_BYTES 16                    /* the kernel's */

/* False: no memory; then every number is 0. ctx: init */
bool thread_names_start(void);

/* The calling thread's number: 0 while it is not known, RECORD_THREAD_MANY if there are too many.
 * errno kept. ctx: alloc */
extern _Thread_local uint16_t thread_number;
SLOW uint16_t thread_names_begin(void);

static inline uint16_t thread_names_self(void)
{
	return likely(thread_number) ? thread_number : thread_names_begin();
}

/* The calling thread ends, or goes on as the only one of a child of fork. ctx: any; fork child */
void thread_names_end(void);
void thread_names_fork_child(void);

/* Numbers given so far. ctx: any */
uint32_t thread_names_count(void);

/* Its name, of the process `pid`, in `name`; "": not known. ctx: any */
void thread_names_get(uint16_t number, uint64_t pid, char name[static THREAD_NAME_BYTES]);

#endif
