/* lsan_api.c: what code says that was written for LeakSanitizer: this one is not to be reported,
 * nor what it leads to; nor what is allocated while I say so; and this memory holds pointers.
 *
 * leaks: direct 48/1 lose
 */
#include <sys/mman.h>

#include "tests/corpus/corpus.h"

#define REGION_BYTES 65536

__attribute__((weak)) void __lsan_ignore_object(const void *object);
__attribute__((weak)) void __lsan_disable(void);
__attribute__((weak)) void __lsan_enable(void);
__attribute__((weak)) void __lsan_register_root_region(const void *region, size_t nbytes);

static void **region;

static NOINLINE void ignore(void)
{
	void **p = (void **)block(480);

	p[3] = block(64);
	if (__lsan_ignore_object)
		__lsan_ignore_object(p);
}

static NOINLINE void disable(void)
{
	if (__lsan_disable)
		__lsan_disable();
	block(4800);
	if (__lsan_enable)
		__lsan_enable();
}

static NOINLINE void hold(void)
{
	region[100] = block(640);
	if (__lsan_register_root_region)
		__lsan_register_root_region(region, REGION_BYTES);
}

static NOINLINE void lose(void)
{
	block(48);
}

int main(void)
{
	region = (void **)mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE,
	                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(region != MAP_FAILED);
	apart(ignore);
	apart(disable);
	apart(hold);
	apart(lose);
	return 0;
}
