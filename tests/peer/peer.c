/* The peer: what KVM-HV takes for what this hypervisor does, on the same emulated machine.
 *
 * The first and only process of a Linux on bare metal. It loads the kernel's own KVM modules, runs
 * guests that measure (guest.S) and prints `BENCH name N insns` for each figure: instructions, where the
 * emulator counts them as time, 0.512 ticks of the timebase each, and nanoseconds where it does not.
 * Where it finds a Linux to be a guest, that one is run instead (linux.h).
 * docs/measuring.md says what each is compared with. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest.h"
#include "linux.h"
#include "vm.h"

#define MIB		(1UL << 20)
#define ROUNDS		11	/* the median counts: a tick of the host's falls into few of them */
#define CALLS		200	/* operations in a round */
#define FRAME		1514	/* bytes: the longest of Ethernet with its header */
#define SETTLED		10000	/* microseconds after which a thread that can sleep does */

/* finit_module's flag for a module that the kernel is to decompress. */
#define COMPRESSED	4

/* The programs of guest.S. */
extern const char guest_first[], guest_hypercall[], guest_loop[], guest_prod[], guest_prodded[],
	guest_exchange[], guest_exchanged[], guest_signal[], guest_signalled[], guest_timer[],
	guest_sleeper[], guest_touch[];

static unsigned long timebase(void)
{
	unsigned long ticks;

	__asm__ volatile("mfspr %0, 268" : "=r"(ticks) : : "memory");
	return ticks;
}

static _Noreturn void power_off(void)
{
	fflush(stdout);
	reboot(RB_POWER_OFF);
	_exit(1);
}

void fail(const char *what)
{
	printf("peer: %s: %s\n", what, strerror(errno));
	power_off();
}

static int ascending(const void *a, const void *b)
{
	unsigned long x = *(const unsigned long *)a, y = *(const unsigned long *)b;

	return (x > y) - (x < y);
}

/* Prints the median of rounds, each so many operations. */
static void report(const char *name, unsigned long ticks[ROUNDS], unsigned long operations)
{
	qsort(ticks, ROUNDS, sizeof ticks[0], ascending);
	printf("BENCH %s %lu insns\n", name, ticks[ROUNDS / 2] * 1000 / 512 / operations);
}

/* Runs a program to its end; its result. */
static unsigned long run(struct vm *vm, const char *program, unsigned long a, unsigned long b,
			 unsigned long c)
{
	vcpu_prepare(&vm->vcpus[0], program, (unsigned long[]){ a, b, c });
	vcpu_run(&vm->vcpus[0]);
	return vm_result(vm);
}

static void *run_beside(void *vcpu)
{
	vcpu_run(vcpu);
	return NULL;
}

/* Runs a program that has no end on another thread, until it waits. */
static void start(struct vcpu *vcpu, const char *program)
{
	pthread_t thread;

	vcpu_prepare(vcpu, program, (unsigned long[3]){ 0 });
	if (pthread_create(&thread, NULL, run_beside, vcpu))
		fail("a thread");
	usleep(SETTLED);
}

static void hypercall(const char *name)
{
	unsigned long ticks[ROUNDS];
	struct vm vm;

	vm_create(&vm, 1, 2 * MIB, true);
	for (int round = 0; round < ROUNDS; round++)
		ticks[round] = run(&vm, guest_hypercall, CALLS, 0, 0) - run(&vm, guest_loop, CALLS, 0, 0);
	report(name, ticks, CALLS);
}

static void vcpu_switch_pair(const char *name)
{
	unsigned long ticks[ROUNDS];
	struct vm vm;

	vm_create(&vm, 2, 2 * MIB, true);
	start(&vm.vcpus[1], guest_prodded);
	for (int round = 0; round < ROUNDS; round++)
		ticks[round] = run(&vm, guest_prod, CALLS, 1, 0);
	report(name, ticks, CALLS);
}

/* Two guests whose user spaces signal each other, here to there and back. */
static void connect_guests(struct vm *here, struct vm *there, int to[2], int back[2])
{
	vm_create(here, 1, 2 * MIB, true);
	vm_create(there, 1, 2 * MIB, true);
	here->vcpus[0].signal = to[1], there->vcpus[0].wait = to[0];
	there->vcpus[0].signal = back[1], here->vcpus[0].wait = back[0];
}

static void connect_by_pipes(struct vm *here, struct vm *there)
{
	int to[2], back[2];

	if (pipe(to) || pipe(back))
		fail("a pipe");
	connect_guests(here, there, to, back);
}

static void connect_by_eventfds(struct vm *here, struct vm *there)
{
	int to = eventfd(0, 0), back = eventfd(0, 0);

	if (to < 0 || back < 0)
		fail("an eventfd");
	connect_guests(here, there, (int[]){ to, to }, (int[]){ back, back });
}

static void round_trip(const char *name, struct vm *here, struct vm *there)
{
	unsigned long ticks[ROUNDS];

	start(&there->vcpus[0], guest_exchanged);
	for (int round = 0; round < ROUNDS; round++)
		ticks[round] = run(here, guest_exchange, CALLS, 0, 0);
	report(name, ticks, CALLS);
}

