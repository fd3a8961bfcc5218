/* A plug-in of QEMU's that counts what processors' caches tell each other.
 *
 * Each processor has one cache of lines of 128 bytes, as POWER has, that never runs full and knows of
 * every line whether it is modified, shared or not there (MSI). So all that is left are misses because
 * of somebody else: what a miss of that kind costs differs from machine to machine, how many there are
 * does not. Followed are loads and stores of guest and hypervisor to memory, by its real addresses.
 * Not followed are instructions, the processor's own walks through page tables, and devices.
 *
 * It needs -icount, with which all processors take turns on one thread: nothing here is locked.
 * Programs say what is counted by instructions that do nothing (marks.h says which): on each processor from
 * `begin`, with a name in r3, to `end`, with the number of operations in r3. When no processor is
 * within any more, what they did is written to the file that the option `out=` names:
 *
 *     window faults processors 8 operations 2048
 *     supervisor read-modified 12 read-shared 0 write 3 upgrade 14     for each mode
 *     line 0x1f80 at 0xc000000000012340 supervisor upgrade 8           what was most, by line and code
 *     done
 *
 * A transfer is a miss that another cache has the line for: `read-modified` where that is the only
 * place that has it as it is now, `read-shared` where memory has, too, `write` where it must be
 * given up. `upgrade` moves nothing: the line is here, and others are told to forget it.
 *
 * Debian has no headers of this interface: what is used of it is declared here (QEMU's
 * documentation, "QEMU TCG Plugins", API version 4). */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marks.h"

typedef uint64_t plugin_id;
struct insn;
struct tb;
struct hwaddr;
struct reg;

/* GLib's, which QEMU has loaded: growing arrays, of which these fields are for everybody. */
struct array {
	void *data;
	unsigned length;
};

struct reg_descriptor {
	struct reg *handle;
	const char *name;
	const char *feature;
};

struct info {
	const char *target;
	struct {
		int least, current;
	} version;
	bool system;
	struct {
		int processors, most;
	} smp;
};

enum { READS_REGISTERS = 1, LOADS = 1, STORES = 2 };

extern void qemu_plugin_register_vcpu_init_cb(plugin_id, void (*)(plugin_id, unsigned));
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct tb *));
extern void qemu_plugin_register_vcpu_tb_exec_cb(struct tb *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct insn *, void (*)(unsigned, void *), int, void *);
extern void qemu_plugin_register_vcpu_mem_cb(struct insn *,
					     void (*)(unsigned, uint32_t, uint64_t, void *), int, int,
					     void *);
extern size_t qemu_plugin_tb_n_insns(const struct tb *);
extern struct insn *qemu_plugin_tb_get_insn(const struct tb *, size_t);
extern size_t qemu_plugin_insn_data(const struct insn *, void *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct insn *);
extern const void *qemu_plugin_request_time_control(void);
extern void qemu_plugin_update_ns(const void *, int64_t);
extern bool qemu_plugin_mem_is_store(uint32_t);
extern unsigned qemu_plugin_mem_size_shift(uint32_t);
extern struct hwaddr *qemu_plugin_get_hwaddr(uint32_t, uint64_t);
extern bool qemu_plugin_hwaddr_is_io(const struct hwaddr *);
extern uint64_t qemu_plugin_hwaddr_phys_addr(const struct hwaddr *);
extern struct array *qemu_plugin_get_registers(void);
extern int qemu_plugin_read_register(struct reg *, struct array *);
extern struct array *g_byte_array_new(void);
extern struct array *g_byte_array_set_size(struct array *, unsigned);
extern struct array *g_array_free(struct array *, int);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = 4;

enum {
	LINE_SHIFT = 7,
	MOST_PROCESSORS = 32,
	SITES = 1 << 16,
	TURN = 500,	/* instructions */
	SHOWN = 24,	/* sites in a report */
};

/* Memory that is followed. Of what a machine does not have no page is ever touched here. */
#define MEMORY		(16ULL << 30)

/* A line: a bit for each processor whose cache has it, and whether that one has modified it. */
#define MODIFIED	(1ULL << 63)
static uint64_t *lines;

#define MSR_PR		(1ULL << 14)
#define MSR_HV		(1ULL << 60)

enum kind { READ_MODIFIED, READ_SHARED, WRITE, UPGRADE, KINDS };
static const char *const kinds[] = { "read-modified", "read-shared", "write", "upgrade" };

enum mode { USER, SUPERVISOR, HYPERVISOR, MODES };
static const char *const modes[] = { "user", "supervisor", "hypervisor" };

