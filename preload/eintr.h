/* eintr.h: a call that a stop cut short goes on: what the functions that stand in for libc's share.
 *
 *     before = eintr_count();
 *     while ((result = the call) == -1 && eintr_goes_on(before))
 *             ;
 * The end of a wait is a time of os_now_ns(), so that what is left of it is known.
 */
#ifndef PRELOAD_EINTR_H
#define PRELOAD_EINTR_H

#include "core/base.h"

#include <poll.h>
#include <time.h>

#define EINTR_NEVER UINT64_MAX
#define EINTR_NS_PER_MS UINT64_C(1000000)

/* Did a stop, and nothing else, cut short the call that has just failed with EINTR? `before` is what
 * eintr_count() gave before the call. ctx: any, signal */
uint32_t eintr_count(void);
bool eintr_was_cut(uint32_t before);

/* The call has failed: by errno too, is it to be made again? ctx: any, signal */
bool eintr_goes_on(uint32_t before);

/* Of a time; EINTR_NEVER where it is too long. ctx: any, signal */
uint64_t eintr_ns(const struct timespec *t);

/* When a wait for `longest` (NULL: for ever) ends that began at `began_ns`; what is left of it, milliseconds
 * rounded up. A time of the program's is read when the call was cut short: the kernel has read it by then,
 * and refuses an address that is none. ctx: any, signal */
uint64_t eintr_end(uint64_t began_ns, const struct timespec *longest);
const struct timespec *eintr_left(uint64_t end_ns, struct timespec *left);
uint64_t eintr_left_ns(uint64_t end_ns);
int eintr_left_ms(uint64_t end_ns);

/* As poll(), which no stop cuts short. ctx: any, signal */
int eintr_poll(struct pollfd *fds, nfds_t n, int ms);

/* Part of eintr_start(). ctx: constructor */
void eintr_sockets_start(void);

#endif
