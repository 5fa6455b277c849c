/* maps_names.c: /proc/PID/maps says which mappings are ours. */
#include "tests/process/process.h"

#include <sys/mman.h>
#include <sys/prctl.h>

static bool kernel_names(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int failed = prctl(0x53564d41 /* PR_SET_VMA */, 0, p, 4096, "probe");

	munmap(p, 4096);
	return !failed;
}

/* Does the mapping of `p` bear a name of ours? */
static bool is_named(const void *p)
{
	for (const char *line = proc_text("/proc/self/maps"); *line; line++) {
		char *end;
		uintptr_t from = strtoull(line, &end, 16), to = strtoull(end + 1, NULL, 16);
		const char *eol = strchr(line, '\n'), *name = strstr(line, "[anon:spangc");
		if (from <= (uintptr_t)p && (uintptr_t)p < to)
			return name && name < eol;
		line = eol;
	}
	return false;
}

int main(void)
{
	if (!kernel_names())
		SKIP("this kernel does not name mappings");
	CHECK(is_named(malloc(10)));
	CHECK(is_named(malloc(100000)));
	CHECK(is_named(malloc(MIB(100))));
	return 0;
}