/* Where in memory and by which instruction. */
struct site {
	uint64_t line, code, times;
	enum kind kind;
	enum mode mode;
};

/* What is counted since the first processor began. */
static struct {
	char name[9];
	unsigned processors, within;
	uint64_t operations, counts[MODES][KINDS];
	struct site sites[SITES];
} window;

static struct processor {
	uint64_t pir;
	bool within;
} processors[MOST_PROCESSORS];
static unsigned known;

/* Which of them runs. The number that QEMU hands to callbacks is not that: where processors take turns on
 * one thread, it is that of whichever translated the code first (10.0.2). */
static struct processor *current;

/* The same for all processors: registers of the one that runs. */
static struct reg *r3, *msr, *pir;

static FILE *out;
static const void *time_control;
/* Nothing is followed until somebody begins: a boot takes less time then. */
static bool begun;

/* A register, as a processor in little-endian mode gives it. */
static uint64_t value(struct reg *reg)
{
	static struct array *bytes;
	uint64_t value = 0;

	if (!bytes)
		bytes = g_byte_array_new();
	g_byte_array_set_size(bytes, 0);
	if (qemu_plugin_read_register(reg, bytes) == sizeof value)
		memcpy(&value, bytes->data, sizeof value);
	return value;
}

static enum mode mode_now(void)
{
	uint64_t state = value(msr);

	/* The firmware's processors are in big-endian mode. MSR[LE] tells. */
	if (!(state & 1))
		state = __builtin_bswap64(state);
	return state & MSR_PR ? USER : state & MSR_HV ? HYPERVISOR : SUPERVISOR;
}

static void count(uint64_t line, uint64_t code, enum kind kind)
{
	enum mode mode = mode_now();
	uint64_t hash = (line ^ code * 31 ^ kind << 13) * 0x9e3779b97f4a7c15;

	window.counts[mode][kind]++;
	/* Where all places are taken, the sum is right and the list is not complete. */
	for (unsigned n = 0; n < 16; n++) {
		struct site *site = &window.sites[((hash >> 32) + n) % SITES];

		if (!site->times)
			*site = (struct site){ line, code, 0, kind, mode };
		if (site->line == line && site->code == code && site->kind == kind && site->mode == mode) {
			site->times++;
			return;
		}
	}
}

/* What a load or store does to the caches. */
static void touch(uint64_t line, uint64_t code, bool store)
{
	uint64_t me = 1ULL << (current - processors), had = lines[line >> LINE_SHIFT];
	uint64_t others = had & ~MODIFIED & ~me;
	enum kind kind;

	if (store) {
		if (had == (me | MODIFIED))
			return;
		lines[line >> LINE_SHIFT] = me | MODIFIED;
		kind = had & me ? UPGRADE : WRITE;
	} else {
		if (had & me)
			return;
		/* Who had modified it writes it back, and keeps it. */
		lines[line >> LINE_SHIFT] = (had & ~MODIFIED) | me;
		kind = had & MODIFIED ? READ_MODIFIED : READ_SHARED;
	}
	if (others && current->within)
		count(line, code, kind);
}

/* What dcbz zeroes comes here as well, as stores of a part after another. */
static void on_access(unsigned unused, uint32_t how, uint64_t address, void *code)
{
	bool store = qemu_plugin_mem_is_store(how);
	struct hwaddr *hwaddr;
	uint64_t at, size;

	(void)unused;
	if (!begun)
		return;
	hwaddr = qemu_plugin_get_hwaddr(how, address);
	if (!hwaddr || qemu_plugin_hwaddr_is_io(hwaddr))
		return;
	at = qemu_plugin_hwaddr_phys_addr(hwaddr);
	size = 1ULL << qemu_plugin_mem_size_shift(how);
	if (at >= MEMORY - size)
		return;
	for (uint64_t line = at >> LINE_SHIFT << LINE_SHIFT; line < at + size; line += 1 << LINE_SHIFT)
		touch(line, (uint64_t)code, store);
}

static int by_times(const void *a, const void *b)
{
	uint64_t x = ((const struct site *)a)->times, y = ((const struct site *)b)->times;

	return (x < y) - (x > y);
}

static void report(void)
{
	fprintf(out, "window %s processors %u operations %" PRIu64 "\n", window.name, window.processors,
		window.operations);
	for (int mode = 0; mode < MODES; mode++) {
		fputs(modes[mode], out);
		for (int kind = 0; kind < KINDS; kind++)
			fprintf(out, " %s %" PRIu64, kinds[kind], window.counts[mode][kind]);
		fputc('\n', out);
	}
	qsort(window.sites, SITES, sizeof *window.sites, by_times);
	for (int n = 0; n < SHOWN && window.sites[n].times; n++) {
		struct site *site = &window.sites[n];

		fprintf(out, "line 0x%" PRIx64 " at 0x%" PRIx64 " %s %s %" PRIu64 "\n", site->line,
			site->code, modes[site->mode], kinds[site->kind], site->times);
	}
	fputs("done\n", out);
	fflush(out);
	memset(&window, 0, sizeof window);
}

