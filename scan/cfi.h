/* cfi.h: how a function's caller is found: what the compiler's tables say about a return address.
 *
 * The tables are .eh_frame and its index, which every object that can throw, and by default every
 * object at all, has in memory. Only what nearly all code does is understood.
 */
#ifndef SCAN_CFI_H
#define SCAN_CFI_H

#include "core/base.h"

/* From the registers at a call to those of the caller. The canonical address is the stack pointer as
 * it is once the function has returned; the return address lies right below it. */
struct cfi_step {
	bool is_known;
	bool is_end;                            /* nobody called this function */
	bool is_from_frame;                     /* the canonical address is counted from the frame
	                                         * pointer, else from the stack pointer */
	uint32_t nup;                           /* words from there up to the canonical address */
	uint32_t nsaved;                        /* the caller's frame pointer: that many words below the
	                                         * canonical address; 0: still in its register */
};

/* For the call that returns to `pc`. is_known is false for code without such tables and for what they
 * seldom say (signal frames, realigned stacks). Takes no lock, allocates nothing. ctx: any, signal */
struct cfi_step cfi_find(uintptr_t pc);

#endif
