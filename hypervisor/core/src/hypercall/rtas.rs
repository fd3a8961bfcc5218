//! PAPR's run-time firmware (RTAS, LoPAR chapter 7). The guest calls five instructions in its own
//! memory, which make one hypercall with the address of an argument block: big-endian words
//! {token, number of arguments, number of results, arguments, results}; the first result is a status.

use super::Caller;
use crate::Hypervisor;
use crate::machine::{Machine, Partition, Start};
use crate::vcpu::State;
use hv_abi::papr::code;
use hv_abi::rtas;
use k42_lib::GuestAddr;
use k42_wire::End;

/// The most words of a block that our functions have.
const WORDS: usize = 16;
/// How much of a crashed system's last words is reported.
const LAST_WORDS: usize = 120;

/// An argument block, copied from the guest.
struct Block {
    words: [u32; WORDS],
    arguments: usize,
    results: usize,
}

impl Block {
    fn argument(&self, n: usize) -> Option<u32> {
        (n < self.arguments).then(|| self.words.get(n.saturating_add(3)).copied()).flatten()
    }
}

impl<M: Machine> Hypervisor<M> {
    /// Serves a call; the hypercall itself fails only when there is no block to answer in.
    pub(super) fn rtas(&self, caller: &mut Caller<'_>, at: GuestAddr) -> i64 {
        let Some(block) = self.rtas_block(caller, at) else {
            self.refused(
                caller,
                "h_rtas",
                "its argument block is not the domain's memory, or too long",
            );
            return code::PARAMETER;
        };
        let token = block.words[0];
        let id = caller.current.domain;
        let mut second = None;
        let status = match token {
            rtas::POWER_OFF => {
                self.end(caller.processor, id, End::PowerOff);
                rtas::SUCCESS
            }
            rtas::SYSTEM_REBOOT => {
                self.end(caller.processor, id, End::Reboot);
                rtas::SUCCESS
            }
            rtas::OS_TERM => {
                self.last_words(caller, block.argument(0));
                rtas::SUCCESS
            }
            rtas::START_CPU => match (block.argument(0), block.argument(1), block.argument(2)) {
                (Some(server), Some(entry), Some(argument)) => {
                    self.start_cpu(caller, server, entry, argument)
                }
                _ => rtas::PARAMETER_ERROR,
            },
            rtas::QUERY_CPU_STOPPED_STATE => {
                let server = block.argument(0).map_or(u64::MAX, u64::from);
                match self.sibling(caller, server).and_then(|v| self.vcpu(v)) {
                    Some(slot) => {
                        let stopped = slot.status.lock().state == State::Stopped;
                        second = Some(if stopped { 0 } else { 2 });
                        rtas::SUCCESS
                    }
                    None => rtas::PARAMETER_ERROR,
                }
            }
            rtas::STOP_SELF => {
                self.stop(caller.current.vcpu);
                rtas::SUCCESS
            }
            _ => rtas::PARAMETER_ERROR,
        };
        self.rtas_answer(caller, at, &block, status, second)
    }

    fn rtas_block(&self, caller: &Caller<'_>, at: GuestAddr) -> Option<Block> {
        let mut head = [0; 12];
        if !self.copy_in(caller, at, &mut head) {
            return None;
        }
        let [_, arguments, results] = words::<3>(&head);
        let arguments = usize::try_from(arguments).ok()?;
        let results = usize::try_from(results).ok()?;
        let length = arguments.checked_add(results)?.checked_add(3)?;
        let mut bytes = [0; WORDS * 4];
        let part = bytes.get_mut(..length.checked_mul(4)?)?;
        self.copy_in(caller, at, part).then(|| Block { words: words(&bytes), arguments, results })
    }

    /// Writes the status, and the second result where there is one and the guest made room for it.
    fn rtas_answer(
        &self,
        caller: &Caller<'_>,
        at: GuestAddr,
        block: &Block,
        status: u32,
        second: Option<u32>,
    ) -> i64 {
        let first = at.offset((block.arguments as u64).saturating_add(3).saturating_mul(4));
        let written = match (block.results, second) {
            (0, _) => true,
            (2.., Some(second)) => {
                self.copy_out(caller, first, &status.to_be_bytes())
                    && self.copy_out(caller, first.offset(4), &second.to_be_bytes())
            }
            _ => self.copy_out(caller, first, &status.to_be_bytes()),
        };
        // A domain that has just ended has no memory to answer in.
        if written || caller.processor.current.is_none() { code::SUCCESS } else { code::PARAMETER }
    }

    fn start_cpu(&self, caller: &Caller<'_>, server: u32, entry: u32, argument: u32) -> u32 {
        let Some(vcpu) = self.sibling(caller, server.into()) else { return rtas::PARAMETER_ERROR };
        let Some(slot) = self.vcpu(vcpu) else { return rtas::PARAMETER_ERROR };
        let id = caller.current.domain;
        let little_endian_interrupts =
            self.domain(id).as_ref().is_some_and(|d| d.little_endian_interrupts);
        if slot.status.lock().state != State::Stopped {
            return rtas::HARDWARE_ERROR;
        }
        self.machine.install(
            vcpu,
            &Start {
                partition: Partition(id.number().into()),
                entry: GuestAddr::new(entry.into()),
                argument: argument.into(),
                stack: 0,
                little_endian: false,
                little_endian_interrupts,
            },
        );
        self.launch(vcpu);
        rtas::SUCCESS
    }

    /// The guest's kernel has panicked and says why. Linux 6.12 passes address 0, one argument
    /// off: its console has the words.
    fn last_words(&self, caller: &mut Caller<'_>, at: Option<u32>) {
        let mut bytes = [0; LAST_WORDS];
        let said = at.is_some_and(|at| {
            at != 0 && self.copy_in(caller, GuestAddr::new(at.into()), &mut bytes)
        });
        let length = bytes.iter().position(|b| *b == 0).unwrap_or(LAST_WORDS);
        let words = bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok());
        let words = words.filter(|_| said).unwrap_or("its console says why");
        let id = caller.current.domain;
        self.crash(caller.processor, id, format_args!("its kernel panicked: {words}"));
    }
}

/// Big-endian words of a string of bytes.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = bytes.try_into().map_or(0, u32::from_be_bytes);
    }
    words
}
