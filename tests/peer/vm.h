/* A guest of KVM: made, given a program, run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VCPUS 2

struct vcpu {
	int fd;
	struct kvm_run *run;
	int signal, wait;	/* descriptors for H_SIGNAL and H_WAIT */
	void *message;		/* what these pass: the count, or a frame in the guest's memory */
	size_t length;
	uint64_t count;		/* eight bytes, which both a pipe and an eventfd take */
};

struct vm {
	int fd;
	char *memory;
	size_t size;
	struct vcpu vcpus[VCPUS];
};

/* A guest with the programs of guest.S in its memory; whether the host has touched all of that. */
void vm_create(struct vm *vm, int vcpus, size_t size, bool touched);
void vm_destroy(struct vm *vm);

/* The same in steps, for whom measures them. */
void vm_open(struct vm *vm);
void vm_add_memory(struct vm *vm, size_t size, bool touched);
void vm_add_vcpu(struct vm *vm, int number);

/* Makes a vCPU start at a program of guest.S with these parameters. */
void vcpu_prepare(struct vcpu *vcpu, const char *program, const unsigned long parameters[3]);
/* Runs it until the program ends. */
void vcpu_run(struct vcpu *vcpu);

/* What a program left at RESULT. */
unsigned long vm_result(const struct vm *vm);

/* An ioctl that has to succeed; its name is for the message. */
int ask(int fd, unsigned long request, unsigned long argument, const char *name);
#define ASK(fd, request, argument) ask(fd, request, (unsigned long)(argument), #request)

/* Says what failed and why, and powers the machine off. */
_Noreturn void fail(const char *what);
