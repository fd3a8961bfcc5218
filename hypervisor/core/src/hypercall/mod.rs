//! Hypercalls: decode, authorise, commit.
//!
//! Decoding (`hv_abi`) has no side effect. A call that the caller has no right to, or whose
//! arguments name what is not its own, is refused with its personality's error, and the first
//! refusal of a domain is reported: who, what, where. An unknown number is an error too; that of an
//! unknown token is not reported, since this is how Linux asks what there is.

mod argument;
mod block;
mod common;
mod control;
mod events;
mod grants;
mod hvm;
mod lan;
mod measure;
mod memory;
mod system;
mod vcpu;
#[cfg(feature = "walker")]
mod walker;
mod watchdog;
mod xen;

use crate::exit::{At, low};
use crate::machine::{Frame, Machine};
use crate::{Hypervisor, Processor, report};
use core::fmt;
use hv_abi::common::code;
use hv_abi::table::MAX_ARGUMENTS;
use hv_abi::{Number, Rights, XEN_MARK, XenCall};
use k42_wire::Event;
use xen_sys::errno;
use xen_sys::trace::TRC_HVM_VMMCALL;

const NO_RIGHT: &str = "needs a right that the domain has not";

/// What comes of a Xen hypercall: a value, or an errno.
type Done<T = ()> = Result<T, i32>;

/// The same for a call with a token: nothing, or a return code.
pub(crate) type Coded = Result<(), i64>;

/// A hypercall being served. It stays in registers as long as nothing that is out of line gets a
/// pointer to it: a closure that borrows it makes every hypercall store it first.
pub(crate) struct Caller<'a> {
    pub(crate) processor: &'a mut Processor,
    pub(crate) frame: &'a mut Frame,
}

impl Caller<'_> {
    /// What it passes, in r4 to r12.
    pub(crate) fn arguments(&self) -> [u64; MAX_ARGUMENTS] {
        let [_, _, _, _, r4, r5, r6, r7, r8, r9, r10, r11, r12, ..] = self.frame.gpr;
        [r4, r5, r6, r7, r8, r9, r10, r11, r12]
    }
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
                &caller.arguments(),
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
            Number::Token(token) => self.token_call(caller, token).err().unwrap_or(code::SUCCESS),
        };
        caller.frame.gpr[3] = result.cast_unsigned();
    }

    /// Whether the caller has the right that a call needs which a token numbers.
    pub(crate) fn permit(&self, caller: &Caller<'_>, name: &str, right: Rights) -> Coded {
        if caller.current.rights.contains(right) {
            return Ok(());
        }
        self.refused(caller, name, NO_RIGHT);
        Err(code::PRIVILEGE)
    }

    /// Reports the first hypercall of a domain that was refused.
    #[inline(never)]
    pub(crate) fn refused(&self, caller: &Caller<'_>, name: &str, why: impl fmt::Display) {
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
        match XenCall::decode(number, &caller.arguments()) {
            Some(call) => self.refused(caller, call.name(), why),
            None => self.refused(caller, "a Xen hypercall", format_args!("{number}: {why}")),
        }
    }
}

/// What a Xen hypercall that failed gives its guest.
fn failed(errno: i32) -> i64 {
    i64::from(errno).saturating_neg()
}
