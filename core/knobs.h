/* knobs.h: the settings, read from the environment once, before the first allocation.
 *
 * The table is core/knobs.def. An unknown SPANGC_ variable or a bad value is one line on stderr,
 * and the default stands.
 */
#ifndef CORE_KNOBS_H
#define CORE_KNOBS_H

#include "core/base.h"

#define KNOB_OFF UINT64_MAX                     /* of a SIZE, of a COUNT */
#define KNOB_STACKS_ALL 0                       /* of the SIZE that is the distance of samples */
#define KNOB_NEVER UINT64_MAX                   /* of a TIME */
#define KNOB_AUTO (UINT64_MAX - 1)              /* of a TIME whose default is that word */
#define KNOB_PATH_BYTES 4096                    /* with its end */

#define KNOB_CONTROL_ON 1                       /* of a SOCKET; above: a path */

/* The words of each ENUM, in the order of knobs.def. */
enum knob_mode { KNOB_MODE_MALLOC, KNOB_MODE_LEAKS, KNOB_MODE_GC };
enum knob_madvise { KNOB_MADVISE_DONTNEED, KNOB_MADVISE_FREE, KNOB_MADVISE_NONE };
enum knob_background { KNOB_BACKGROUND_AUTO, KNOB_BACKGROUND_OFF };
enum knob_min_align { KNOB_MIN_ALIGN_16, KNOB_MIN_ALIGN_8 };
enum knob_thp { KNOB_THP_DEFAULT, KNOB_THP_ALWAYS, KNOB_THP_NEVER };
enum knob_scan_align { KNOB_SCAN_ALIGN_8, KNOB_SCAN_ALIGN_4, KNOB_SCAN_ALIGN_1 };
enum knob_report_format { KNOB_REPORT_TEXT, KNOB_REPORT_JSON, KNOB_REPORT_FOLDED,
                          KNOB_REPORT_PPROF };
enum knob_gc_dirty { KNOB_GC_DIRTY_AUTO, KNOB_GC_DIRTY_UFFD, KNOB_GC_DIRTY_MPROTECT,
                     KNOB_GC_DIRTY_SNAPSHOT, KNOB_GC_DIRTY_STW };
enum knob_gc_free { KNOB_GC_FREE_HONOR, KNOB_GC_FREE_IGNORE };
enum knob_misuse { KNOB_MISUSE_ABORT, KNOB_MISUSE_WARN };

/* Constant after knobs_read(): any thread reads, no lock. The defaults before. In mode gc `stacks` is
 * KNOB_OFF unless the variable is set. */
struct knobs {
#define KNOB(name, field, kind, dflt, values, help) uint64_t field;
#include "core/knobs.def"
#undef KNOB
};

extern struct knobs knobs;

/* enum knob_report_format of the word; -1: it is none. ctx: any, signal */
int knobs_report_format(const char *word);

/* Takes the variables from `environ` (ended by NULL); of equal names the first, as getenv does.
 * `is_secure` (AT_SECURE): ignores them all. ctx: init */
void knobs_read(char **environ, bool is_secure);

#endif
