/* The operations that are measured. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "operations.h"

#define PAGES	64		/* touched in a round of faults */
#define REGION	65536UL		/* bytes of memory */
#define FILE	"/tmp/operations"

static const char *own_path;
static char buffer[4096];
static char *page;		/* of anonymous memory */
static int zero, file, pipe_to[2], pipe_back[2], sockets[2];
static int turn;		/* whose it is: 0 the measuring thread's, 1 its partner's */

static void ignore(int)
{
}

#define SYSTEM_CALL(instruction)						\
	register long number __asm__("r0") = SYS_getppid;			\
	register long result __asm__("r3");					\
	__asm__ volatile(".machine power9\n\t" instruction			\
			 : "+r"(number), "=r"(result)				\
			 : : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11",	\
			   "r12", "lr", "ctr", "xer", "cr0", "cr1", "cr5",	\
			   "cr6", "cr7", "memory")

static void getppid_sc(void)
{
	SYSTEM_CALL("sc");
}

void getppid_scv(void)
{
	SYSTEM_CALL("scv 0");
}

static void time_of_day(void)
{
	struct timeval now;

	gettimeofday(&now, NULL);
}

static void read_nothing(void)
{
	NEED(read(zero, buffer, 0));
}

static void stat_folder(void)
{
	struct stat status;

	NEED(stat("/tmp", &status));
}

static void open_close(void)
{
	NEED(close(NEED(open(FILE, O_RDONLY))));
}

static void pread_page(void)
{
	NEED(pread(file, buffer, sizeof buffer, 0));
}

static void kill_self(void)
{
	NEED(kill(getpid(), SIGUSR1));
}

static void allow_writes(int)
{
	NEED(mprotect(page, REGION, PROT_READ | PROT_WRITE));
}

static void protection_fault(void)
{
	NEED(mprotect(page, REGION, PROT_READ));
	*(volatile char *)page = 1;
}

static void map_unmap(void)
{
	void *fresh = (void *)NEED(mmap(NULL, REGION, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	NEED(munmap(fresh, REGION));
}

static void pass(int to, int from)
{
	NEED(write(to, buffer, 1));
	NEED(read(from, buffer, 1));
}

static void echo(int from, int to)
{
	NEED(read(from, buffer, 1));
	NEED(write(to, buffer, 1));
}

static void pipe_self(void)
{
	pass(pipe_to[1], pipe_to[0]);
}

static void pipe_ask(void)
{
	pass(pipe_to[1], pipe_back[0]);
}

static void pipe_answer(void)
{
	echo(pipe_to[0], pipe_back[1]);
}

static void socket_ask(void)
{
	pass(sockets[0], sockets[0]);
}

static void socket_answer(void)
{
	echo(sockets[1], sockets[1]);
}

static void yield(void)
{
	NEED(sched_yield());
}

static void hand_over(int from, int to)
{
	while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != from)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, to, NULL, NULL, 0);
	__atomic_store_n(&turn, to, __ATOMIC_RELEASE);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void futex_ask(void)
{
	hand_over(0, 1);
}

static void *futex_answer(void *)
{
	for (;;)
		hand_over(1, 0);
	return NULL;
}

static void *end_at_once(void *)
{
	return NULL;
}

static void thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, end_at_once, NULL) || pthread_join(thread, NULL))
		fail("a thread");
}

static void fork_wait(void)
{
	pid_t child = NEED(fork());

	if (child == 0)
		_exit(0);
	NEED(waitpid(child, NULL, 0));
}

/* This program, which ends at once where it has an argument. */
static void exec_self(void)
{
	char *arguments[] = { "operations", "end", NULL }, *environment[] = { NULL };

	execve(own_path, arguments, environment);
	_exit(127);
}

static void end_of(pid_t child)
{
	int status;

	NEED(waitpid(child, &status, 0));
	if (status != 0)
		fail(own_path);
}

