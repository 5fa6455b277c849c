/* report_file.h: where reports go: stderr, or the file that SPANGC_REPORT names.
 *
 * Opened anew for each report, when it is written. In the name %p is the pid, %e the program's
 * name, %n the number of the report in this process, %% a percent sign; a relative name is looked
 * up where the program is then. Mode 0600; the last component is never followed if it is a
 * symbolic link.
 *     with %n      a file of its own for each report: never one that exists, the number goes up
 *                  until there is none of that name
 *     without %n   the report is appended
 */
#ifndef CORE_REPORT_FILE_H
#define CORE_REPORT_FILE_H

#include "core/base.h"

/* A descriptor for one report. `fallback` (stderr) if no file was asked for, or if it can't be
 * opened, which is one line there. ctx: any, signal */
int report_file_open(int fallback);

/* ctx: any, signal */
void report_file_close(int fd, int fallback);

/* The name that the pattern means here and now, in `name` of KNOB_PATH_BYTES. False: it is too long.
 * ctx: any, signal */
bool report_file_expand(const char *pattern, char *name);

/* Who writes for another process: the %p that names it; the number of the last report with a %n.
 * ctx: any */
void report_file_set_pid(uint64_t pid);
uint32_t report_file_number(void);
void report_file_set_number(uint32_t n);

/* Is `pattern` a name for reports? Not if it is empty, too long, or has another letter behind a
 * percent sign. ctx: any */
bool report_file_is_pattern(const char *pattern);

#endif