static void round_trip_pipe(const char *name)
{
	struct vm here, there;

	connect_by_pipes(&here, &there);
	round_trip(name, &here, &there);
}

static void round_trip_eventfd(const char *name)
{
	struct vm here, there;

	connect_by_eventfds(&here, &there);
	round_trip(name, &here, &there);
}

/* One way: from the call of one guest to the next instruction of the other. */
static void one_way(const char *name, struct vm *here, struct vm *there)
{
	unsigned long ticks[ROUNDS];

	start(&there->vcpus[0], guest_signalled);
	for (int round = 0; round < ROUNDS; round++) {
		unsigned long signalled = run(here, guest_signal, 0, 0, 0);

		usleep(SETTLED);
		ticks[round] = vm_result(there) - signalled;
	}
	report(name, ticks, 1);
}

static void signal_eventfd(const char *name)
{
	struct vm here, there;

	connect_by_eventfds(&here, &there);
	one_way(name, &here, &there);
}

static void give_frame(struct vm *vm)
{
	vm->vcpus[0].message = vm->memory + MIB;
	vm->vcpus[0].length = FRAME;
}

/* The same with a frame, from memory to memory by the two user spaces and a socket between them. */
static void lan_frame(const char *name)
{
	struct vm here, there;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
		fail("a pair of sockets");
	connect_guests(&here, &there, (int[]){ ends[0], ends[1] }, (int[]){ ends[0], ends[1] });
	give_frame(&here);
	give_frame(&there);
	one_way(name, &here, &there);
}

static void timer(const char *name, const char *program)
{
	unsigned long ticks[ROUNDS];
	struct vm vm;

	vm_create(&vm, 1, 2 * MIB, true);
	for (int round = 0; round < ROUNDS; round++)
		ticks[round] = run(&vm, program, 51200, 0, 0);	/* 0.1 ms */
	report(name, ticks, 1);
}

static void timer_running(const char *name)
{
	timer(name, guest_timer);
}

static void timer_sleeping(const char *name)
{
	timer(name, guest_sleeper);
}

/* A GiB, as 64 MiB tell it: a guest's first stores to memory that the host has not touched. */
static void populate_gib(const char *name)
{
	struct vm vm;

	vm_create(&vm, 1, 66 * MIB, false);
	printf("BENCH %s %lu insns\n", name,
	       run(&vm, guest_touch, 64 * MIB, 2 * MIB, 4096) * 16 * 1000 / 512);
	vm_destroy(&vm);
}

/* The two calls alone. */
static void create(const char *name)
{
	unsigned long ticks[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		struct vm vm = { 0 };
		unsigned long began = timebase();

		vm_open(&vm);
		ticks[round] = timebase() - began;
		vm_add_memory(&vm, 64 * MIB, false);
		began = timebase();
		vm_add_vcpu(&vm, 0);
		ticks[round] += timebase() - began;
		vm_destroy(&vm);
	}
	report(name, ticks, 1);
}

/* All that it takes until a guest of 64 MiB runs, its memory still to come. */
static void create_to_first_instruction(const char *name)
{
	unsigned long ticks[ROUNDS];

	for (int round = 0; round < ROUNDS; round++) {
		unsigned long began = timebase();
		struct vm vm;

		vm_create(&vm, 1, 64 * MIB, false);
		ticks[round] = run(&vm, guest_first, 0, 0, 0) - began;
		vm_destroy(&vm);
	}
	report(name, ticks, 1);
}

/* The program that K42 domains run, on this Linux. It prints its figure itself. */
static void getppid_program(const char *)
{
	pid_t child = fork();

	if (child == 0) {
		execl("/getppid", "getppid", NULL);
		_exit(127);
	}
	int status;
	if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
		fail("/getppid");
}

static const struct {
	const char *name;
	void (*measure)(const char *name);
} figures[] = {
	{ "hypercall", hypercall },
	{ "vcpu-switch-pair", vcpu_switch_pair },
	{ "round-trip-pipe", round_trip_pipe },
	{ "round-trip-eventfd", round_trip_eventfd },
	{ "signal-eventfd", signal_eventfd },
	{ "lan-frame", lan_frame },
	{ "timer-running", timer_running },
	{ "timer-sleeping", timer_sleeping },
	{ "populate-gib", populate_gib },
	{ "create", create },
	{ "create-to-first-instruction", create_to_first_instruction },
	{ "getppid", getppid_program },
};

static void load(const char *module)
{
	int fd = open(module, O_RDONLY);

	if (fd < 0 || syscall(SYS_finit_module, fd, "", COMPRESSED))
		fail(module);
	close(fd);
}

int main(void)
{
	load("/kvm.ko.xz");
	load("/kvm-hv.ko.xz");
	mkdir("/dev", 0755);
	if (mknod("/dev/kvm", S_IFCHR | 0600, makedev(10, 232)))
		fail("/dev/kvm");
	if (access(LINUX_IMAGE, F_OK) == 0)
		run_linux();
	for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
		figures[i].measure(figures[i].name);
	puts("peer: done");
	power_off();
}
