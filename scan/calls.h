/* calls.h: what the kernel writes for a system call.
 *
 * The table is calls.def. Of calls that are not in it, all that an argument points into, and what the words
 * there point into, counts as written: a block of the heap as a whole.
 */
#ifndef SCAN_CALLS_H
#define SCAN_CALLS_H

#include "core/base.h"
#include "scan/regs_calls.h"

/* Shows the memory, and more; what is not the heap's may be missing. Vectors, messages and lengths that
 * the arguments point to are read as they are, and again by the kernel: a program that changes them
 * meanwhile is on its own. ctx: signal */
void calls_written(const struct regs_args *c, void (*fn)(uintptr_t from, uintptr_t to));

/* Copies what can be read of [from, from + nbytes): how much. ctx: signal */
size_t calls_read(void *to, uintptr_t from, size_t nbytes);

/* The thread ends: the locks that it holds and that tell so to others. ctx: signal */
void calls_ended(void (*fn)(uintptr_t from, uintptr_t to));

#endif
