//! The life of the process: its end, another program in its place, its limits and its threads (one).

use crate::abi::{AT_FDCWD, PROT_WRITE, Structure};
use crate::{Arguments, Errno, Linux, Outcome, Start, loader};
use alloc::vec::Vec;
use kernel_abi::stub;
use libos::descriptors::MAX_DESCRIPTORS;
use libos::files::NodeId;

/// The most bytes of arguments and environment together.
const MAX_ARGUMENTS: usize = 128 << 10;
/// Size of the stack, in bytes.
pub(crate) const STACK_SIZE: u64 = 8 << 20;

/// What is known of the process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The file it runs.
    pub executable: Option<NodeId>,
    /// Its path.
    pub executable_path: Vec<u8>,
    name: [u8; 16],
    umask: u64,
}

impl Linux {
    /// Puts the program at `path` in place of whatever runs. It starts at what is returned.
    ///
    /// # Errors
    /// Why it cannot be run; nothing has changed then, unless memory ran out.
    pub fn execute(
        &mut self,
        path: &[u8],
        arguments: Vec<Vec<u8>>,
        environment: &[Vec<u8>],
    ) -> Result<Start, Errno> {
        let found = loader::find(self, path, arguments)?;
        let start = loader::load(self, &found, environment)?;
        let name = found.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let mut short = [0; 16];
        short.iter_mut().take(15).zip(name).for_each(|(to, from)| *to = *from);
        self.process.name = short;
        self.process.executable = Some(found.node);
        self.process.executable_path = found.path;
        Ok(start)
    }

