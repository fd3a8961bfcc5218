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

use crate::exit::{At, low};
use crate::machine::{Frame, Machine};
use crate::{Hypervisor, Processor, report};
use core::fmt;
use hv_abi::papr::code;
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Number, PaprCall, XEN_MARK, XenCall};
use k42_wire::Event;
use xen_sys::errno;
use xen_sys::trace::TRC_HVM_VMMCALL;

const NO_RIGHT: &str = "needs a right that the domain has not";

/// What comes of a Xen hypercall: a value, or an errno.
type Done<T = ()> = Result<T, i32>;

/// A hypercall being served.
struct Caller<'a> {
    processor: &'a mut Processor,
    frame: &'a mut Frame,
}

impl core::ops::Deref for Caller<'_> {
    type Target = Processor;

    fn deref(&self) -> &Processor {
        self.processor
    }
}

impl<M: Machine> Hypervisor<M> {
    pub(crate) fn hypercall(&self, processor: &mut Processor, frame: &mut Frame) {
        #[cfg(feature = "walker")]
        if Number::decode(frame.gpr[3]) == Number::Xen(walker::NUMBER) {
            frame.gpr[3] = self.walk_for_guest().cast_unsigned();
            return;
        }
        self.trace(processor, TRC_HVM_VMMCALL, || [low(frame.gpr[3]), low(frame.gpr[4]), 0]);
        let caller = &mut Caller { processor, frame };
        let result = match Number::decode(caller.frame.gpr[3]) {
            Number::Xen(number) => XenCall::serve(
                number,
                &arguments(caller.frame),
                #[inline(always)]
                |call| match call {
                    None => {
                        self.refused_xen(caller, "there is no such number");
                        failed(errno::ENOSYS)
                    }
                    Some(call) if !caller.current.rights.contains(call.right()) => {
                        self.refused_xen(caller, NO_RIGHT);
                        failed(errno::EPERM)
                    }
                    Some(call) => self.xen_call(caller, call),
                },
            ),
            Number::Papr(token) => self.papr_hypercall(caller, token),
        };
        caller.frame.gpr[3] = result.cast_unsigned();
    }

    /// Out of line, so that Xen's short calls do not make room for PAPR's many arguments.
    #[inline(never)]
    fn papr_hypercall(&self, caller: &mut Caller<'_>, token: u64) -> i64 {
        match PaprCall::decode(token, &arguments(caller.frame)) {
            // Not reported: this is how Linux asks what there is.
            None => code::FUNCTION,
            Some(call) if !caller.current.rights.contains(call.right()) => {
                self.refused(caller, call.name(), NO_RIGHT);
                code::PRIVILEGE
            }
            Some(call) => self.papr_call(caller, call).err().unwrap_or(code::SUCCESS),
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

    /// The same for Xen's calls, of which the registers still say which it is.
    #[inline(never)]
    fn refused_xen(&self, caller: &Caller<'_>, why: &str) {
        let number = caller.frame.gpr[3] & !XEN_MARK;
        match XenCall::decode(number, &arguments(caller.frame)) {
            Some(call) => self.refused(caller, call.name(), why),
            None => self.refused(caller, "a Xen hypercall", format_args!("{number}: {why}")),
        }
    }
}

/// What a Xen hypercall that failed gives its guest.
fn failed(errno: i32) -> i64 {
    i64::from(errno).saturating_neg()
}

/// What a caller passes, in r4 to r12.
fn arguments(frame: &Frame) -> [u64; MAX_ARGUMENTS] {
    let [_, _, _, _, r4, r5, r6, r7, r8, r9, r10, r11, r12, ..] = frame.gpr;
    [r4, r5, r6, r7, r8, r9, r10, r11, r12]
}
