/* own_fd.h: a file descriptor of ours among the program's, which may close it, or have another file
 * there, at any time: whoever uses it looks first. */
#ifndef SCAN_OWN_FD_H
#define SCAN_OWN_FD_H

#include "core/base.h"

#define OWN_FD_NONE ((struct own_fd){ .fd = -1 })

struct own_fd {
	int fd;                                 /* -1: none */
	uint64_t dev, ino;
};

/* `fd`, which was opened for us, moved out of the way of what programs number, where there is room.
 * Negative: none. ctx: any */
struct own_fd own_fd_take(long fd);

/* Is it there, and still ours? ctx: any, stw */
bool own_fd_is_ours(const struct own_fd *f);

/* Closes it if it is ours. ctx: any */
void own_fd_close(struct own_fd *f);

#endif
