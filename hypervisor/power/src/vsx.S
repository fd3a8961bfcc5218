// The vector and floating-point registers of a vCPU: the only instructions of that kind in the
// hypervisor (a test disassembles the image and holds it). Called with MSR[FP, VEC, VSX] set.

    .text
    .globl vsx_save             // vsx_save(r3 = area): 64 registers of 16 bytes, FPSCR, VSCR
vsx_save:
    .set    n, 0
    .rept   64
    stxv    n, n*16(%r3)
    .set    n, n + 1
    .endr
    mffs    0
    stfd    0, 1024(%r3)
    mfvscr  0
    li      %r5, 1040
    stvx    0, %r3, %r5
    blr

    .globl vsx_load             // vsx_load(r3 = area)
vsx_load:
    li      %r5, 1040
    lvx     0, %r3, %r5
    mtvscr  0
    lfd     0, 1024(%r3)
    mtfsf   0xff, 0, 1, 0
    .set    n, 0
    .rept   64
    lxv     n, n*16(%r3)
    .set    n, n + 1
    .endr
    blr
