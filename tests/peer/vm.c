/* A guest of KVM: made, given a program, run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "vm.h"

#define LPCR_ILE	0x02000000UL
/* 64-bit, recoverable, little-endian; interrupts off; real mode. */
#define GUEST_MSR	0x8000000000000003UL

extern const char guest_image[], guest_image_end[];

int ask(int fd, unsigned long request, unsigned long argument, const char *name)
{
	int result = ioctl(fd, request, argument);

	if (result < 0)
		fail(name);
	return result;
}

static int kvm(void)
{
	static int fd = -1;

	if (fd < 0 && (fd = open("/dev/kvm", O_RDWR)) < 0)
		fail("/dev/kvm");
	return fd;
}

void vm_open(struct vm *vm)
{
	vm->fd = ASK(kvm(), KVM_CREATE_VM, 0);
}

void vm_add_memory(struct vm *vm, size_t size, bool touched)
{
	vm->size = size;
	vm->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (vm->memory == MAP_FAILED)
		fail("memory for a guest");
	if (touched)
		memset(vm->memory, 0, size);
	struct kvm_userspace_memory_region region = {
		.memory_size = size,
		.userspace_addr = (uintptr_t)vm->memory,
	};
	ASK(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

void vm_add_vcpu(struct vm *vm, int number)
{
	struct vcpu *vcpu = &vm->vcpus[number];
	struct kvm_enable_cap papr = { .cap = KVM_CAP_PPC_PAPR };
	uint64_t lpcr;
	struct kvm_one_reg reg = { .id = KVM_REG_PPC_LPCR_64, .addr = (uintptr_t)&lpcr };

	vcpu->count = 1;
	vcpu->message = &vcpu->count;
	vcpu->length = sizeof vcpu->count;
	vcpu->fd = ASK(vm->fd, KVM_CREATE_VCPU, number);
	vcpu->run = mmap(NULL, ASK(kvm(), KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		fail("a vCPU's shared page");
	ASK(vcpu->fd, KVM_ENABLE_CAP, &papr);
	ASK(vcpu->fd, KVM_GET_ONE_REG, &reg);
	lpcr |= LPCR_ILE;
	ASK(vcpu->fd, KVM_SET_ONE_REG, &reg);
}

void vm_create(struct vm *vm, int vcpus, size_t size, bool touched)
{
	memset(vm, 0, sizeof *vm);
	vm_open(vm);
	vm_add_memory(vm, size, touched);
	memcpy(vm->memory, guest_image, guest_image_end - guest_image);
	for (int number = 0; number < vcpus; number++)
		vm_add_vcpu(vm, number);
}

void vm_destroy(struct vm *vm)
{
	size_t page = ASK(kvm(), KVM_GET_VCPU_MMAP_SIZE, 0);

	for (int number = 0; number < VCPUS && vm->vcpus[number].run; number++) {
		munmap(vm->vcpus[number].run, page);
		close(vm->vcpus[number].fd);
	}
	close(vm->fd);
	munmap(vm->memory, vm->size);
}

void vcpu_prepare(struct vcpu *vcpu, const char *program, const unsigned long parameters[3])
{
	struct kvm_regs regs = { .msr = GUEST_MSR, .pc = program - guest_image };

	memcpy(&regs.gpr[14], parameters, 3 * sizeof parameters[0]);
	ASK(vcpu->fd, KVM_SET_REGS, &regs);
}

static void signal_other(const struct vcpu *vcpu)
{
	if (write(vcpu->signal, vcpu->message, vcpu->length) != (ssize_t)vcpu->length)
		fail("a signal to the other guest");
}

static void wait_for_other(const struct vcpu *vcpu)
{
	if (read(vcpu->wait, vcpu->message, vcpu->length) != (ssize_t)vcpu->length)
		fail("a signal of the other guest");
}

void vcpu_run(struct vcpu *vcpu)
{
	for (;;) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0 && errno != EINTR)
			fail("KVM_RUN");
		if (vcpu->run->exit_reason == KVM_EXIT_INTR)
			continue;
		if (vcpu->run->exit_reason != KVM_EXIT_PAPR_HCALL)
			fail("a guest's program");
		switch (vcpu->run->papr_hcall.nr) {
		case H_DONE:
			return;
		case H_EXCHANGE:
			signal_other(vcpu);
			wait_for_other(vcpu);
			break;
		case H_SIGNAL:
			signal_other(vcpu);
			break;
		case H_WAIT:
			wait_for_other(vcpu);
			break;
		default:
			fail("a guest's hypercall");
		}
		vcpu->run->papr_hcall.ret = 0;
	}
}

unsigned long vm_result(const struct vm *vm)
{
	return *(volatile unsigned long *)(vm->memory + RESULT);
}
