/* What Linux's processors tell each other for work that has nothing in common: the first and only
 * process of a Linux, which has 1, 2, 4, … of its processors do the same at once, each on memory of its
 * own, as threads of one process and as processes, and marks that for the plug-in (coherence.c).
 * Each does it once before that, so that what is found only once has been. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../linux/need.h"
#include "marks.h"

#define MOST	32
#define PAGE	4096UL
#define REGION	65536UL	/* bytes that are mapped and unmapped */
#define PAGES	64UL	/* for faults */
#define ROUNDS	5	/* the median counts: a tick of the kernel's falls into few of them */
#define APART_BY	(2UL << 20)	/* bytes for which one table of pages is */
#define APART	__attribute__((aligned(65536)))

void fail(const char *what)
{
	printf("coherence: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	reboot(RB_POWER_OFF);
	_exit(1);
}

static char *map(unsigned long bytes)
{
	return (char *)NEED(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* The first store to each page. No two workers have pages of one table. */
static void faults(char *memory, unsigned long times)
{
	for (unsigned long page = 0; page < times; page++)
		*(volatile char *)(memory + page * PAGE) = 1;
}

/* Memory from the system, used, and given back. */
static void allocations(char *memory, unsigned long times)
{
	(void)memory;
	while (times--) {
		char *fresh = map(REGION);

		*(volatile char *)fresh = 1;
		NEED(munmap(fresh, REGION));
	}
}

/* A system call that changes nothing. */
static void calls(char *memory, unsigned long times)
{
	(void)memory;
	while (times--)
		NEED(syscall(SYS_getppid));
}

struct work {
	const char *name;	/* of eight characters at most, with a letter for what does it */
	unsigned long times;
	void (*run)(char *memory, unsigned long times);
};

static const struct work works[] = {
	{ "faults", PAGES, faults },
	{ "mmaps", 16, allocations },
	{ "calls", 100, calls },
};

/* In memory that all have in common: who is there, and the work. */
struct common {
	unsigned long arrived APART;
	const struct work *work APART;
	unsigned long count;
	unsigned long name;	/* its characters, in memory's order */
};

static struct common *common;

/* Spins until all workers are here. There is a processor for each. */
static void meet(unsigned long round)
{
	__atomic_add_fetch(&common->arrived, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(&common->arrived, __ATOMIC_ACQUIRE) < round * common->count)
		;
}

static void mark_begin(void)
{
	register unsigned long name __asm__("r3") = common->name;

	__asm__ volatile(".long %1" : : "r"(name), "i"(MARK_BEGIN) : "memory");
}

static void mark_end(unsigned long operations)
{
	register unsigned long count __asm__("r3") = operations;

	__asm__ volatile(".long %1" : : "r"(count), "i"(MARK_END) : "memory");
}

static void *worker(void *number)
{
	const struct work *work = common->work;
	char *memory;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned long)number, &set);
	NEED(sched_setaffinity(0, sizeof set, &set));
	memory = map(2 * APART_BY);
	memory += -(unsigned long)memory % APART_BY;
	work->run(memory, work->times);
	for (unsigned long round = 0; round < ROUNDS; round++) {
		NEED(madvise(memory, PAGES * PAGE, MADV_DONTNEED));
		meet(2 * round + 1);
		mark_begin();
		work->run(memory, work->times);
		mark_end(work->times);
		meet(2 * round + 2);
	}
	return NULL;
}

static void as_threads(void)
{
	pthread_t threads[MOST];

	for (unsigned long n = 0; n < common->count; n++)
		if (pthread_create(&threads[n], NULL, worker, (void *)n))
			fail("a thread");
	for (unsigned long n = 0; n < common->count; n++)
		pthread_join(threads[n], NULL);
}

static void as_processes(void)
{
	for (unsigned long n = 0; n < common->count; n++)
		if (NEED(fork()) == 0) {
			worker((void *)n);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
}

static void run(const struct work *work, unsigned long count, char kind, void (*as)(void))
{
	char name[sizeof common->name + 1] = "";

	memset(common, 0, sizeof *common);
	common->work = work;
	common->count = count;
	snprintf(name, sizeof name, "%s-%c", work->name, kind);
	memcpy(&common->name, name, sizeof common->name);
	as();
}

int main(void)
{
	long processors = NEED(sysconf(_SC_NPROCESSORS_ONLN));

	common = (struct common *)NEED(mmap(NULL, sizeof *common, PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	for (long count = 1; count <= processors && count <= MOST; count *= 2)
		for (unsigned n = 0; n < sizeof works / sizeof *works; n++) {
			printf("coherence: %s, processors: %ld\n", works[n].name, count);
			fflush(stdout);
			run(&works[n], count, 't', as_threads);
			run(&works[n], count, 'p', as_processes);
		}
	puts("coherence: done");
	fflush(stdout);
	pause();
	return 0;
}