static void fork_exec_wait(void)
{
	pid_t child = NEED(fork());

	if (child == 0)
		exec_self();
	end_of(child);
}

static void vfork_exec_wait(void)
{
	pid_t child = NEED(vfork());

	if (child == 0)
		exec_self();
	end_of(child);
}

/* Ticks of the first stores to some pages of fresh memory. */
static unsigned long touch(int flags, int fd)
{
	size_t size = PAGES * getpagesize();
	char *fresh = (char *)NEED(mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0));

	NEED(madvise(fresh, size, MADV_NOHUGEPAGE));
	unsigned long began = timebase();
	for (size_t at = 0; at < size; at += getpagesize())
		*(volatile char *)(fresh + at) = 1;
	unsigned long ticks = timebase() - began;
	NEED(munmap(fresh, size));
	return ticks;
}

static unsigned long anonymous_faults(void)
{
	return touch(MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

static unsigned long file_faults(void)
{
	return touch(MAP_SHARED, file);
}

/* How much later than asked for a sleep of a millisecond ends. */
static unsigned long sleep_late(void)
{
	struct timespec time = { .tv_nsec = 1000000 };
	unsigned long began = timebase();

	NEED(nanosleep(&time, NULL));
	return timebase() - began - 512000;
}

/* What interrupts take from a loop in four of the kernel's ticks, 4 ms each: gaps of more than 500
 * instructions. */
static unsigned long four_ticks(void)
{
	unsigned long before = timebase(), end = before + 16 * 512000, taken = 0;

	while (before < end) {
		unsigned long now = timebase();

		if (now - before > 256)
			taken += now - before;
		before = now;
	}
	return taken;
}

const struct operation operations[] = {
	{ "getppid-sc", 1000, .once = getppid_sc },
	{ "getppid-scv", 1000, .once = getppid_scv },
	{ "gettimeofday", 1000, .once = time_of_day },
	{ "read-zero", 1000, .once = read_nothing },
	{ "stat", 100, .once = stat_folder },
	{ "open-close", 100, .once = open_close },
	{ "pread-4k", 100, .once = pread_page },
	{ "signal", 100, .once = kill_self },
	{ "protection-fault", 50, .once = protection_fault },
	{ "mmap-munmap", 500, .once = map_unmap },
	{ "anonymous-fault", PAGES, .round = anonymous_faults },
	{ "file-fault", PAGES, .round = file_faults },
	{ "pipe-self", 100, .once = pipe_self },
	{ "pipe-pair", 500, .once = pipe_ask, .answer = pipe_answer },
	{ "socket-pair", 300, .once = socket_ask, .answer = socket_answer },
	{ "yield-pair", 1000, .once = yield, .answer = yield },
	{ "fork", 40, .once = fork_wait },
	{ "fork-exec", 12, .once = fork_exec_wait },
	{ "vfork-exec", 16, .once = vfork_exec_wait },
	{ "thread", 120, .once = thread },
	{ "sleep-late", 1, .round = sleep_late },
	{ "tick", 4, .round = four_ticks },
	/* Last: its thread stays. */
	{ "futex-pair", 600, .once = futex_ask, .beside = futex_answer },
	{ 0 },
};

void prepare(const char *path)
{
	own_path = path;
	mkdir("/tmp", 0755);
	zero = NEED(open("/dev/zero", O_RDONLY));
	file = NEED(open(FILE, O_CREAT | O_RDWR, 0600));
	for (long left = PAGES * getpagesize(); left > 0; left -= sizeof buffer)
		NEED(write(file, buffer, sizeof buffer));
	page = (char *)NEED(mmap(NULL, REGION, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	NEED(pipe(pipe_to));
	NEED(pipe(pipe_back));
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	signal(SIGUSR1, ignore);
	signal(SIGSEGV, allow_writes);
	/* No sleep ends late for others' sake. */
	NEED(prctl(PR_SET_TIMERSLACK, 1));
}
