/* Whether the kernel offers `scv`, by which a program calls it without the detour of `sc`'s vector,
 * and whether that works. It needs interrupts that arrive translated. */
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OFFERED 0x00100000 /* PPC_FEATURE2_SCV */

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

int main(void)
{
	if (!(getauxval(AT_HWCAP2) & OFFERED))
		puts("scv is not offered");
	else
		puts(getppid_by_scv() == getppid() ? "scv works" : "scv gives nonsense");
	return 0;
}
