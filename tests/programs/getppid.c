/* How many instructions a getppid takes by `sc`, where the emulator counts instructions as time: 0.512
 * ticks of the timebase each. The same program runs in a K42 and in a Linux domain. Prints
 * `BENCH getppid N insns`.
 *
 * With an argument it says instead whether the kernel offers `scv`, the shorter way in, which needs
 * interrupts that arrive translated, and whether that works. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static long getppid_by_scv(void)
{
	register long number __asm__("r0") = SYS_getppid;
	register long result __asm__("r3");

	__asm__ volatile(".machine push\n\t.machine power9\n\tscv 0\n\t.machine pop"
			 : "+r"(number), "=r"(result)
			 :
			 : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "ctr",
			   "xer", "cr0", "cr1", "cr5", "cr6", "cr7", "memory");
	return result;
}

static const char *scv(void)
{
	const unsigned long offered = 0x00100000; /* PPC_FEATURE2_SCV */

	if (!(getauxval(AT_HWCAP2) & offered))
		return "scv is not offered";
	return getppid_by_scv() == getppid() ? "scv works" : "scv gives nonsense";
}

int main(int argc, char **argv)
{
	unsigned long costs[ROUNDS];

	(void)argv;
	if (argc > 1)
		return puts(scv()) == EOF;
	for (int round = 0; round < ROUNDS; round++) {
		unsigned long with = TICKS_OF_LOOP("sc");
		unsigned long without = TICKS_OF_LOOP("nop");

		costs[round] = (with - without) * 1000 / 512 / CALLS;
	}
	qsort(costs, ROUNDS, sizeof costs[0], ascending);
	printf("BENCH getppid %lu insns\n", costs[ROUNDS / 2]);
	return 0;
}
