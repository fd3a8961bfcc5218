//! Hypercalls: decode, authorise, commit.
//!
//! Decoding (`hv_abi`) has no side effect. A call that the caller has no right to, or whose
//! arguments name what is not its own, is refused with its personality's error, and the first
//! refusal of a domain is reported: who, what, where. An unknown number is an error too.

mod argument;
mod block;
mod control;
mod events;
mod grants;
mod hvm;
mod lan;
mod measure;
mod memory;
mod papr;
mod rtas;
mod system;
mod vcpu;
#[cfg(feature = "walker")]
mod walker;
mod watchdog;
mod xen;
pub mod xics;

use crate::exit::At;
use crate::machine::{Frame, Machine};
use crate::{Current, Hypervisor, Processor, report};
use core::fmt;
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Number, PaprCall, XenCall};
use k42_wire::Event;

const NO_RIGHT: &str = "needs a right that the domain has not";

/// A hypercall being served.
struct Caller<'a> {
    processor: &'a mut Processor,
    current: Current,
    frame: &'a mut Frame,
}

impl<M: Machine> Hypervisor<M> {
    pub(crate) fn hypercall(&self, processor: &mut Processor, current: Current, frame: &mut Frame) {
        #[cfg(feature = "walker")]
        if Number::decode(frame.gpr[3]) == Number::Xen(walker::NUMBER) {
            frame.gpr[3] = self.walk_for_guest().cast_unsigned();
            return;
        }
        let caller = &mut Caller { processor, current, frame };
        let result = match Number::decode(caller.frame.gpr[3]) {
            Number::Xen(number) => match XenCall::decode(number, &arguments(caller.frame)) {
                None => {
                    self.refused(
                        caller,
                        "a Xen hypercall",
                        format_args!("there is no number {number}"),
                    );
                    xen::NO_SUCH_CALL
                }
                Some(call) if !current.rights.contains(call.right()) => {
                    self.refused(caller, call.name(), NO_RIGHT);
                    xen::NOT_PERMITTED
                }
                Some(call) => self.xen_call(caller, call),
            },
            Number::Papr(token) => self.papr_hypercall(caller, token),
        };
        caller.frame.gpr[3] = result.cast_unsigned();
    }

    /// Out of line, so that Xen's short calls do not make room for PAPR's many arguments.
    #[inline(never)]
    fn papr_hypercall(&self, caller: &mut Caller<'_>, token: u64) -> i64 {
        match PaprCall::decode(token, &arguments(caller.frame)) {
            // Not reported: this is how Linux asks what there is.
            None => hv_abi::papr::code::FUNCTION,
            Some(call) if !caller.current.rights.contains(call.right()) => {
                self.refused(caller, call.name(), NO_RIGHT);
                hv_abi::papr::code::PRIVILEGE
            }
            Some(call) => self.papr_call(caller, call),
        }
    }

    /// Reports the first hypercall of a domain that was refused.
    #[inline(never)]
    fn refused(&self, caller: &Caller<'_>, name: &str, why: impl fmt::Display) {
        let id = caller.current.domain;
        let who = {
            let mut slot = self.domain(id);
            let Some(domain) = slot.as_mut() else { return };
            if core::mem::replace(&mut domain.refusal_reported, true) {
                return;
            }
            domain.name
        };
        let text = report::line(format_args!("{name}: {why}{}", At(caller.frame)));
        self.say(Event::Refused { number: id.number().into(), name: &who, text: &text });
    }
}

/// What a caller passes, in r4 to r12.
fn arguments(frame: &Frame) -> [u64; MAX_ARGUMENTS] {
    let [_, _, _, _, r4, r5, r6, r7, r8, r9, r10, r11, r12, ..] = frame.gpr;
    [r4, r5, r6, r7, r8, r9, r10, r11, r12]
}
