/* lsan.c: what a program may say to the leak finder: spangc.h's names and LeakSanitizer's.
 *
 * In mode malloc all of them do nothing; in mode gc those that say what is in use do. Where the library stands down for a sanitizer that brings
 * LeakSanitizer's names itself, they go there.
 */
#include "preload/leaks.h"
#include "preload/preload.h"

#include "core/block.h"
#include "core/knobs.h"
#include "core/marks.h"
#include "core/meta.h"
#include "core/record.h"
#include "core/sigmask.h"
#include "scan/roots.h"

#include <sys/syscall.h>
#include <unistd.h>

/* The sanitizer's function of that name, if there is one behind ours. Looking up may allocate, of
 * which AddressSanitizer tells its leak finder: such a call ends here (tests/process/asan.c). */
static void *find_behind(const char *name)
{
	static _Thread_local bool is_looking;

	if (leaks_are_looked_for() || is_looking)
		return NULL;
	is_looking = true;

	void *f = init_find_next(name);

	is_looking = false;
	return f;
}

#define forward(type, name, parameters, arguments)                                             \
	do {                                                                                   \
		type (*f) parameters = find_behind(#name);                                     \
		if (f)                                                                         \
			return f arguments;                                                    \
	} while (0)

EXPORT size_t spangc_leak_report(void)
{
	return leaks_are_looked_for() ? reports_write_now("demand") : 0;
}

/* A collector sees a word that points to it, for ever. */
static void pin(const void *p)
{
	struct sigmask saved;
	const void **word;

	sigmask_block(&saved);
	word = meta_alloc(sizeof *word, sizeof *word);
	sigmask_restore(&saved);
	if (!word)
		return;
	*word = p;
	roots_add(word, sizeof *word);
}

EXPORT void spangc_ignore(const void *p)
{
	struct block b;

	if (p && marks_are_on() && block_find(p, &b))
		pin(p);
	if (!leaks_are_on() || !p || !block_find(p, &b))
		return;

	struct record r = record_get(p, &b);

	r.is_ignored = true;
	record_set(p, &b, r);
}

EXPORT void spangc_add_roots(const void *p, size_t nbytes)
{
	if (leaks_are_on() || marks_are_on())
		roots_add(p, nbytes);
}

EXPORT void spangc_remove_roots(const void *p, size_t nbytes)
{
	if (leaks_are_on() || marks_are_on())
		roots_remove(p, nbytes);
}

EXPORT void __lsan_do_leak_check(void)
{
	forward(void, __lsan_do_leak_check, (void), ());
	if (!leaks_are_looked_for())
		return;

	int status = exits_finish(0);

	if (status)
		syscall(SYS_exit_group, status);
}

EXPORT int __lsan_do_recoverable_leak_check(void)
{
	forward(int, __lsan_do_recoverable_leak_check, (void), ());
	return leaks_are_looked_for() && reports_write_now("demand") > 0;
}

EXPORT void __lsan_ignore_object(const void *p)
{
	forward(void, __lsan_ignore_object, (const void *), (p));
	spangc_ignore(p);
}

EXPORT void __lsan_register_root_region(const void *p, size_t nbytes)
{
	forward(void, __lsan_register_root_region, (const void *, size_t), (p, nbytes));
	spangc_add_roots(p, nbytes);
}

EXPORT void __lsan_unregister_root_region(const void *p, size_t nbytes)
{
	forward(void, __lsan_unregister_root_region, (const void *, size_t), (p, nbytes));
	spangc_remove_roots(p, nbytes);
}

EXPORT void __lsan_disable(void)
{
	forward(void, __lsan_disable, (void), ());
	leaks_ignored++;
}

EXPORT void __lsan_enable(void)
{
	forward(void, __lsan_enable, (void), ());
	if (leaks_ignored)
		leaks_ignored--;
}