/* Processors are known by the register that says which one it is. */
static struct processor *running(void)
{
	uint64_t number = value(pir);
	unsigned n = 0;

	/* The firmware's, again: the number is of 32 bits. */
	if (number >> 32)
		number = __builtin_bswap64(number);
	while (n < known && processors[n].pir != number)
		n++;
	if (n == known)
		processors[known++].pir = number;
	return &processors[n];
}

/* A processor is about to run so many instructions. After enough of them it is the next one's turn: left
 * alone, QEMU has each go on until the next timer is due, which is for longer than most operations take,
 * and what two processors do to a line meanwhile would be seen once. There is no call for that. But QEMU
 * sets its time between turns, so whoever asks for that gives up its own; time does not go back to 0. */
static void runs(unsigned unused, void *instructions)
{
	static int64_t turn;

	(void)unused;
	if (!begun)
		return;
	current = running();
	turn -= (int64_t)instructions;
	if (!window.within || turn > 0)
		return;
	turn = TURN;
	qemu_plugin_update_ns(time_control, 0);
}

static void begin(unsigned unused, void *unused_too)
{
	uint64_t name = value(r3);

	(void)unused, (void)unused_too;
	begun = true;
	current = running();
	if (current->within)
		return;
	if (!window.within)
		memcpy(window.name, &name, sizeof name);
	current->within = true;
	window.within++;
	window.processors++;
}

static void end(unsigned unused, void *unused_too)
{
	(void)unused, (void)unused_too;
	if (!current || !current->within)
		return;
	current->within = false;
	window.operations += value(r3);
	if (!--window.within)
		report();
}

/* Only code of little-endian mode is read right: the firmware's is not, and has no part in this. */
static void translated(plugin_id id, struct tb *tb)
{
	size_t count = qemu_plugin_tb_n_insns(tb);

	(void)id;
	for (size_t n = 0; n < count; n++) {
		struct insn *insn = qemu_plugin_tb_get_insn(tb, n);
		void *code = (void *)qemu_plugin_insn_vaddr(insn);
		uint32_t word = 0;

		qemu_plugin_insn_data(insn, &word, sizeof word);
		if (word == MARK_BEGIN)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, READS_REGISTERS, NULL);
		if (word == MARK_END)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, READS_REGISTERS, NULL);
		qemu_plugin_register_vcpu_mem_cb(insn, on_access, READS_REGISTERS, LOADS | STORES, code);
	}
	qemu_plugin_register_vcpu_tb_exec_cb(tb, runs, READS_REGISTERS, (void *)count);
}

/* The first processor is there: what registers are called. */
static void started(plugin_id id, unsigned number)
{
	struct array *all;
	struct reg_descriptor *registers;

	(void)id;
	if (number)
		return;
	all = qemu_plugin_get_registers();
	registers = all->data;
	for (unsigned n = 0; n < all->length; n++) {
		if (!strcmp(registers[n].name, "r3"))
			r3 = registers[n].handle;
		else if (!strcmp(registers[n].name, "msr"))
			msr = registers[n].handle;
		else if (!strcmp(registers[n].name, "pir"))
			pir = registers[n].handle;
	}
	g_array_free(all, 1);
}

EXPORTED int qemu_plugin_install(plugin_id id, const struct info *info, int count, char **options)
{
	out = stderr;
	for (int n = 0; n < count; n++) {
		if (strncmp(options[n], "out=", 4)) {
			fprintf(stderr, "coherence: there is no option %s; there is out=FILE\n", options[n]);
			return 1;
		}
		out = fopen(options[n] + 4, "w");
		if (!out) {
			perror(options[n] + 4);
			return 1;
		}
	}
	if (strcmp(info->target, "ppc64") || !info->system || info->smp.most > MOST_PROCESSORS) {
		fprintf(stderr, "coherence: this is for ppc64 machines of at most %d processors\n",
			MOST_PROCESSORS);
		return 1;
	}
	lines = calloc(MEMORY >> LINE_SHIFT, sizeof *lines);
	if (!lines) {
		perror("coherence");
		return 1;
	}
	time_control = qemu_plugin_request_time_control();
	qemu_plugin_register_vcpu_init_cb(id, started);
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
