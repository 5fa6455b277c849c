/* verify.h: every invariant of the heap, checked at once: for SPANGC_VERIFY=1 and tests. */
#ifndef CORE_VERIFY_H
#define CORE_VERIFY_H

/* Dies if something is wrong. Other threads may be at work; what only they may look at (their
 * magazines), and what adds up only while nobody works, is checked where that is known. Slow: reads
 * the whole table of granules. ctx: alloc, no lock held */
void verify_all(void);

#endif
