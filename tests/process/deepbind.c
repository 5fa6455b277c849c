/* deepbind.c: a plug-in loaded with RTLD_DEEPBIND would look for malloc in libc before us, and
 * abort when it frees our block.
 */
#include "tests/process/process.h"

int main(void)
{
	for (int i = 0; i < 3; i++) {
		void *plugin = dlopen(beside("libplugin.so"), RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
		CHECKF(plugin, "%s", dlerror());
		void (*plugin_free)(void *) = (void (*)(void *))dlsym(plugin, "plugin_free");
		void *(*plugin_malloc)(size_t) =
			(void *(*)(size_t))dlsym(plugin, "plugin_malloc");
		CHECK(plugin_free && plugin_malloc);
		for (size_t nbytes = 1; nbytes < MIB(4); nbytes *= 2) {
			plugin_free(malloc(nbytes));
			free(plugin_malloc(nbytes));
		}
		CHECK(dlclose(plugin) == 0);
	}
	CHECK(!dlopen("/nonexistent/lib.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror());
	check_heap_works();
	return 0;
}
