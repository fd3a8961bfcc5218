//! PAPR's run-time firmware (RTAS, LoPAR chapter 7). The guest calls five instructions in its own
//! memory, which make one hypercall with the address of an argument block: big-endian words
//! {token, number of arguments, number of results, arguments, results}; the first result is a status.

use super::clock::Told;
use super::xics::IDLE;
use crate::Hypervisor;
use crate::hypercall::{Caller, Coded};
use crate::machine::{Machine, Partition, Start};
use crate::vcpu::State;
use arrayvec::ArrayVec;
use hv_abi::common::code;
use hv_abi::papr::rtas;
use k42_lib::GuestAddr;
use k42_wire::End;

/// The most words of a block that our functions have.
const WORDS: usize = 16;
/// How much of a crashed system's last words is reported.
const LAST_WORDS: usize = 120;

/// An argument block, copied from the guest.
struct Block {
    token: u32,
    arguments: ArrayVec<u32, WORDS>,
    results: ArrayVec<GuestAddr, WORDS>,
}

/// What a call tells after its status.
fn told(words: &[u32]) -> Told {
    words.iter().copied().collect()
}

impl<M: Machine> Hypervisor<M> {
    /// Serves a call; the hypercall itself fails only when there is no block to answer in.
    pub(super) fn rtas(&self, caller: &mut Caller<'_>, at: GuestAddr) -> Coded {
        let Some(block) = self.rtas_block(caller, at) else {
            let why = "its argument block is not the domain's memory, or too long";
            self.refused(caller, "h_rtas", why);
            return Err(code::PARAMETER);
        };
        let (status, told) = match self.rtas_function(caller, &block) {
            Ok(told) => (rtas::SUCCESS, told),
            Err(status) => (status, Told::new()),
        };
        let answers = [status].into_iter().chain(told);
        let mut answers = block.results.into_iter().zip(answers);
        let written = answers.all(|(at, word)| self.copy_out(caller, at, &word.to_be_bytes()));
        // A domain that has just ended has no memory to answer in.
        if written || !caller.seated { Ok(()) } else { Err(code::PARAMETER) }
    }

    /// Does what a call asks: its status where it cannot, else what follows the status.
    fn rtas_function(&self, caller: &mut Caller<'_>, block: &Block) -> Result<Told, u32> {
        let id = caller.current.domain;
        match (block.token, block.arguments.as_slice()) {
            (rtas::POWER_OFF, _) => self.end(caller.processor, id, End::PowerOff),
            (rtas::SYSTEM_REBOOT, _) => self.end(caller.processor, id, End::Reboot),
            (rtas::OS_TERM, words) => self.last_words(caller, words.first().map_or(0, |at| *at)),
            (rtas::START_CPU, &[server, entry, argument, ..]) => {
                self.start_cpu(caller, [server, entry, argument])?;
            }
            (rtas::QUERY_CPU_STOPPED_STATE, &[server, ..]) => {
                let vcpu = self.vcpu_of(id, server.into()).ok_or(rtas::PARAMETER_ERROR)?;
                let stopped = self.vcpu(vcpu).status.lock().state == State::Stopped;
                return Ok(told(&[if stopped { 0 } else { 2 }]));
            }
            (rtas::STOP_SELF, _) => self.stop(caller.current.vcpu),
            (rtas::GET_TIME_OF_DAY, _) => return self.time_of_day(id),
            (rtas::SET_TIME_OF_DAY, &[year, month, day, hour, minute, second, ..]) => {
                self.set_time_of_day(id, [year, month, day, hour, minute, second])?;
            }
            (rtas::GET_XIVE, &[source, ..]) => {
                let route = self.papr_route(id, source, |_| ())?;
                return Ok(told(&[route.server, route.priority.into()]));
            }
            (rtas::SET_XIVE, &[source, server, priority, ..]) => {
                let priority = u8::try_from(priority).map_err(|_| rtas::PARAMETER_ERROR)?;
                self.papr_route(id, source, |route| {
                    (route.server, route.priority, route.when_on) = (server, priority, priority);
                })?;
            }
            (rtas::INT_ON, &[source, ..]) => {
                self.papr_route(id, source, |route| route.priority = route.when_on)?;
            }
            (rtas::INT_OFF, &[source, ..]) => {
                self.papr_route(id, source, |route| route.priority = IDLE)?;
            }
            _ => return Err(rtas::PARAMETER_ERROR),
        }
        Ok(Told::new())
    }

    fn rtas_block(&self, caller: &Caller<'_>, at: GuestAddr) -> Option<Block> {
        let place = |n: u32| at.offset(u64::from(n).saturating_mul(4));
        let word = |n| {
            let mut bytes = [0; 4];
            self.copy_in(caller, place(n), &mut bytes).then(|| u32::from_be_bytes(bytes))
        };
        let (token, arguments, results) = (word(0)?, word(1)?, word(2)?);
        let first = arguments.checked_add(3)?;
        let end = first.checked_add(results).filter(|end| *end <= WORDS as u32)?;
        let arguments = (3..first).map(word).collect::<Option<_>>()?;
        word(end.saturating_sub(1))?;
        Some(Block { token, arguments, results: (first..end).map(place).collect() })
    }

    fn start_cpu(&self, caller: &Caller<'_>, arguments: [u32; 3]) -> Result<(), u32> {
        let [server, entry, argument] = arguments;
        let id = caller.current.domain;
        let vcpu = self.vcpu_of(id, server.into()).ok_or(rtas::PARAMETER_ERROR)?;
        let interrupts = self.with(id, |d| d.interrupts).map_err(|_| rtas::PARAMETER_ERROR)?;
        let mut status = self.vcpu(vcpu).status.lock();
        if status.state != State::Stopped {
            return Err(rtas::HARDWARE_ERROR);
        }
        let start = Start {
            partition: Partition(id.number().into()),
            entry: GuestAddr::new(entry.into()),
            argument: argument.into(),
            stack: 0,
            little_endian: false,
            interrupts,
        };
        self.machine.install(vcpu, &start);
        status.stopping = false;
        self.make_ready(vcpu, status);
        Ok(())
    }

    /// The guest's kernel has panicked and says why. Linux 6.12 passes address 0, one argument
    /// off: its console has the words.
    fn last_words(&self, caller: &mut Caller<'_>, at: u32) {
        let mut bytes = [0; LAST_WORDS];
        let said = at != 0 && self.copy_in(caller, GuestAddr::new(at.into()), &mut bytes);
        let length = bytes.iter().position(|b| *b == 0).unwrap_or(LAST_WORDS);
        let words = bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok());
        let words = words.filter(|_| said).unwrap_or("its console says why");
        let id = caller.current.domain;
        self.crash(caller.processor, id, format_args!("its kernel panicked: {words}"));
    }
}
