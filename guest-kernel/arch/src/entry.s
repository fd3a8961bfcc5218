# Entry, vectors, and the way into and out of user mode. See entry.rs.

.macro address reg, symbol
    lis     \reg, \symbol@highest
    ori     \reg, \reg, \symbol@higher
    sldi    \reg, \reg, 32
    oris    \reg, \reg, \symbol@high
    ori     \reg, \reg, \symbol@l
.endm

# Saves the two registers that the common path needs, and says which interrupt this is.
.macro interrupt vector
    .org    vectors + \vector
    mtsprg  1, 13
    mtsprg  2, 12
    li      12, \vector
    b       save_all
.endm

    .section .text.vectors, "ax", @progbits
    .globl  start
start:
vectors:
    b       boot_entry

# The library's entry for Linux system calls: at an address that one load reaches, r0 being no base.
    .org    vectors + 0x20
    .globl  system_call_entry
system_call_entry:
    .quad   0

    interrupt 0x100
    interrupt 0x200
    interrupt 0x300
    interrupt 0x380
    interrupt 0x400
    interrupt 0x480
    interrupt 0x500
    interrupt 0x600
    interrupt 0x700
    interrupt 0x800
    interrupt 0x900
    interrupt 0x980
    interrupt 0xa00
    interrupt 0xb00

# System call. A Linux number is reflected: the next instruction's address in r11, the library's
# entry in r12, everything else as it is.
    .org    vectors + 0xc00
    cmpldi  0, 0xffff
    bgt     1f
    mfsrr0  11
    ld      12, 0x20(0)
    mtsrr0  12
    rfid
1:  mtsprg  1, 13
    mtsprg  2, 12
    li      12, 0xc00
    b       save_all

    interrupt 0xd00
    interrupt 0xe00
    interrupt 0xe20
    interrupt 0xe40
    interrupt 0xe60
    interrupt 0xe80
    interrupt 0xea0
    interrupt 0xf00
    interrupt 0xf20
    interrupt 0xf40
    interrupt 0xf60
    interrupt 0xf80
    interrupt 0x1500
    interrupt 0x1600
    interrupt 0x1700

    .org    vectors + 0x3000

# Real mode. r12 = vector; SPRG1, SPRG2 = r13, r12.
save_all:
    mfsprg  13, 0
    std     0, 0(13)
    std     1, 8(13)
    std     2, 16(13)
    std     3, 24(13)
    std     4, 32(13)
    std     5, 40(13)
    std     6, 48(13)
    std     7, 56(13)
    std     8, 64(13)
    std     9, 72(13)
    std     10, 80(13)
    std     11, 88(13)
    std     12, {VECTOR}(13)
    mfsprg  12, 2
    std     12, 96(13)
    mfsprg  12, 1
    std     12, 104(13)
    .irp    n, 14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    std     \n, 8*\n(13)
    .endr
    mfsrr0  3
    mfsrr1  4
    mflr    5
    mfctr   6
    mfxer   7
    mfcr    8
    mfdar   9
    mfdsisr 10
    std     3, {NEXT}(13)
    std     4, {MSR}(13)
    std     5, {LINK}(13)
    std     6, {COUNT}(13)
    std     7, {EXCEPTIONS}(13)
    std     8, {CONDITION}(13)
    std     9, {FAULT_ADDRESS}(13)
    std     10, {FAULT_CAUSE}(13)
    ld      1, {STACK}(13)
    ld      3, {HANDLER}(13)
    ld      4, {HANDLER_MSR}(13)
    mtsrr0  3
    mtsrr1  4
    mr      3, 13
    rfid

    .text

# The first instructions: real mode, r3 = device tree. Memory after the file's bytes is zero.
    .globl  boot_entry
boot_entry:
    address 13, boot_vcpu
    address 12, kernel_boot
    b       1f

# Those of every other vCPU: real mode, r3 = its block.
    .globl  vcpu_entry
vcpu_entry:
    mr      13, 3
    address 12, kernel_vcpu

