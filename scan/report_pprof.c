/* report_pprof.c: a gzip'd profile.proto, which a helper program makes of the json report. Reached from
 * leaks_report.c; depends on helper.h. */
#include "scan/report_formats.h"

#include "scan/helper.h"

#include <string.h>

#define PATH_BYTES 4096
#define PROGRAM "pprof.py"

/* It lies beside the helper for symbols. */
static bool find(char *path, const char *helper)
{
	const char *slash = helper ? strrchr(helper, '/') : NULL;
	size_t len = slash ? (size_t)(slash + 1 - helper) : 0;

	if (!len || len + sizeof PROGRAM > PATH_BYTES)
		return false;
	memcpy(path, helper, len);
	memcpy(path + len, PROGRAM, sizeof PROGRAM);
	return true;
}

static bool take(const char *text, size_t nbytes, void *arg)
{
	struct out *o = arg;

	out_bytes(o, text, nbytes);
	return !o->has_failed;
}

bool report_pprof(int json, int profile, const struct leaks_request *r)
{
	static char path[PATH_BYTES];
	static struct out o;

	o = (struct out){ .fd = profile };
	if (!find(path, r->helper) || !helper_run(path, r->env, json, take, &o))
		return false;
	out_flush(&o);
	return !o.has_failed;
}
