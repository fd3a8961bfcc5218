// Interrupt vectors, copied to real address 0 at boot. A guest's exits do not come here: they are
// what H_ENTER_NESTED returns. The hypervisor enables interrupts nowhere but where it waits (H_CEDE
// does), and what ends the waiting is all that those interrupts have to do.

    .section .text.vectors, "ax"
    .globl vectors_start
vectors_start:

// r11 and r12 are free where H_CEDE is called. Interrupts stay disabled.
.macro WAKE at
    . = vectors_start + \at
    mfspr   %r11, 27            // SRR1
    li      %r12, 1
    sldi    %r12, %r12, 15      // MSR[EE]
    andc    %r11, %r11, %r12
    mtspr   27, %r11
    rfid
.endm

// What only our own mistakes (or the machine's) bring here: it is reported and all stops.
.macro FATAL at
    . = vectors_start + \at
    li      %r3, \at
    b       fatal
.endm

    FATAL   0x100
    FATAL   0x200
    FATAL   0x300
    FATAL   0x380
    FATAL   0x400
    FATAL   0x480
    WAKE    0x500
    FATAL   0x600
    FATAL   0x700
    FATAL   0x800
    WAKE    0x900
    FATAL   0x980
    WAKE    0xa00               // a doorbell that a guest has sent itself and not taken
    FATAL   0xc00
    FATAL   0xd00
    FATAL   0xe00
    FATAL   0xe20
    FATAL   0xe40
    FATAL   0xe60
    FATAL   0xe80
    FATAL   0xea0
    WAKE    0xf00               // the same of the performance monitor
    FATAL   0xf20
    FATAL   0xf40
    FATAL   0xf60
    FATAL   0xf80

    . = vectors_start + 0x1000

fatal:
    mfspr   %r4, 26             // SRR0
    mfspr   %r5, 27
    mfspr   %r6, 19             // DAR
    stdu    %r1, -512(%r1)
    lis     %r12, nested_fatal@h
    ori     %r12, %r12, nested_fatal@l
    mtctr   %r12
    bctrl                       // does not return
    .globl vectors_end
vectors_end:
