//! Calls about vCPUs and about time: stop, start, timers, polls.

use super::ground::{PAGE, Use};
use super::xen::{NEVER, call};
use super::{Attacker, Call};
use kernel_arch::registers;
use xen_sys::{sched, vcpu, xen};

impl Attacker {
    /// The vCPUs' own affairs. The first one is not stopped: it starts the other again.
    pub(super) fn vcpus(&mut self) -> Call {
        use vcpu::*;
        let command = self.random.of(&[
            VCPUOP_INITIALISE,
            VCPUOP_UP,
            VCPUOP_DOWN,
            VCPUOP_IS_UP,
            VCPUOP_GET_RUNSTATE_INFO,
            VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA,
            VCPUOP_SET_SINGLESHOT_TIMER,
            VCPUOP_SET_SINGLESHOT_TIMER,
            VCPUOP_STOP_SINGLESHOT_TIMER,
            VCPUOP_REGISTER_VCPU_INFO,
            6,
        ]);
        let number = match self.vcpu() {
            0 if command == VCPUOP_DOWN => 1,
            number => number,
        };
        let at = match command {
            VCPUOP_INITIALISE => {
                let words = [self.random.next(), 0, 0, self.random.below(3)];
                self.argument(Use::Vcpu, &words)
            }
            VCPUOP_GET_RUNSTATE_INFO => self.answer(),
            VCPUOP_REGISTER_RUNSTATE_MEMORY_AREA => {
                let area = self.answer();
                self.argument(Use::Area, &[area])
            }
            VCPUOP_SET_SINGLESHOT_TIMER => {
                let words = [self.time(), self.random.below(2)];
                self.argument(Use::Timer, &words)
            }
            VCPUOP_REGISTER_VCPU_INFO => {
                let offset = self.random.below(80) * 64 + self.random.below(2) * 4;
                let words = [self.ground.page(&mut self.random) / PAGE, offset];
                self.argument(Use::Place, &words)
            }
            _ => self.random.next(),
        };
        call(xen::HYPERVISOR_VCPU_OP, [command.into(), number, at])
    }

    /// A time that was, that is soon, or that never comes, in nanoseconds.
    fn time(&mut self) -> u64 {
        let now = registers::timebase() / 64 * 125;
        let soon = self.random.below(100_000);
        self.random.of(&[now + soon, now + soon, now, now - soon, 0, 1, u64::MAX])
    }

    /// Giving up the processor, with something to come back by; the watchdog.
    pub(super) fn scheduling(&mut self) -> Call {
        use sched::*;
        let command = self.random.of(&[
            SCHEDOP_YIELD,
            SCHEDOP_BLOCK,
            SCHEDOP_POLL,
            SCHEDOP_POLL,
            SCHEDOP_POLL,
            SCHEDOP_WATCHDOG,
            SCHEDOP_SHUTDOWN,
            4,
        ]);
        let at = match command {
            SCHEDOP_POLL => {
                let mut ports = [0; 4];
                ports.fill_with(|| self.port() | self.port() << 32);
                let ports = self.argument(Use::Ports, &ports);
                let few = self.random.below(9);
                let count = self.random.of(&[few, few, few, 128, 129, u32::MAX as u64]);
                let timeout = self.time();
                self.argument(Use::Poll, &[ports, count, timeout])
            }
            SCHEDOP_WATCHDOG => {
                let long = self.random.of(&[0, 1 << 20, u32::MAX as u64]);
                let word = self.random.below(3) | long << 32;
                self.argument(Use::Watchdog, &[word])
            }
            _ => NEVER,
        };
        call(xen::HYPERVISOR_SCHED_OP, [command.into(), at])
    }
}
