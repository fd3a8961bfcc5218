//! Who the program is, and on what it runs: the one process of its domain, root, on one processor.

use crate::abi::Structure;
use crate::{Arguments, Errno, Linux, Outcome};
use kernel_abi::stub;

/// The program's process number. Its parent, number 1, is the domain.
pub const PROCESS: u64 = 2;
const PARENT: u64 = 1;

/// `getpid`, `gettid`, `getpgrp`, `getpgid`, `getsid`: all the same.
pub(crate) fn own_number(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(PROCESS)
}

/// `getppid`
pub(crate) fn getppid(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(PARENT)
}

/// `getuid`, `geteuid`, `getgid`, `getegid`, `getgroups`: root, and in no other group.
pub(crate) fn root(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(0)
}

/// `getresuid(real, effective, saved)`, `getresgid(...)`
pub(crate) fn three_roots(linux: &mut Linux, args: &Arguments) -> Outcome {
    for at in &args[..3] {
        linux.write_bytes(*at, &[0; 4])?;
    }
    Ok(0)
}

/// `setuid(user)` and the like: to become root is always granted.
pub(crate) fn become_user(_: &mut Linux, args: &Arguments) -> Outcome {
    if args[0] == 0 { Ok(0) } else { Err(Errno::EPERM) }
}

/// `set_tid_address(address)`: nobody waits for the thread's end.
pub(crate) fn set_tid_address(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(PROCESS)
}

/// `uname(result)`
pub(crate) fn uname(linux: &mut Linux, args: &Arguments) -> Outcome {
    const FIELD: usize = 65;
    let name = [
        "Linux",
        "k42",
        concat!("6.1.0-k42-", env!("CARGO_PKG_VERSION")),
        "#1 K42 on a thin hypervisor",
        "ppc64le",
        "(none)",
    ];
    let fields = name.iter().fold(Structure::default(), |s, field| s.text(field.as_bytes(), FIELD));
    linux.write_bytes(args[0], &fields.0)?;
    Ok(0)
}

/// `sysinfo(result)` (include/uapi/linux/sysinfo.h): time since the start, memory, one process.
pub(crate) fn sysinfo(linux: &mut Linux, args: &Arguments) -> Outcome {
    let free = stub::free_memory(&*linux.system).map_err(Errno::from_number)?;
    let (seconds, _) = linux.since_start();
    let start = Structure::default().u64(seconds).text(b"", 3 * 8);
    let memory = start.u64(linux.hardware.memory_size).u64(free).text(b"", 4 * 8);
    let end = memory.u16(1).text(b"", 6).text(b"", 2 * 8).u32(1).text(b"", 4);
    linux.write_bytes(args[0], &end.0)?;
    Ok(0)
}

/// `getcpu(processor, node)`
pub(crate) fn getcpu(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.write_optional(args[0], &[0; 4])?;
    linux.write_optional(args[1], &[0; 4])?;
    Ok(0)
}

/// `sched_getaffinity(process, size, mask)`: processor 0.
pub(crate) fn sched_getaffinity(linux: &mut Linux, args: &Arguments) -> Outcome {
    const MASK: u64 = 8;
    if args[1] < MASK {
        return Err(Errno::EINVAL);
    }
    linux.write_bytes(args[2], &1u64.to_le_bytes())?;
    Ok(MASK)
}

/// `sched_yield()`: there is nobody to yield to.
pub(crate) fn sched_yield(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(0)
}