    /// A list of strings that ends with a null pointer.
    fn read_list(&self, at: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Errno> {
        let mut list = Vec::new();
        if at == 0 {
            return Ok(list);
        }
        let mut next = at;
        loop {
            let [pointer] = self.read_words(next)?;
            if pointer == 0 {
                return Ok(list);
            }
            let text = self.read_text(pointer, *room, Errno::E2BIG)?;
            *room = room.checked_sub(text.len() + 1 + 8).ok_or(Errno::E2BIG)?;
            list.push(text);
            next = next.wrapping_add(8);
        }
    }
}

/// `exit(status)`, `exit_group(status)`
pub(crate) fn exit(linux: &mut Linux, args: &Arguments) -> Outcome {
    stub::exit(&*linux.system, args[0] & 0xff).map_err(Errno::from_number)
}

/// `execve(path, arguments, environment)`
pub(crate) fn execve(linux: &mut Linux, args: &Arguments) -> Outcome {
    let path = linux.read_path(args[0])?;
    let mut room = MAX_ARGUMENTS;
    let arguments = linux.read_list(args[1], &mut room)?;
    let environment = linux.read_list(args[2], &mut room)?;
    linux.find(AT_FDCWD, &path, true)?;
    let start = linux.execute(&path, arguments, &environment)?;
    linux.descriptors.exec();
    linux.signals.exec();
    linux.start = Some(start);
    Ok(0)
}

/// `wait4(...)`, `waitid(...)`: there are no children.
pub(crate) fn wait(_: &mut Linux, _: &Arguments) -> Outcome {
    Err(Errno::ECHILD)
}

/// `umask(mask)`
pub(crate) fn umask(linux: &mut Linux, args: &Arguments) -> Outcome {
    Ok(core::mem::replace(&mut linux.process.umask, args[0] & 0o777))
}

/// `prctl(operation, ...)`: the name.
pub(crate) fn prctl(linux: &mut Linux, args: &Arguments) -> Outcome {
    const SET_NAME: u64 = 15;
    const GET_NAME: u64 = 16;
    match args[0] {
        SET_NAME => {
            let mut name = [0; 16];
            let text = linux.read_text(args[1], 16, Errno::EINVAL);
            let text = text.or_else(|_| {
                linux.read_bytes(args[1], &mut name)?;
                Ok::<_, Errno>(name[..15].to_vec())
            })?;
            name = [0; 16];
            name[..text.len()].copy_from_slice(&text);
            linux.process.name = name;
        }
        GET_NAME => linux.write_bytes(args[1], &linux.process.name)?,
        _ => return Err(Errno::EINVAL),
    }
    Ok(0)
}

/// A resource's limit, soft and hard alike.
fn limit(resource: u64) -> Result<u64, Errno> {
    const STACK: u64 = 3;
    const PROCESSES: u64 = 6;
    const FILES: u64 = 7;
    match resource {
        STACK => Ok(STACK_SIZE),
        PROCESSES => Ok(1),
        FILES => Ok(MAX_DESCRIPTORS as u64),
        0..=15 => Ok(u64::MAX),
        _ => Err(Errno::EINVAL),
    }
}

/// `prlimit64(process, resource, new, old)`: limits are what they are.
pub(crate) fn prlimit64(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [process, resource, new, old, ..] = *args;
    if process != 0 && process != crate::identity::PROCESS {
        return Err(Errno::ESRCH);
    }
    let limit = limit(resource)?;
    linux.write_optional(old, &Structure::default().u64(limit).u64(limit).0)?;
    if new == 0 || linux.read_words(new)? == [limit, limit] { Ok(0) } else { Err(Errno::EPERM) }
}

/// `getrlimit(resource, result)`
pub(crate) fn getrlimit(linux: &mut Linux, args: &Arguments) -> Outcome {
    let limit = limit(args[0])?;
    linux.write_bytes(args[1], &Structure::default().u64(limit).u64(limit).0)?;
    Ok(0)
}

/// `getrandom(buffer, length, flags)`
pub(crate) fn getrandom(linux: &mut Linux, args: &Arguments) -> Outcome {
    let length = args[1].min(0x1ff_ffff);
    linux.memory.check(args[0], length, PROT_WRITE)?;
    let mut bytes = alloc::vec![0; length.min(4096) as usize];
    linux.fill_random(&mut bytes);
    linux.write_bytes(args[0], &bytes)?;
    Ok(bytes.len() as u64)
}

/// `set_robust_list(...)`: there is no other thread that a lock could be left to.
pub(crate) fn set_robust_list(_: &mut Linux, _: &Arguments) -> Outcome {
    Ok(0)
}

/// `rseq(area, length, flags, signature)`: a sequence is never restarted, since nothing ever comes
/// between two instructions of the one thread on the one processor. The area says which one.
pub(crate) fn rseq(linux: &mut Linux, args: &Arguments) -> Outcome {
    const UNREGISTER: u64 = 1;
    if args[2] & !UNREGISTER != 0 {
        return Err(Errno::EINVAL);
    }
    linux.write_bytes(args[0], &[0; 8])?;
    Ok(0)
}

/// `futex(address, operation, value, time, ...)`: with one thread nobody is ever woken, and to wait
/// is to wait for the time to pass.
pub(crate) fn futex(linux: &mut Linux, args: &Arguments) -> Outcome {
    const WAIT: u64 = 0;
    const WAKE: u64 = 1;
    const WAIT_BITSET: u64 = 9;
    let [address, operation, value, time, ..] = *args;
    match operation & 0x7f {
        WAKE => Ok(0),
        WAIT | WAIT_BITSET => {
            if linux.read_u32(address)? != value as u32 {
                return Err(Errno::EAGAIN);
            }
            if time == 0 || operation & 0x7f == WAIT_BITSET {
                linux.log(format_args!(
                    "the only thread waits for another one: nobody will wake it"
                ));
                return stub::exit(&*linux.system, 128 + 6).map_err(Errno::from_number);
            }
            crate::time::nanosleep(linux, &[time, 0, 0, 0, 0, 0])?;
            Err(Errno::ETIMEDOUT)
        }
        _ => Err(Errno::ENOSYS),
    }
}
