/* What operations of Linux take, where the emulator counts instructions as time: 0.512 ticks of the
 * timebase each. The same program runs in a Linux domain, in a guest of KVM and on bare Linux; without
 * arguments it prints `BENCH name N insns` for each operation (docs/measuring.md says what they are),
 * the median of rounds. What needs no memory and no other thread has rounds that are short beside the
 * kernel's tick; the rest has rounds of two ticks, in which the kernel frees what it has put off. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operations.h"

#define ROUNDS	21

void fail(const char *what)
{
	printf("operations: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void nothing(void)
{
}

static unsigned long ticks_of(void (*once)(void), unsigned long times)
{
	unsigned long began = timebase();

	for (unsigned long i = 0; i < times; i++)
		once();
	return timebase() - began;
}

static int ascending(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

static void measure(const struct operation *operation)
{
	unsigned long ticks[ROUNDS], times = operation->times;
	pid_t other = 0;
	pthread_t beside;

	if (operation->answer && (other = NEED(fork())) == 0) {
		for (;;)
			operation->answer();
	}
	if (operation->beside && pthread_create(&beside, NULL, operation->beside, NULL))
		fail("a thread");
	for (int round = -1; round < ROUNDS; round++) {		/* the first is a rehearsal */
		unsigned long took = operation->round ? operation->round() :
			ticks_of(operation->once, times) - ticks_of(nothing, times);

		if (round >= 0)
			ticks[round] = took;
	}
	if (other) {
		NEED(kill(other, SIGKILL));
		NEED(waitpid(other, NULL, 0));
	}
	qsort(ticks, ROUNDS, sizeof ticks[0], ascending);
	printf("BENCH %s %lu insns\n", operation->name, ticks[ROUNDS / 2] * 1000 / 512 / times);
	fflush(stdout);
}

int main(int count, char **arguments)
{
	unsigned long began = timebase();

	if (count > 1)
		return 0;
	/* For who knows when the kernel began: its way to here. */
	printf("BENCH timebase %lu ticks\n", began);
	prepare(arguments[0]);
	for (const struct operation *operation = operations; operation->name; operation++)
		if (operation->once != getppid_scv || getauxval(AT_HWCAP2) & PPC_FEATURE2_SCV)
			measure(operation);
	puts("operations: done");
	return 0;
}
