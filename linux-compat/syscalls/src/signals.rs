//! Signals: what the program wants done about them is kept; the only ones that come are those it
//! sends itself, and they end it or are ignored. Handlers are not run yet.

use crate::abi::Structure;
use crate::{Arguments, Errno, Linux, Outcome};
use kernel_abi::stub;

/// Signals are 1 to 64.
const SIGNALS: usize = 64;
/// Bytes of a `sigset_t` as system calls have it.
const SET: u64 = 8;
/// Handler "default".
const DEFAULT: u64 = 0;
/// Handler "ignore".
const IGNORE: u64 = 1;
/// Signals whose default is to do nothing: child, continue, urgent, window, and the four that stop.
const HARMLESS: [u64; 8] = [17, 18, 19, 20, 21, 22, 23, 28];
const SIGKILL: u64 = 9;
const SIGSTOP: u64 = 19;

/// What the program has said about signals.
#[derive(Clone, Debug)]
pub struct Signals {
    /// `struct sigaction` of each signal: handler, flags, restorer, mask.
    actions: [[u64; 4]; SIGNALS],
    blocked: u64,
    /// `stack_t`: address, flags, size. Not used until handlers are.
    alternate: [u64; 3],
}

impl Default for Signals {
    fn default() -> Self {
        const DISABLED: u64 = 2;
        Signals { actions: [[DEFAULT; 4]; SIGNALS], blocked: 0, alternate: [0, DISABLED, 0] }
    }
}

impl Signals {
    /// Another program takes over: handlers go, what is ignored stays so.
    pub(crate) fn exec(&mut self) {
        for action in &mut self.actions {
            if action[0] != IGNORE {
                *action = [DEFAULT; 4];
            }
        }
    }
}

impl Linux {
    fn send_self(&mut self, signal: u64) -> Outcome {
        if signal == 0 {
            return Ok(0);
        }
        let index = (signal as usize).wrapping_sub(1);
        let action = self.signals.actions.get(index).ok_or(Errno::EINVAL)?;
        match action[0] {
            IGNORE if signal != SIGKILL => Ok(0),
            DEFAULT if HARMLESS.contains(&signal) => Ok(0),
            DEFAULT => stub::exit(&*self.system, 128 + signal).map_err(Errno::from_number),
            _ => {
                self.log(format_args!("handlers are not implemented: signal {signal} is lost"));
                Err(Errno::ENOSYS)
            }
        }
    }
}

/// `rt_sigaction(signal, new, old, set size)`
pub(crate) fn rt_sigaction(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [signal, new, old, size, ..] = *args;
    let index = (signal as usize).wrapping_sub(1);
    let current = *linux.signals.actions.get(index).ok_or(Errno::EINVAL)?;
    if size != SET || (new != 0 && (signal == SIGKILL || signal == SIGSTOP)) {
        return Err(Errno::EINVAL);
    }
    if new != 0 {
        let action = linux.read_words(new)?;
        linux.signals.actions[index] = action;
    }
    let [handler, flags, restorer, mask] = current;
    let action = Structure::default().u64(handler).u64(flags).u64(restorer).u64(mask);
    linux.write_optional(old, &action.0)?;
    Ok(0)
}

/// `rt_sigprocmask(how, new, old, set size)`
pub(crate) fn rt_sigprocmask(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [how, new, old, size, ..] = *args;
    let blocked = linux.signals.blocked;
    if size != SET {
        return Err(Errno::EINVAL);
    }
    if new != 0 {
        let [set] = linux.read_words(new)?;
        linux.signals.blocked = match how {
            0 => blocked | set,
            1 => blocked & !set,
            2 => set,
            _ => return Err(Errno::EINVAL),
        };
    }
    linux.write_optional(old, &blocked.to_le_bytes())?;
    Ok(0)
}

/// `rt_sigpending(set, size)`: none ever waits.
pub(crate) fn rt_sigpending(linux: &mut Linux, args: &Arguments) -> Outcome {
    linux.write_bytes(args[0], &[0; SET as usize])?;
    Ok(0)
}

/// `sigaltstack(new, old)`
pub(crate) fn sigaltstack(linux: &mut Linux, args: &Arguments) -> Outcome {
    let [address, flags, size] = linux.signals.alternate;
    if args[0] != 0 {
        linux.signals.alternate = linux.read_words(args[0])?;
    }
    let old = Structure::default().u64(address).u64(flags).u64(size);
    linux.write_optional(args[1], &old.0)?;
    Ok(0)
}

/// `kill(process, signal)`, `tkill(thread, signal)`
pub(crate) fn kill(linux: &mut Linux, args: &Arguments) -> Outcome {
    use crate::identity::PROCESS;
    match args[0] as u32 as i32 {
        0 | -1 => linux.send_self(args[1]),
        other if u64::from(other.unsigned_abs()) == PROCESS => linux.send_self(args[1]),
        _ => Err(Errno::ESRCH),
    }
}

/// `tgkill(process, thread, signal)`
pub(crate) fn tgkill(linux: &mut Linux, args: &Arguments) -> Outcome {
    kill(linux, &[args[1], args[2], 0, 0, 0, 0])
}
