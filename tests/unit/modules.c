/* modules.c: whose code an address is; libraries that come later, and go, are known as well. */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <string.h>

#include "scan/modules.h"
#include "tests/core.h"

#define LATE "libthread_db.so.1"                /* libc's own, which nothing else loads */

static const struct module *module_of(void *function)
{
	return modules_find((uintptr_t)function);
}

/* As the loader has it. */
static void is_at(const struct module *m, void *function, const char *name)
{
	Dl_info info;

	cr_assert(m && dladdr(function, &info));
	cr_assert_eq(m->bias, (uintptr_t)info.dli_fbase, "a shared object's numbers begin with 0");
	cr_assert(m->base <= (uintptr_t)function && (uintptr_t)function < m->limit);
	cr_assert(m->name[0] == '/' && strstr(m->name, name), "%s", m->name);
	cr_assert(m->build_id_nbytes >= 8, "%u", m->build_id_nbytes);
}

Test(modules, those_that_are_there_are_known, .init = core_start)
{
	cr_assert(modules_start());
	is_at(module_of((void *)(uintptr_t)getenv), (void *)(uintptr_t)getenv, "libc.so.6");
	cr_assert(module_of((void *)(uintptr_t)module_of));
	cr_assert_null(modules_find(0x1000));
	cr_assert_null(modules_find((uintptr_t)__builtin_frame_address(0)));
}

Test(modules, one_that_comes_later_is_learned_when_it_is_asked_for, .init = core_start)
{
	void *library, *function;

	cr_assert(modules_start());
	library = dlopen(LATE, RTLD_LAZY);
	cr_assert(library, "%s", dlerror());
	function = dlsym(library, "td_init");
	is_at(module_of(function), function, "libthread_db");
}

Test(modules, one_that_went_is_known_and_the_same_when_it_comes_back, .init = core_start)
{
	const struct module *m;
	void *library, *function;
	uintptr_t word;
	uint32_t before;

	cr_assert(modules_start());
	before = modules_generation();
	cr_assert(before > 0);
	library = dlopen(LATE, RTLD_LAZY);
	cr_assert(library, "%s", dlerror());
	word = (uintptr_t)(function = dlsym(library, "td_init"));
	modules_look();
	cr_assert_eq(modules_generation(), before, "nothing went");
	cr_assert_eq(dlclose(library), 0);
	modules_look();
	cr_assert_eq(modules_generation(), before + 1);
	m = modules_find(word);
	cr_assert(m && strstr(m->name, "libthread_db"));
	cr_assert_not(atomic_load_explicit(&m->is_loaded, memory_order_relaxed));
	library = dlopen(LATE, RTLD_LAZY);
	if (dlsym(library, "td_init") != function)
		return;                         /* elsewhere this time */
	modules_words(&word, 1);
	cr_assert_eq(word, (uintptr_t)function, "it needs no number");
	cr_assert_eq(modules_find(word), m);
	cr_assert(atomic_load_explicit(&m->is_loaded, memory_order_relaxed));
}
