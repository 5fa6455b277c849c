/* report_formats.h: a report in each of its formats: report_text.c, report_json.c, report_folded.c,
 * report_pprof.c. Symbols have been looked up. */
#ifndef SCAN_REPORT_FORMATS_H
#define SCAN_REPORT_FORMATS_H

#include "scan/growth.h"
#include "scan/hidden.h"
#include "scan/leaks.h"
#include "scan/leaks_report.h"
#include "scan/out.h"
#include "scan/symbols.h"

struct report {
	const struct leaks_request *request;
	const struct leaks *found;              /* its entries sorted */
	uint32_t nentries;                      /* of these, that are told */
	const struct growth *growth;            /* of a diff */
	const struct hidden *hidden;            /* the largest first */
	uint32_t nhidden;
};

/* ctx of all: any, or the copy */
void report_text(struct out *o, const struct report *r);
void report_json(struct out *o, const struct report *r);
void report_folded(struct out *o, const struct report *r);

/* From the json report in the file `json` to the file `profile`. False: the helper that does it is
 * missing, or fails. */
bool report_pprof(int json, int profile, const struct leaks_request *r);

/* Shows frames, and those inlined there, the innermost first. */
typedef void report_frame_fn(struct out *o, const struct symbol *s, unsigned number);
void report_frames(struct out *o, uint32_t stack, report_frame_fn *fn);

/* The frames of a stack are to be looked up. */
void report_want(uint32_t stack);

/* A frame as json has it, with a comma before it but for the first. */
void report_json_frame(struct out *o, const struct symbol *s, unsigned number);

/* Has something leaked that is not suppressed? */
bool report_has_leaks(const struct report *r);

/* How long ago that birth was, in tenths of a second. */
uint64_t report_age(const struct report *r, unsigned birth);

/* A number of tenths with its point. */
void report_tenths(struct out *o, uint64_t tenths);

#endif
