/* dlopen_caller.c: what dlopen() finds depends on who calls it, and a library that stands between
 * must not change that: NULL names the program, a relative $ORIGIN is the caller's directory.
 */
#include "tests/process/process.h"

#include <link.h>

int main(void)
{
	void *self = dlopen(NULL, RTLD_NOW);
	struct link_map *map;

	CHECK(self);
	CHECK(dlinfo(self, RTLD_DI_LINKMAP, &map) == 0);
	CHECKF(map->l_name[0] == '\0', "dlopen(NULL) is %s", map->l_name);
	CHECK(dlopen("$ORIGIN/libplugin.so", RTLD_NOW | RTLD_DEEPBIND));
	CHECK(!dlopen("libnowhere.so", RTLD_NOW) && dlerror());
	return 0;
}