# r13 = block, which the stack ends at, r12 = what to call. The jump goes to the same place by its
# linked address, which return addresses then have, too.
1:  address 2, 2f
    mtctr   2
    bctr
2:  address 2, .TOC.
    mr      1, 13
    li      0, 0
    stdu    0, -64(1)
    mtctr   12
    bctrl
    trap

# run_user(r3 = context)
    .globl  run_user
    .type   run_user, @function
run_user:
    mflr    0
    std     0, 16(1)
    mfcr    0
    std     0, 8(1)
    stdu    1, -192(1)
    std     2, 24(1)
    mfsprg  0, 0
    std     0, 32(1)
    .irp    n, 13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    std     \n, 40+8*(\n-13)(1)
    .endr
    std     1, {STACK}(3)
    mtsprg  0, 3
    ld      4, {NEXT}(3)
    ld      5, {MSR}(3)
    ld      6, {LINK}(3)
    ld      7, {COUNT}(3)
    ld      8, {EXCEPTIONS}(3)
    ld      9, {CONDITION}(3)
    mtsrr0  4
    mtsrr1  5
    mtlr    6
    mtctr   7
    mtxer   8
    mtcr    9
    .irp    n, 0,1,2,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      \n, 8*\n(3)
    .endr
    ld      3, 24(3)
    rfid

# A trap from user mode comes out here: r1 is the stack run_user left.
    .globl  user_trapped
user_trapped:
    ld      0, 32(1)
    mtsprg  0, 0
    ld      2, 24(1)
    .irp    n, 13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      \n, 40+8*(\n-13)(1)
    .endr
    addi    1, 1, 192
    ld      0, 8(1)
    mtcr    0
    ld      0, 16(1)
    mtlr    0
    blr

# set_machine_state(r3 = msr)
    .globl  set_machine_state
    .type   set_machine_state, @function
set_machine_state:
    mflr    0
    mtsrr0  0
    mtsrr1  3
    rfid

# A trap from the kernel itself: r1 = emergency stack, r3 = r13 = emergency context, which the block
# begins with.
    .globl  kernel_trapped
kernel_trapped:
    address 2, .TOC.
    bl      kernel_bug
    nop
    trap

# A trap while that was told.
    .globl  kernel_dead
kernel_dead:
    address 2, .TOC.
    bl      kernel_dies
    nop
    trap

# An interrupt that does not matter: goes on where it came, with interrupts off. Real mode,
# r13 = context.
    .globl  kernel_resume
kernel_resume:
    ld      4, {NEXT}(13)
    ld      5, {MSR}(13)
    ld      6, {LINK}(13)
    ld      7, {COUNT}(13)
    ld      8, {EXCEPTIONS}(13)
    ld      9, {CONDITION}(13)
    rldicl  5, 5, 48, 1
    rotldi  5, 5, 16
    mtsrr0  4
    mtsrr1  5
    mtlr    6
    mtctr   7
    mtxer   8
    mtcr    9
    .irp    n, 0,1,2,3,4,5,6,7,8,9,10,11,12
    ld      \n, 8*\n(13)
    .endr
    ld      13, 104(13)
    rfid

# A trap that the kernel asked for: leaves by the vector.
    .globl  try_hypervisor_instruction
    .type   try_hypervisor_instruction, @function
try_hypervisor_instruction:
    mflr    0
    std     0, 16(1)
    mfsprg  4, 0
    ld      5, {STACK}(4)
    ld      6, {HANDLER}(4)
    std     5, -16(1)
    std     6, -24(1)
    std     1, {STACK}(4)
    bl      1f
1:  mflr    7
    addi    7, 7, 2f-1b
    std     7, {HANDLER}(4)
    hrfid
2:  mfsprg  4, 0
    ld      3, {VECTOR}(4)
    ld      13, 104(4)
    ld      5, -16(1)
    ld      6, -24(1)
    std     5, {STACK}(4)
    std     6, {HANDLER}(4)
    ld      0, 16(1)
    mtlr    0
    blr

    .bss
    .balign {VCPU_ALIGN}
    .space  2*{STACK_SIZE}
boot_vcpu:
    .space  {VCPU_SIZE}
