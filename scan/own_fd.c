/* own_fd.c: see own_fd.h.
 *
 * Reached from preload/control.c and dirty_uffd.c. A file is known by its device and inode; where a
 * kernel gives files without a name one inode in common, another of these is taken for ours.
 */
#include "scan/own_fd.h"

#include "scan/regs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define FD_MIN 200

static bool look(int fd, struct own_fd *f)
{
	struct stat st;

	if (fd < 0 || regs_syscall(SYS_fstat, fd, (long)&st, 0, 0))
		return false;
	*f = (struct own_fd){ fd, st.st_dev, st.st_ino };
	return true;
}

bool own_fd_is_ours(const struct own_fd *f)
{
	struct own_fd now;

	return look(f->fd, &now) && now.dev == f->dev && now.ino == f->ino;
}

void own_fd_close(struct own_fd *f)
{
	if (own_fd_is_ours(f))
		regs_syscall(SYS_close, f->fd, 0, 0, 0);
	*f = OWN_FD_NONE;
}

struct own_fd own_fd_take(long fd)
{
	struct own_fd low, high;
	long moved = fd < 0 ? -1 : regs_syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, FD_MIN, 0);

	if (!look((int)fd, &low))
		return OWN_FD_NONE;
	if (moved < 0 || !look((int)moved, &high))
		return low;
	own_fd_close(&low);
	return high;
}
