/* libholder.c: holds words for others, in static and in thread-local data. */
#include <stdint.h>

#define NWORDS 4096

uintptr_t *holder_static(void);
uintptr_t *holder_tls(void);

static uintptr_t words[NWORDS];
static __thread uintptr_t words_tls[64];

uintptr_t *holder_static(void)
{
	return words;
}

uintptr_t *holder_tls(void)
{
	return words_tls;
}
