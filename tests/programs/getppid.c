/* How many instructions a getppid takes by `sc`, where the emulator counts instructions as time: 0.512
 * ticks of the timebase each. The same program runs in a K42 and in a Linux domain. Prints
 * `BENCH getppid N insns`. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

#define CALLS 1000
#define ROUNDS 11

static inline unsigned long timebase(void)
{
	unsigned long ticks;

	__asm__ volatile("mfspr %0, 268" : "=r"(ticks));
	return ticks;
}

/* Ticks of a loop of CALLS rounds round an instruction. */
#define TICKS_OF_LOOP(instruction)                                                              \
	({                                                                                      \
		unsigned long left = CALLS, start = timebase();                                 \
		__asm__ volatile("1: li 0, %1\n\t" instruction "\n\t"                           \
				 "addic. %0, %0, -1\n\tbne 1b"                                  \
				 : "+b"(left)                                                   \
				 : "i"(SYS_getppid)                                             \
				 : "r0", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10",       \
				   "r11", "r12", "ctr", "xer", "cr0", "memory");                \
		timebase() - start;                                                             \
	})

static int ascending(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	unsigned long costs[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		unsigned long with = TICKS_OF_LOOP("sc");
		unsigned long without = TICKS_OF_LOOP("nop");

		costs[round] = (with - without) * 1000 / 512 / CALLS;
	}
	qsort(costs, ROUNDS, sizeof costs[0], ascending);
	printf("BENCH getppid %lu insns\n", costs[ROUNDS / 2]);
	return 0;
}
