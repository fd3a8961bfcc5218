/* A Linux as a guest of KVM. */
#pragma once

/* The guest's memory from its beginning, as `domains/builder` lays a Linux domain out. */
#define LINUX_IMAGE "/guest"

/* Runs it for ever; prints `BENCH started N ticks`, the timebase at its first instruction, and all that
 * its console says. The environment, which is what the command line of this Linux says that is not for
 * its kernel, has guest_memory in bytes, and guest_entry and guest_tree, the addresses of the first
 * instruction and of the device tree. */
_Noreturn void run_linux(void);
