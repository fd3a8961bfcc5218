// The first instructions of the image, on the boot processor and on the others.
//
// Firmware enters in hypervisor real mode, big-endian (docs/hypervisor.md, "Boot"); the first
// words switch to little-endian, and are therefore written as their bytes.

    .section .text.entry, "ax"

.macro TO_LITTLE_ENDIAN
    .long 0xa600607d            // mfmsr  r11
    .long 0x01006b69            // xori   r11, r11, 1
    .long 0x05009f42            // bcl    20, 31, .+4
    .long 0xa602487d            // mflr   r10
    .long 0x14004a39            // addi   r10, r10, 20     (past the hrfid)
    .long 0xa64b5a7d            // mtspr  HSRR0, r10
    .long 0xa64b7b7d            // mtspr  HSRR1, r11
    .long 0x2402004c            // hrfid
.endm

    .globl _start
_start:                         // r3 = device tree, r8 = OPAL base, r9 = OPAL entry
    TO_LITTLE_ENDIAN
    mfspr   %r6, 268            // timebase: the clock of every figure starts here
    lis     %r2, .TOC.@h
    ori     %r2, %r2, .TOC.@l
    lis     %r1, boot_stack_top@h
    ori     %r1, %r1, boot_stack_top@l
    lis     %r10, __bss_start@h
    ori     %r10, %r10, __bss_start@l
    lis     %r11, __bss_end@h
    ori     %r11, %r11, __bss_end@l
    li      %r0, 0
1:  cmpld   %r10, %r11          // what the file has behind the image lies where bss is
    bge     2f
    std     %r0, 0(%r10)
    addi    %r10, %r10, 8
    b       1b
2:  mr      %r4, %r8
    mr      %r5, %r9
    stdu    %r0, -64(%r1)
    bl      powernv_boot        // does not return
    nop
    trap

    .globl secondary_start
secondary_start:                // r3 = PIR
    TO_LITTLE_ENDIAN
    lis     %r2, .TOC.@h
    ori     %r2, %r2, .TOC.@l
    lis     %r12, secondary_stack@h
    ori     %r12, %r12, secondary_stack@l
    ld      %r1, 0(%r12)        // set for this processor before it was started
    li      %r0, 0
    stdu    %r0, -64(%r1)
    bl      powernv_secondary   // does not return
    nop
    trap

    // enter_guests(r3 = this processor's boot context, r4 = address of `switch`)
    .globl enter_guests
enter_guests:
    mr      %r13, %r3
    mtctr   %r4
    bctr

    // opal_call(r3 = token and seven arguments, r4 = entry, r5 = base) -> r3
    // Firmware is big-endian and uses its own stack; it comes back big-endian.
    .globl opal_call
opal_call:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -64(%r1)
    std     %r2, 32(%r1)
    std     %r13, 40(%r1)
    mtspr   314, %r4
    mr      %r11, %r3
    mr      %r2, %r5
    mfmsr   %r12
    li      %r0, 1
    andc    %r12, %r12, %r0
    mtspr   315, %r12
    lis     %r12, 1f@h
    ori     %r12, %r12, 1f@l
    mtlr    %r12
    ld      %r0, 0(%r11)
    ld      %r3, 8(%r11)
    ld      %r4, 16(%r11)
    ld      %r5, 24(%r11)
    ld      %r6, 32(%r11)
    ld      %r7, 40(%r11)
    ld      %r8, 48(%r11)
    ld      %r9, 56(%r11)
    hrfid
1:  TO_LITTLE_ENDIAN
    ld      %r2, 32(%r1)
    ld      %r13, 40(%r1)
    addi    %r1, %r1, 64
    ld      %r0, 16(%r1)
    mtlr    %r0
    blr
