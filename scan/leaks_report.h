/* leaks_report.h: reports, as text, json, folded stacks or a profile for pprof. */
#ifndef SCAN_LEAKS_REPORT_H
#define SCAN_LEAKS_REPORT_H

#include "core/base.h"

enum leaks_kind {
	LEAKS_REPORT,                           /* what nothing leads to */
	LEAKS_PROFILE,                          /* what is reachable, by stack */
	LEAKS_DIFF,                             /* growth since the one before */
	LEAKS_WHY,                              /* what leads to a block */
};

struct leaks_request {
	enum leaks_kind kind;
	const char *argument;                   /* of LEAKS_WHY: 0x.. an address, else a stack */
	const char *when;                       /* "exit", "signal", "demand", "period" */
	bool       *has_failed;                 /* set if there is no report, or not all of it */
	int         fd;                         /* write there; -1: SPANGC_REPORT says where */
	int         format;                     /* enum knob_report_format; -1: the knob's */
	bool        goes_on;                    /* the program, which stood still meanwhile */
	uint64_t    pid;                        /* of the program: a copy of it has another */
	int         fallback;                   /* stderr, or -1: SPANGC_REPORT says where */
	const char *helper;                     /* of symbols.h; NULL: none */
	char      **env;                        /* for it */
	uint64_t    ms;                         /* the process has run */
	const char *version;
};

/* Looks for what was asked for and writes the report. Bytes leaked in blocks that are not suppressed; a
 * block of 0 bytes counts as one. One at a time. ctx: any, no lock held, or the copy */
uint64_t leaks_report(const struct leaks_request *request);

/* Around it, in the process itself: makes room for what a copy of it tells, and takes that over.
 * ctx: any, no lock held */
void leaks_report_prepare(const struct leaks_request *request);
void leaks_report_finish(const struct leaks_request *request);

#endif
