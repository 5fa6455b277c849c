/* libplugin.c: a plug-in that frees what the program gives it, and gives what it allocated. */
#include <stdlib.h>
#include <string.h>

void plugin_free(void *p);
void *plugin_malloc(size_t nbytes);

void plugin_free(void *p)
{
	free(p);
}

void *plugin_malloc(size_t nbytes)
{
	return strdup(nbytes > 4 ? "four" : "");
}
