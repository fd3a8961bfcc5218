// Interrupt vectors, exit, resume, world switch. Copied to real address 0 at boot; everything is
// relative to r13 or to itself.
//
// HSPRG0 always holds the context of the vCPU on this processor (before the first: the
// processor's boot context). An exit saves the volatile registers there and calls Rust on the
// processor's stack; r14 to r31 stay live, since the calling convention preserves them. They are
// saved only when another vCPU takes the processor.

    .section .text.vectors, "ax"
    .globl vectors_start
vectors_start:

.macro VECTOR at, common
    . = vectors_start + \at
    mtspr   305, %r13           // HSPRG1
    mfspr   %r13, 304           // HSPRG0
    std     %r12, {GPR12}(%r13)
    li      %r12, \at
    b       \common
.endm

// What only our own mistakes (or the machine's) bring here: it is reported and all stops.
.macro FATAL at
    . = vectors_start + \at
    mfspr   %r13, 304
    li      %r4, \at
    b       fatal
.endm

    FATAL   0x100
    FATAL   0x200
    FATAL   0x300
    FATAL   0x380
    FATAL   0x400
    FATAL   0x480
    FATAL   0x500
    FATAL   0x600
    FATAL   0x700
    FATAL   0x800
    FATAL   0x900
    VECTOR  0x980, exit_hsrr
    FATAL   0xa00
    VECTOR  0xc00, exit_srr
    FATAL   0xd00
    VECTOR  0xe00, exit_hsrr
    VECTOR  0xe20, exit_hsrr
    VECTOR  0xe40, exit_hsrr
    VECTOR  0xe60, exit_hsrr
    VECTOR  0xe80, exit_hsrr
    VECTOR  0xea0, exit_hsrr
    FATAL   0xf00
    FATAL   0xf20
    FATAL   0xf40
    FATAL   0xf60
    VECTOR  0xf80, exit_hsrr

    . = vectors_start + 0x1000

fatal:
    ld      %r1, {STACK}(%r13)
    ld      %r2, {TOC}(%r13)
    mr      %r3, %r13
    ld      %r12, {FATAL}(%r13)
    mtctr   %r12
    bctrl

.macro SAVE_VOLATILE nip, msr
    std     %r0, 0(%r13)
    mfspr   %r0, \nip
    std     %r0, {NIP}(%r13)
    mfspr   %r0, \msr
    std     %r0, {MSR}(%r13)
    std     %r1, 8(%r13)
    std     %r2, 16(%r13)
    std     %r3, 24(%r13)
    std     %r4, 32(%r13)
    std     %r5, 40(%r13)
    std     %r6, 48(%r13)
    std     %r7, 56(%r13)
    std     %r8, 64(%r13)
    std     %r9, 72(%r13)
    std     %r10, 80(%r13)
    std     %r11, 88(%r13)
    mfspr   %r0, 305
    std     %r0, 104(%r13)      // r13
    mflr    %r0
    std     %r0, {LINK}(%r13)
    mfctr   %r0
    std     %r0, {COUNTER}(%r13)
    mfspr   %r0, 1
    std     %r0, {XER}(%r13)
    mfcr    %r0
    std     %r0, {CR}(%r13)
.endm

exit_srr:
    SAVE_VOLATILE 26, 27
    b       exit
exit_hsrr:
    SAVE_VOLATILE 314, 315
exit:
    ld      %r1, {STACK}(%r13)
    ld      %r2, {TOC}(%r13)
    mr      %r3, %r13
    mr      %r4, %r12
    ld      %r12, {EXIT}(%r13)
    mtctr   %r12
    bctrl                       // powernv_exit(context, vector) -> the context, or 0: switch
    cmpldi  %r3, 0
    beq     switch
resume:
    ld      %r0, {NIP}(%r13)
    mtspr   314, %r0
    ld      %r0, {MSR}(%r13)
    mtspr   315, %r0
    ld      %r0, {LINK}(%r13)
    mtlr    %r0
    ld      %r0, {COUNTER}(%r13)
    mtctr   %r0
    ld      %r0, {XER}(%r13)
    mtspr   1, %r0
    ld      %r0, {CR}(%r13)
    mtcrf   0xff, %r0
    ld      %r0, 0(%r13)
    ld      %r1, 8(%r13)
    ld      %r2, 16(%r13)
    ld      %r3, 24(%r13)
    ld      %r4, 32(%r13)
    ld      %r5, 40(%r13)
    ld      %r6, 48(%r13)
    ld      %r7, 56(%r13)
    ld      %r8, 64(%r13)
    ld      %r9, 72(%r13)
    ld      %r10, 80(%r13)
    ld      %r11, 88(%r13)
    ld      %r12, {GPR12}(%r13)
    ld      %r13, 104(%r13)
    hrfid

    // r13 = the context that leaves.
switch:
    .set    n, 14
    .rept   18
    std     n, n*8(%r13)
    .set    n, n + 1
    .endr
    ld      %r1, {STACK}(%r13)
    ld      %r2, {TOC}(%r13)
    mr      %r3, %r13
    ld      %r12, {SWITCH}(%r13)
    mtctr   %r12
    bctrl                       // powernv_switch(context) -> the context to resume
    mr      %r13, %r3
    mtspr   304, %r13
    .set    n, 14
    .rept   18
    ld      n, n*8(%r13)
    .set    n, n + 1
    .endr
    b       resume

    .globl switch_offset
switch_offset:                  // real address of `switch`, for whoever enters the first time
    .quad   switch - vectors_start
    .globl vectors_end
vectors_end:
