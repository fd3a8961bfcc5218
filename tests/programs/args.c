/* What a program is given: arguments, environment, auxiliary vector, and registers that system calls
 * must keep. Prints one line for each fact; exits with the number of those that are wrong. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int wrong;

static void check(const char *what, int right)
{
	printf("%s: %s\n", right ? "ok" : "not ok", what);
	wrong += !right;
}

/* Makes a call with known values in registers that it must keep; true when they are kept. */
static int registers_are_kept(void)
{
	long r14, r31;
	double f1 = 1.25, f31 = 31.5;
	unsigned long fields;

	__asm__ volatile(
		"li 14, 0x1414\n\t"
		"li 31, 0x3131\n\t"
		"mtcrf 0x7f, %5\n\t"
		"fmr 1, %3\n\t"
		"fmr 31, %4\n\t"
		"li 0, %6\n\t"
		"sc\n\t"
		"mfcr %2\n\t"
		"mr %0, 14\n\t"
		"mr %1, 31\n\t"
		"fmr %3, 1\n\t"
		"fmr %4, 31"
		: "=&r"(r14), "=&r"(r31), "=&r"(fields), "+d"(f1), "+d"(f31)
		: "r"(0x05a5a5a5ul), "i"(SYS_getppid)
		: "r0", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r14", "r31",
		  "ctr", "xer", "cr0", "cr1", "cr2", "cr3", "cr4", "cr5", "cr6", "cr7", "fr1",
		  "fr31", "memory");
	return r14 == 0x1414 && r31 == 0x3131 && f1 == 1.25 && f31 == 31.5 &&
	       (fields & 0x0ffffffful) == 0x05a5a5a5ul;
}

int main(int argc, char **argv)
{
	for (int i = 0; i < argc; i++)
		printf("argument %d: %s\n", i, argv[i]);
	for (char **variable = environ; *variable; variable++)
		printf("variable: %s\n", *variable);

	const ElfW(Phdr) *headers = (const void *)getauxval(AT_PHDR);
	unsigned long features = getauxval(AT_HWCAP), features2 = getauxval(AT_HWCAP2);
	const char *platform = (const char *)getauxval(AT_PLATFORM);
	static char zeros[300000];
	int all_zero = 1;

	check("arguments end with a null pointer", argv[argc] == NULL);
	check("page size", getauxval(AT_PAGESZ) == (unsigned long)getpagesize());
	check("program headers", headers && headers[0].p_type != PT_NULL && getauxval(AT_PHNUM) > 1);
	check("header size", getauxval(AT_PHENT) == sizeof *headers);
	check("random bytes", getauxval(AT_RANDOM) != 0);
	check("path of the program", strstr((const char *)getauxval(AT_EXECFN), "args") != NULL);
	check("platform", platform && strncmp(platform, "power", 5) == 0);
	check("VSX is there", (features & PPC_FEATURE_HAS_VSX) != 0);
	check("ISA 3.0 is there", (features2 & PPC_FEATURE2_ARCH_3_00) != 0);
	check("no transactional memory", (features2 & PPC_FEATURE2_HAS_HTM) == 0);
	check("not secure mode", getauxval(AT_SECURE) == 0);

	for (size_t i = 0; i < sizeof zeros; i++)
		all_zero &= zeros[i] == 0;
	check("what is not initialised is zero", all_zero);
	memset(zeros, 1, sizeof zeros);
	check("registers are kept by a call", registers_are_kept());
	check("a bad pointer is an error",
	      write(1, (const void *)0xc000000000000000ul, 1) == -1 && errno == EFAULT);
	check("a bad descriptor is an error", close(77) == -1 && errno == EBADF);

	char *memory = mmap(NULL, 200000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check("memory can be mapped", memory != MAP_FAILED && memory[199999] == 0);
	memory[0] = 1;
	char *moved = mremap(memory, 200000, 2000000, MREMAP_MAYMOVE);
	check("and grow", moved != MAP_FAILED && moved[0] == 1 && moved[1999999] == 0);
	check("and go", munmap(moved, 2000000) == 0);
	return wrong;
}
