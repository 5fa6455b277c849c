/* leaks_report.h: the report of leaks, as text, json or folded stacks. */
#ifndef SCAN_LEAKS_REPORT_H
#define SCAN_LEAKS_REPORT_H

#include "core/base.h"

struct leaks_request {
	const char *when;                       /* "exit", "signal", "demand", "period" */
	int         fallback;                   /* stderr, or -1: SPANGC_REPORT says where */
	const char *helper;                     /* of symbols.h; NULL: none */
	char      **env;                        /* for it */
	uint64_t    ms;                         /* the process has run */
	const char *version;
};

/* Looks for leaks and writes the report that SPANGC_REPORT_FORMAT asks for. Bytes leaked in blocks
 * that are not suppressed; a block of 0 bytes counts as one. One at a time. ctx: any, no lock held */
uint64_t leaks_report(const struct leaks_request *request);

#endif
