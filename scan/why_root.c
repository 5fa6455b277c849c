/* why_root.c: where a pointer stands that is no block's, in words that lead there.
 *
 * Reached from why.c with the world stopped, and from why_report.c. Depends on maps.h, threads.h
 * and symbols.h.
 *
 * The TLS of the program's own variables ends where libc's record of the thread begins (x86-64's
 * layout, variant II); that of libraries lies before it, and which one's a word is in is not told.
 */
#include "scan/why.h"

#include "scan/maps.h"
#include "scan/peek.h"
#include "scan/symbols.h"
#include "scan/threads.h"

#include <link.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct {
	const char *what;
	enum why_root_kind kind;
} kinds[] = {
	{ "stack", WHY_ROOT_STACK }, { "registers", WHY_ROOT_REGISTERS },
	{ "altstack", WHY_ROOT_ALTSTACK }, { "thread argument", WHY_ROOT_ARGUMENT },
	{ "epoll", WHY_ROOT_EPOLL }, { "timer", WHY_ROOT_TIMER }, { "added", WHY_ROOT_ADDED },
};

enum why_root_kind why_root_kind(const char *what)
{
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		if (!strcmp(what, kinds[i].what))
			return kinds[i].kind;
	}
	return WHY_ROOT_MEMORY;
}

static const ElfW(Phdr) *tls_header(void)
{
	const ElfW(Phdr) *ph = (const ElfW(Phdr) *)getauxval(AT_PHDR);

	for (size_t i = 0; ph && i < getauxval(AT_PHNUM); i++) {
		if (ph[i].p_type == PT_TLS)
			return &ph[i];
	}
	return NULL;
}

/* In the TLS of the program's own variables, of whichever thread? */
static void see_tls(struct why_root *root)
{
	const ElfW(Phdr) *tls = tls_header();
	uintptr_t record = 0;
	int tid = tls ? scan_threads_at(root->at, &record) : 0;

	if (!tid)
		return;

	uintptr_t base = record - align_up(tls->p_memsz, tls->p_align ? tls->p_align : 1);

	if (root->at < base || root->at >= record)
		return;
	root->kind = WHY_ROOT_TLS;
	root->tid = tid;
	root->tls_offset = root->at - base;
	root->has_tls_offset = true;
}

/* Names are valid during the visit: hence not maps_find(). */
static bool see_mapping(const struct mapping *m, void *arg)
{
	struct why_root *root = arg;

	if (m->to <= root->at)
		return true;
	if (m->from <= root->at) {
		root->from = m->from;
		root->to = m->to;
		strncpy(root->name, *m->name ? m->name : "[anon]", sizeof root->name - 1);
	}
	return false;
}

void why_name_root(struct why_root *root)
{
	if (root->kind != WHY_ROOT_MEMORY && root->kind != WHY_ROOT_STACK)
		return;
	see_tls(root);
	if (root->kind == WHY_ROOT_MEMORY)
		maps_visit(see_mapping, root);
}

/* The kernel knows it under the process's own number, also in a copy. */
static void read_thread_name(struct why_root *root, uint64_t pid)
{
	char path[64], *end = path;

	peek_put(&end, "/proc/");
	peek_put_number(&end, (unsigned)pid);
	peek_put(&end, "/task/");
	peek_put_number(&end, (unsigned)root->tid);
	peek_put(&end, "/comm");

	int fd = peek_open(path, false);
	long n = fd < 0 ? 0 : peek_read(fd, root->thread, sizeof root->thread - 1, 0);

	if (fd >= 0)
		peek_close(fd);
	root->thread[n > 0 ? n - 1 : 0] = '\0';  /* in place of the newline */
}

void why_look_up_root(struct why_root *root, uint64_t pid)
{
	if (root->tid)
		read_thread_name(root, pid);
	if (root->kind == WHY_ROOT_TLS && root->has_tls_offset)
		symbols_want_tls(root->at, (uintptr_t)getauxval(AT_PHDR), root->tls_offset);
	else if (root->kind == WHY_ROOT_MEMORY && root->at)
		symbols_want_variable(root->at);
}
