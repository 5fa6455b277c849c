/* cycle_verify.h: SPANGC_VERIFY=1: did a cycle mark all that is in use?
 */
#ifndef SCAN_CYCLE_VERIFY_H
#define SCAN_CYCLE_VERIFY_H

/* At the end of marking everything is marked again, apart. What is found there and has no mark is shown
 * on standard error, and the process dies. Without memory for that: nothing.
 *
 * Not after a minor cycle: an old block that nobody wrote to since may hold the address of one that was
 * freed since, where there is a new one by now. ctx: stw */
void cycle_verify(void);

#endif
