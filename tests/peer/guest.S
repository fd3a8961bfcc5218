/* What the peer's guests run: one image, from guest real address 0, in real mode, little-endian, with
 * a program for each figure. A program finds its parameters in r14 to r16, leaves its result at
 * RESULT and ends by H_DONE. */
#include "guest.h"

	.machine power9
	.section .rodata
	.balign 4096
	.globl guest_image, guest_image_end
guest_image:

/* The decrementer's interrupt leaves the time in r20 and goes on with interrupts off. */
	.org	guest_image + 0x900
	mfspr	20, 268
	lis	21, 0x7fff
	mtdec	21
	mfspr	21, 27			/* SRR1 */
	rldicl	21, 21, 48, 1		/* without MSR[EE] */
	rotldi	21, 21, 16
	mtspr	27, 21
	rfid

	.org	guest_image + 0x1000
/* A program's beginning and end. */
	.macro	program name
	.balign	64
	.globl	\name
\name:
	.endm

	.macro	start_clock
	mfspr	30, 268
	.endm

	.macro	stop_clock
	mfspr	31, 268
	subf	31, 30, 31
	b	done
	.endm

	.macro	hypercall number
	li	3, \number
	sc	1
	.endm

done:	lis	29, RESULT@h		/* r31: the result */
	std	31, 0(29)
	hypercall H_DONE

/* The time of the first instruction. */
	program	guest_first
	mfspr	31, 268
	b	done

/* r14 hypercalls that the kernel answers: confer to nobody; and the same loop without them. */
	program	guest_hypercall
	start_clock
1:	li	4, -1
	hypercall H_CONFER
	addic.	14, 14, -1
	bne	1b
	stop_clock

	program	guest_loop
	start_clock
1:	li	4, -1
	li	3, H_CONFER
	nop
	addic.	14, 14, -1
	bne	1b
	stop_clock

/* r14 times: wakes the vCPU r15 and sleeps until it is woken itself. */
	program	guest_prod
	start_clock
1:	mr	4, 15
	hypercall H_PROD
	hypercall H_CEDE
	addic.	14, 14, -1
	bne	1b
	stop_clock

/* Its other side, for ever. */
	program	guest_prodded
1:	hypercall H_CEDE
	mr	4, 15
	hypercall H_PROD
	b	1b

/* r14 times: by way of user space, signals the other guest and waits for its answer. */
	program	guest_exchange
	start_clock
1:	hypercall H_EXCHANGE
	addic.	14, 14, -1
	bne	1b
	stop_clock

	program	guest_exchanged
	hypercall H_WAIT
1:	hypercall H_EXCHANGE
	b	1b

/* One way: the time before the signal; and that of the first instruction after it, for ever. */
	program	guest_signal
	mfspr	31, 268
	hypercall H_SIGNAL
	b	done

	program	guest_signalled
	lis	29, RESULT@h
1:	hypercall H_WAIT
	mfspr	31, 268
	std	31, 0(29)
	b	1b

/* Ticks from a timer that is set r14 ticks ahead to its interrupt, less these, in a guest that
 * runs; and in one that sleeps. */
	program	guest_timer
	li	20, 0
	mfspr	30, 268
	mtdec	14
	mfmsr	5
	ori	5, 5, 0x8000		/* EE */
	mtmsrd	5, 1
1:	cmpdi	20, 0
	beq	1b
	b	lateness

	program	guest_sleeper
	mfspr	30, 268
	mtdec	14
	hypercall H_CEDE		/* with interrupts on */
lateness:
	subf	31, 30, 20
	subf	31, 14, 31
	b	done

/* Stores to r14 bytes of fresh memory from r15 on, once in each r16. */
	program	guest_touch
	start_clock
	add	14, 14, 15
1:	stb	15, 0(15)
	add	15, 15, 16
	cmpld	15, 14
	blt	1b
	stop_clock

guest_image_end:
