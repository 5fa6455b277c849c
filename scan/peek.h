/* peek.h: reading memory that may not be there, and files of /proc. */
#ifndef SCAN_PEEK_H
#define SCAN_PEEK_H

#include "core/base.h"

/* Copies up to `nbytes` from `from`; how many came before the first that can't be read. By
 * process_vm_readv(2), or where that is denied through /proc/self/mem. ctx: stw */
size_t peek(void *to, uintptr_t from, size_t nbytes);

/* The same of memory that is protected against reading, by /proc/self/mem. ctx: stw */
size_t peek_protected(void *to, uintptr_t from, size_t nbytes);

/* Copies up to `nbytes`, protected or not, for a thread without thread-locals of its own; how many came
 * before the first that is not there. ctx: any */
size_t peek_bare(void *to, uintptr_t from, size_t nbytes);

/* Calls of the kernel that are no cancellation points and keep errno. -1: refused. ctx: stw */
int peek_open(const char *path, bool is_directory);
long peek_read(int fd, void *to, size_t nbytes, uint64_t offset);
void peek_close(int fd);

/* A file of /proc in lines, each ended by 0 in place of its newline; longer ones than PEEK_LINE are
 * cut. `fn` returns false to end, and reads no other file this way. False: can't be opened. ctx: stw */
#define PEEK_LINE 4096
bool peek_lines(const char *path, bool (*fn)(char *line, void *arg), void *arg);

/* The entries of a directory that are numbers. False: can't be opened. ctx: stw */
bool peek_numbers(const char *path, void (*fn)(unsigned number, void *arg), void *arg);

/* `text` behind *end, which moves; for paths. ctx: any */
void peek_put(char **end, const char *text);
void peek_put_number(char **end, unsigned number);

#endif
