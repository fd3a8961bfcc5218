/* A Linux as a guest of KVM: the domain that this hypervisor runs, from the same bytes, with the same
 * device tree. KVM answers most of what PAPR's guests ask; here is what it leaves to user space, and
 * that is less than QEMU does for one. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux.h"
#include "vm.h"

/* Hypercalls, and two of their results (LoPAR, chapter 14). */
#define H_GET_TERM_CHAR		0x54
#define H_PUT_TERM_CHAR		0x58
#define H_RANDOM		0x300
#define H_SET_MODE		0x31c
#define H_REGISTER_PROC_TBL	0x37c
#define H_RTAS			0xf000
#define H_SUCCESS		0
#define H_FUNCTION		-2

/* H_SET_MODE's resources. */
#define INTERRUPT_LOCATION	3
#define INTERRUPT_ENDIAN	4

#define LPCR_AIL_SHIFT		23
#define LPCR_AIL		(3UL << LPCR_AIL_SHIFT)
#define LPCR_ILE		0x02000000UL

/* Flags of H_REGISTER_PROC_TBL, and the bit of the partition table's entry that says the same. */
#define PROC_TBL_GTSE		1
#define PROC_TBL_RADIX		4
#define PATE1_RADIX		(1UL << 63)

/* The platform's firmware: no such function. */
#define RTAS_PARAMETER_ERROR	-3

/* 64-bit, big-endian, interrupts off; real mode. */
#define FIRST_MSR		0x8000000000001000UL

/* A number of the environment. */
static unsigned long number(const char *name)
{
	const char *text = getenv(name);

	if (!text)
		fail(name);
	return strtoul(text, NULL, 0);
}

static void load(struct vm *vm)
{
	int fd = open(LINUX_IMAGE, O_RDONLY);
	ssize_t got = 1;

	for (size_t at = 0; got > 0; at += got)
		got = read(fd, vm->memory + at, vm->size - at);
	if (got < 0)
		fail(LINUX_IMAGE);
	close(fd);
}

/* Interrupts by hypercall, in the kernel. */
static void add_interrupts(struct vm *vm)
{
	struct kvm_create_device xics = { .type = KVM_DEV_TYPE_XICS };

	ASK(vm->fd, KVM_CREATE_DEVICE, &xics);

	struct kvm_enable_cap server = { .cap = KVM_CAP_IRQ_XICS, .args = { xics.fd, 0 } };
	ASK(vm->vcpus[0].fd, KVM_ENABLE_CAP, &server);
}

/* Random numbers of the processor's: KVM has them, and gives them if asked to. */
static void add_random_numbers(struct vm *vm)
{
	struct kvm_enable_cap call = { .cap = KVM_CAP_PPC_ENABLE_HCALL, .args = { H_RANDOM, 1 } };

	ASK(vm->fd, KVM_ENABLE_CAP, &call);
}

static long set_mode(struct vcpu *vcpu, unsigned long flags, unsigned long resource)
{
	uint64_t lpcr;
	struct kvm_one_reg reg = { .id = KVM_REG_PPC_LPCR_64, .addr = (uintptr_t)&lpcr };

	ASK(vcpu->fd, KVM_GET_ONE_REG, &reg);
	switch (resource) {
	case INTERRUPT_LOCATION:
		lpcr = (lpcr & ~LPCR_AIL) | flags << LPCR_AIL_SHIFT;
		break;
	case INTERRUPT_ENDIAN:
		lpcr = (lpcr & ~LPCR_ILE) | (flags ? LPCR_ILE : 0);
		break;
	default:
		return H_FUNCTION;
	}
	ASK(vcpu->fd, KVM_SET_ONE_REG, &reg);
	return H_SUCCESS;
}

static long register_process_table(struct vm *vm, const uint64_t *arguments)
{
	struct kvm_ppc_mmuv3_cfg config = { .process_table = arguments[1] | arguments[3] };

	if (arguments[0] & PROC_TBL_RADIX) {
		config.flags |= KVM_PPC_MMUV3_RADIX;
		config.process_table |= PATE1_RADIX;
	}
	if (arguments[0] & PROC_TBL_GTSE)
		config.flags |= KVM_PPC_MMUV3_GTSE;
	ASK(vm->fd, KVM_PPC_CONFIGURE_V3_MMU, &config);
	return H_SUCCESS;
}

static long put_characters(uint64_t count, uint64_t high, uint64_t low)
{
	uint64_t characters[] = { htobe64(high), htobe64(low) };

	fwrite(characters, 1, count < sizeof characters ? count : sizeof characters, stdout);
	fflush(stdout);
	return H_SUCCESS;
}

/* The platform's firmware, which has no functions. */
static long rtas(const struct vm *vm, uint64_t at)
{
	uint32_t *block = (uint32_t *)(vm->memory + at);	/* token, inputs, outputs; then they */

	if (at > vm->size - 4096)
		fail("an argument block of RTAS");
	block[3 + be32toh(block[1]) % 16] = htobe32(RTAS_PARAMETER_ERROR);
	return H_SUCCESS;
}

static long answer(struct vm *vm, struct vcpu *vcpu, unsigned long number, uint64_t *arguments)
{
	switch (number) {
	case H_PUT_TERM_CHAR:
		return put_characters(arguments[1], arguments[2], arguments[3]);
	case H_GET_TERM_CHAR:
		arguments[0] = 0;
		return H_SUCCESS;
	case H_SET_MODE:
		return set_mode(vcpu, arguments[0], arguments[1]);
	case H_REGISTER_PROC_TBL:
		return register_process_table(vm, arguments);
	case H_RTAS:
		return rtas(vm, arguments[0]);
	default:
		return H_FUNCTION;
	}
}

_Noreturn void run_linux(void)
{
	struct vm vm = { 0 };
	struct vcpu *vcpu = &vm.vcpus[0];
	struct kvm_regs regs = { .msr = FIRST_MSR, .pc = number("guest_entry") };
	unsigned long began;

	vm_open(&vm);
	vm_add_memory(&vm, number("guest_memory"), false);
	load(&vm);
	vm_add_vcpu(&vm, 0);
	add_interrupts(&vm);
	add_random_numbers(&vm);
	regs.gpr[3] = number("guest_tree");
	ASK(vcpu->fd, KVM_SET_REGS, &regs);
	__asm__ volatile("mfspr %0, 268" : "=r"(began) : : "memory");
	printf("BENCH started %lu ticks\n", began);
	for (;;) {
		struct kvm_run *run = vcpu->run;

		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0 && errno != EINTR)
			fail("KVM_RUN");
		if (run->exit_reason == KVM_EXIT_PAPR_HCALL)
			run->papr_hcall.ret = answer(&vm, vcpu, run->papr_hcall.nr,
						     (uint64_t *)run->papr_hcall.args);
		else if (run->exit_reason != KVM_EXIT_INTR)
			fail("the guest");
	}
}
