/* modules.c: libraries come and go by dlopen and dlclose while their data holds the only references.
 *
 * also: SPANGC_VERIFY=1 | SPANGC_GC_FREE=ignore
 */
#include "tests/torture/torture.h"
#include "tests/torture/objects.h"

#include <limits.h>

#define NHELD 40

static char library_path[PATH_MAX + 32];
static _Atomic uint64_t next_serial = 1;
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static NOINLINE void put(struct ref *place)
{
	*place = object_make(next_serial++);
}

static NOINLINE void fill(struct ref *words, struct ref *tls)
{
	for (unsigned i = 0; i < NHELD; i++)
		put(&words[i]);
	for (unsigned i = 0; i < 16; i++)
		put(&tls[i]);
}

/* The library's data is new each time; other threads have it open only while this one has. */
static void load_and_hold(uint64_t *rng)
{
	void *library = dlopen(library_path, RTLD_NOW);
	struct ref *(*get)(void), *words, *tls;

	CHECKF(library, "%s", dlerror());
	*(void **)&get = dlsym(library, "holder_static");
	words = get();
	*(void **)&get = dlsym(library, "holder_tls");
	tls = get();
	fill(words, tls);
	let_collections_pass((unsigned)(next_random(rng) % 3));
	for (unsigned i = 0; i < 20; i++)
		make_garbage(rng);
	for (unsigned i = 0; i < NHELD; i++)
		torture_count(object_walk(words[i], true));
	for (unsigned i = 0; i < 16; i++)
		torture_count(object_walk(tls[i], true));
	CHECK(dlclose(library) == 0);
}

static void *work(void *arg)
{
	uint64_t rng = torture.seed + (uintptr_t)arg * 2;

	while (torture_goes_on()) {
		pthread_mutex_lock(&one_at_a_time);
		load_and_hold(&rng);
		pthread_mutex_unlock(&one_at_a_time);
		for (unsigned i = 0; i < 20; i++)
			make_garbage(&rng);
	}
	return NULL;
}

/* Lists of what is loaded, by the loader's own hand, under its lock. */
static void *look_up(void *arg)
{
	while (torture_goes_on()) {
		Dl_info info;

		CHECK(dladdr((void *)(uintptr_t)look_up, &info) && dlsym(RTLD_DEFAULT, "malloc"));
		usleep(100);
	}
	return arg;
}

int main(void)
{
	pthread_t thread[3];
	ssize_t n = readlink("/proc/self/exe", library_path, PATH_MAX);

	CHECK(n > 0);
	strcpy(strrchr(library_path, '/') + 1, "libholder.so");
	torture_begin();
	for (unsigned i = 0; i < 3; i++)
		thread[i] = start_thread(i < 2 ? work : look_up, (void *)(uintptr_t)(i + 1));
	for (unsigned i = 0; i < 3; i++)
		join_thread(thread[i]);
	return torture_end();
}
