// The first instructions of the image, on the boot processor and on the others.
//
// Firmware enters at the image's first byte in real mode, big-endian and in 32-bit mode
// (docs/hypervisor.md, "Nested"); RTAS starts the others in 64-bit mode. The first words switch to
// little-endian, and are therefore written as their bytes.

    .section .text.entry, "ax"

.macro TO_LITTLE_ENDIAN
    .long 0xa600607d            // mfmsr  r11
    .long 0x01006b69            // xori   r11, r11, 1
    .long 0x05009f42            // bcl    20, 31, .+4
    .long 0xa602487d            // mflr   r10
    .long 0x14004a39            // addi   r10, r10, 20     (past the rfid)
    .long 0xa6035a7d            // mtspr  SRR0, r10
    .long 0xa6037b7d            // mtspr  SRR1, r11
    .long 0x2400004c            // rfid
    mfmsr   %r11
    li      %r10, 1
    sldi    %r10, %r10, 63      // MSR[SF]
    or      %r11, %r11, %r10
    mtmsrd  %r11
    lis     %r2, .TOC.@h
    ori     %r2, %r2, .TOC.@l
.endm

    .globl _start
_start:                         // r3 = the boot archive, r4 = its size
    TO_LITTLE_ENDIAN
    mfspr   %r5, 268            // timebase: the clock of every figure starts here
    lis     %r1, boot_stack_top@h
    ori     %r1, %r1, boot_stack_top@l
    lis     %r10, __bss_start@h
    ori     %r10, %r10, __bss_start@l
    lis     %r11, __bss_end@h
    ori     %r11, %r11, __bss_end@l
    li      %r0, 0
1:  cmpld   %r10, %r11
    bge     2f
    std     %r0, 0(%r10)
    addi    %r10, %r10, 8
    b       1b
2:  stdu    %r0, -64(%r1)
    bl      nested_boot         // does not return
    nop
    trap

    .globl secondary_start
secondary_start:
    TO_LITTLE_ENDIAN
    lis     %r12, secondary_stack@h
    ori     %r12, %r12, secondary_stack@l
    ld      %r1, 0(%r12)        // set for this processor before it was started
    li      %r0, 0
    stdu    %r0, -64(%r1)
    bl      nested_secondary    // does not return
    nop
    trap
