/* wipe.h: leaving no stale copies of pointers where a conservative scan would see them. */
#ifndef TESTS_WIPE_H
#define TESTS_WIPE_H

#include <string.h>

#define NOINLINE      __attribute__((noinline, noclone, unused))
#define WIPED_BYTES   (128 << 10)

/* Registers that a callee need not keep: nothing reads them any more, but a scan would. */
#if defined(__x86_64__)
#define CLEAR_REGISTERS()                                                                    \
	__asm__ volatile("xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx;"             \
	                 "xor %%esi, %%esi; xor %%edi, %%edi; xor %%r8d, %%r8d;"             \
	                 "xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d;"         \
	                 "pxor %%xmm0, %%xmm0; pxor %%xmm1, %%xmm1; pxor %%xmm2, %%xmm2;"    \
	                 "pxor %%xmm3, %%xmm3; pxor %%xmm4, %%xmm4; pxor %%xmm5, %%xmm5;"    \
	                 "pxor %%xmm6, %%xmm6; pxor %%xmm7, %%xmm7; pxor %%xmm8, %%xmm8;"    \
	                 "pxor %%xmm9, %%xmm9; pxor %%xmm10, %%xmm10; pxor %%xmm11, %%xmm11;" \
	                 "pxor %%xmm12, %%xmm12; pxor %%xmm13, %%xmm13;"                     \
	                 "pxor %%xmm14, %%xmm14; pxor %%xmm15, %%xmm15"                      \
	                 : : : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",  \
	                       "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",       \
	                       "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",   \
	                       "xmm14", "xmm15", "cc")
#else
#define CLEAR_REGISTERS() ((void)0)
#endif

/* Overwrites the stack below the caller's frame, and what registers hold of it. */
static NOINLINE void wipe(void)
{
	char hole[WIPED_BYTES];

	memset(hole, 0, sizeof hole);
	__asm__ volatile("" : : "r"(hole) : "memory");
	CLEAR_REGISTERS();
}

#endif
