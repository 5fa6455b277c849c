/* helper.h: another program answers questions: for symbols.c. */
#ifndef SCAN_HELPER_H
#define SCAN_HELPER_H

#include "core/base.h"

/* A file in memory for the questions; -1: refused. ctx: any */
int helper_questions(void);

/* Runs the program `path` with `questions` as its standard input, and gives up on it after a minute
 * of silence. LD_* and SPANGC_* of `env` are left out. Bytes of its output in `answers`, at most
 * `max`. ctx: any */
size_t helper_run(const char *path, char **env, int questions, char *answers, size_t max);

#endif
