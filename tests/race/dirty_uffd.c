/* dirty_uffd.c: threads write to the heap while it is collected and armed again: no write is lost.
 *
 * A copy of the heap is kept by copying what is shown as dirty, after it was shown. When the threads
 * have ended and one more look was taken, copy and heap are the same: a write that was not shown would
 * be missing. Threads store words, have the kernel store them, and give pages back; one makes the heap
 * grow. At the end the same again with dirty_pretend_clean(): then much must be missing.
 */
#include "tests/check.h"
#include "tests/core.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "core/os.h"
#include "scan/dirty.h"

#define NTHREADS 3
#define PART_BYTES MIB(2)                       /* of a thread */
#define MOST_BYTES MIB(64)                      /* of the heap */
#define GROWN_BYTES KIB(256)
#define NGROWN 24
#ifdef __SANITIZE_THREAD__
#define ROUNDS 40
#else
#define ROUNDS 150
#endif

struct part {
	_Atomic uint64_t *words;
	uint64_t random;
	_Atomic uint64_t nwritten;
};

static struct part parts[NTHREADS];
static _Atomic uint64_t *copy;                  /* of the heap */
static _Atomic bool is_over;
static uint64_t seed;
static size_t nshown;

static void by_kernel(_Atomic uint64_t *to, uint64_t word)
{
	struct iovec here = { &word, sizeof word }, there = { (void *)to, sizeof word };

	CHECK(process_vm_writev(getpid(), &here, 1, &there, 1, 0) == sizeof word);
}

static void *write_words(void *arg)
{
	struct part *p = arg;

	/* relaxed, here and below: words are compared when the threads have ended. */
	while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
		uint64_t r = next_random(&p->random), at = r % (PART_BYTES / sizeof r);

		if (r >> 32 & 0xff) {
			atomic_store_explicit(&p->words[at], r | 1, memory_order_relaxed);
		} else if (r >> 40 & 1) {
			by_kernel(&p->words[at], r | 1);
		} else {
			os_discard(align_down((uintptr_t)&p->words[at], OS_PAGE_BYTES), OS_PAGE_BYTES);
		}
		atomic_fetch_add_explicit(&p->nwritten, 1, memory_order_relaxed);
	}
	return NULL;
}

static void *grow(void *arg)
{
	for (unsigned i = 0; i < NGROWN; i++) {
		_Atomic uint64_t *p = large_alloc(GROWN_BYTES, 1);

		CHECK(p);
		for (size_t at = 0; at < GROWN_BYTES / sizeof *p; at += 97)
			atomic_store_explicit(&p[at], i + 1, memory_order_relaxed);
		sleep_ms(1);
	}
	return arg;
}

static uintptr_t known_end(void)
{
	CHECK(heap_end() - heap.base <= MOST_BYTES);
	return heap_end();
}

static _Atomic uint64_t *word_at(size_t i)
{
	return (_Atomic uint64_t *)heap.base + i;
}

static void see(uintptr_t from, uintptr_t to, void *arg)
{
	(void)arg;
	nshown += (to - from) / OS_PAGE_BYTES;
	for (size_t i = (from - heap.base) / 8; i < (to - heap.base) / 8; i++)
		atomic_store_explicit(&copy[i], atomic_load_explicit(word_at(i), memory_order_relaxed),
		                      memory_order_relaxed);
}

static void look(bool rearm)
{
	CHECK(dirty_collect(&dirty_uffd, heap.base, known_end(), rearm, see, NULL));
}

/* What is zero may have been given back. */
static size_t count_missing(void)
{
	size_t n = 0, nwords = (known_end() - heap.base) / 8;

	for (size_t i = 0; i < nwords; i++) {
		uint64_t word = atomic_load_explicit(word_at(i), memory_order_relaxed);

		n += word && word != atomic_load_explicit(&copy[i], memory_order_relaxed);
	}
	return n;
}

static size_t run(void)
{
	pthread_t thread[NTHREADS + 1];

	atomic_store_explicit(&is_over, false, memory_order_relaxed);
	see(heap.base, known_end(), NULL);
	CHECK(dirty_uffd.arm(heap.base, known_end()));
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, write_words, &parts[i]) == 0);
	CHECK(pthread_create(&thread[NTHREADS], NULL, grow, NULL) == 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		look(true);
		if (i % 16 == 0)
			sleep_ms(1);
	}
	CHECK(pthread_join(thread[NTHREADS], NULL) == 0);
	atomic_store_explicit(&is_over, true, memory_order_relaxed);
	for (unsigned i = 0; i < NTHREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	look(false);
	return count_missing();
}

int main(void)
{
	size_t nmissing;

	watchdog(240);
	seed = seed_from_env();
	knobs.thp = seed % 4 < 2 ? KNOB_THP_ALWAYS : KNOB_THP_NEVER;
	core_start();
	if (!dirty_uffd.start())
		SKIP("the kernel has no userfaultfd with WP_ASYNC, or forbids it");
	copy = mmap(NULL, MOST_BYTES, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(copy != MAP_FAILED);
	for (unsigned i = 0; i < NTHREADS; i++) {
		parts[i].words = large_alloc(PART_BYTES, 1);
		CHECK(parts[i].words);
		parts[i].random = next_random(&seed);
	}
	nmissing = run();
	CHECKF(nmissing == 0, "%zu words are missing", nmissing);
	CHECK(nshown > 0);
	dirty_pretend_clean(true);
	nmissing = run();
	CHECKF(nmissing > 1000, "%zu words are missing, of those not looked at", nmissing);
	return 0;
}
