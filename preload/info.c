/* info.c: what malloc_stats, mallinfo, malloc_info, SPANGC_STATS=1 and spangc_stats_get tell. */
#include "preload/preload.h"
void info_print(void)
{
}
