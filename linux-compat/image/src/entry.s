# The library's two ways in, and the way into the program. See entry.rs.

    .section .text.entry, "ax", @progbits

# The kernel starts the library here: r12 = this address, r1 = its stack, with 256 bytes above.
# Arguments in r3 to r7.
    .globl  library_start
library_start:
    addis   2, 12, (.TOC. - library_start)@ha
    addi    2, 2, (.TOC. - library_start)@l
    addis   11, 12, (library_stack - library_start)@ha
    addi    11, 11, (library_stack - library_start)@l
    std     1, 0(11)
    std     2, 104(1)
    bl      start
    nop
    trap

# A Linux system call: r0 = number, r3 to r8 = arguments, r11 = where to go on, r12 = this address.
# The frame on the library's stack: 0 back chain, 24 r2, 32 r11, 40 LR, 48 CR, 56 arguments,
# 104 the library's r2. The library's code keeps r14 to r31, knows no r13 and no floating point.
    .balign 64
    .globl  system_call
system_call:
    addis   12, 12, (library_stack - system_call)@ha
    addi    12, 12, (library_stack - system_call)@l
    ld      12, 0(12)
    std     1, 0(12)
    std     2, 24(12)
    std     11, 32(12)
    mflr    11
    mr      1, 12
    std     11, 40(1)
    mfcr    11
    ld      2, 104(1)
    std     11, 48(1)
    std     3, 56(1)
    std     4, 64(1)
    std     5, 72(1)
    std     6, 80(1)
    std     7, 88(1)
    std     8, 96(1)
    mr      3, 0
    addi    4, 1, 56
    bl      serve
    nop
    ld      11, 40(1)
    ld      12, 48(1)
    ld      10, 32(1)
    ld      2, 24(1)
    mtlr    11
    mtctr   10
    ld      1, 0(1)
# Fields 1 to 7 are the program's; field 0 tells success from error.
    mtcrf   0x7f, 12
    cmpdi   0, 3, 0
    crclr   3
    bgectr+
    neg     3, 3
    crset   3
    bctr

# enter_program(r3 = entry, r4 = stack): everything else is zero, as the ABI wants it.
    .globl  enter_program
    .type   enter_program, @function
enter_program:
    mr      12, 3
    mr      1, 4
    mtctr   3
    li      0, 0
    mtlr    0
    mtxer   0
    .irp    n, 2,3,4,5,6,7,8,9,10,11,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    li      \n, 0
    .endr
    mtcrf   0xff, 0
    bctr

    .section .data.library_stack, "aw", @progbits
    .balign 8
library_stack:
    .quad   0
