//! PAPR's calls, as an unmodified Linux makes them (LoPAR chapter 14).

use super::Caller;
use super::xics::Presentation;
use crate::Hypervisor;
use crate::machine::{Machine, Partition};
use crate::vcpu::{Ask, Status, VcpuId};
use hv_abi::PaprCall;
use hv_abi::papr::{code, mode};
use k42_lib::{GuestAddr, msr};
use k42_wire::Channel;

/// The virtual terminal's unit address, as the domain's device tree says (`domains/builder`).
const TERMINAL: u64 = 0x3000_0000;
/// Characters of one terminal call: two registers full.
const CHARACTERS: usize = 16;

/// H_REGISTER_PROC_TBL flags: a new radix process table, the guest does its own TLB invalidations.
const NEW_RADIX_TABLE: u64 = 0x1d;
/// log2 of the largest process table, less 12.
const LARGEST_TABLE: u64 = 12;

impl<M: Machine> Hypervisor<M> {
    #[inline(never)]
    pub(super) fn papr_call(&self, caller: &mut Caller<'_>, call: PaprCall) -> i64 {
        match call {
            PaprCall::GetTermChar { unit } => self.get_characters(caller, unit),
            PaprCall::PutTermChar { unit, count, high, low } => {
                self.put_characters(caller, unit, count, high, low)
            }
            PaprCall::Eoi { xirr } => self.own_interrupts(caller, |i| i.end(xirr)),
            PaprCall::Cppr { priority } => {
                self.own_interrupts(caller, |i| i.set_priority(priority))
            }
            PaprCall::Xirr {} => {
                let mut xirr = 0;
                self.own_interrupts(caller, |i| xirr = i.accept());
                caller.frame.gpr[4] = xirr.into();
                code::SUCCESS
            }
            PaprCall::Ipi { server, priority } => self.ask_interrupt(caller, server, priority),
            PaprCall::Ipoll { server } => self.poll_interrupt(caller, server),
            PaprCall::Cede {} => {
                self.cede(caller);
                code::SUCCESS
            }
            PaprCall::Confer { server, .. } => self.confer(caller, server),
            PaprCall::Prod { server } => match self.sibling(caller, server) {
                Some(vcpu) => {
                    self.wake(vcpu);
                    code::SUCCESS
                }
                None => code::PARAMETER,
            },
            PaprCall::SetMode { flags, resource, value1, value2 } => {
                self.set_mode(caller, flags, resource, value1, value2)
            }
            PaprCall::RegisterProcessTable { flags, base, page_size, table_size } => {
                self.register_process_table(caller, flags, base, page_size, table_size)
            }
            PaprCall::Rtas { arguments } => self.rtas(caller, arguments),
            PaprCall::VioSignal { .. }
            | PaprCall::RegisterLogicalLan { .. }
            | PaprCall::FreeLogicalLan { .. }
            | PaprCall::AddLogicalLanBuffer { .. }
            | PaprCall::SendLogicalLan { .. }
            | PaprCall::MulticastCtrl { .. }
            | PaprCall::ChangeLogicalLanMac { .. } => self.lan_call(caller, call),
        }
    }

    fn get_characters(&self, caller: &mut Caller<'_>, unit: u64) -> i64 {
        if unit != TERMINAL && unit != 0 {
            return code::PARAMETER;
        }
        let channel = caller.current.domain.channel();
        let mut characters = [0; CHARACTERS];
        let count = self.console.lock().read(&self.machine, channel, &mut characters);
        let [high, low] = halves(characters);
        caller.frame.gpr[4] = count as u64;
        caller.frame.gpr[5] = high;
        caller.frame.gpr[6] = low;
        code::SUCCESS
    }

    fn put_characters(
        &self,
        caller: &Caller<'_>,
        unit: u64,
        count: u64,
        high: u64,
        low: u64,
    ) -> i64 {
        if unit != TERMINAL && unit != 0 {
            return code::PARAMETER;
        }
        let mut characters = [0; CHARACTERS];
        for (to, from) in
            characters.iter_mut().zip(high.to_be_bytes().into_iter().chain(low.to_be_bytes()))
        {
            *to = from;
        }
        let Some(text) = usize::try_from(count).ok().and_then(|count| characters.get(..count))
        else {
            return code::PARAMETER;
        };
        self.console.lock().write(&self.machine, caller.current.domain.channel(), text);
        code::SUCCESS
    }

    /// Changes the caller's own interrupt controller.
    fn own_interrupts(&self, caller: &Caller<'_>, change: impl FnOnce(&mut Presentation)) -> i64 {
        if let Some(slot) = self.vcpu(caller.current.vcpu) {
            let mut status = slot.status.lock();
            change(&mut status.interrupts);
            if status.interrupts.pending() {
                slot.ask(Ask::INTERRUPT);
            }
        }
        code::SUCCESS
    }

    fn ask_interrupt(&self, caller: &Caller<'_>, server: u64, priority: u64) -> i64 {
        let Some(vcpu) = self.sibling(caller, server) else { return code::PARAMETER };
        let Some(slot) = self.vcpu(vcpu) else { return code::PARAMETER };
        let pending = {
            let mut status = slot.status.lock();
            status.interrupts.request(priority);
            status.interrupts.pending()
        };
        if pending {
            self.notify(vcpu, Ask::INTERRUPT);
        }
        code::SUCCESS
    }

    fn poll_interrupt(&self, caller: &mut Caller<'_>, server: u64) -> i64 {
        let Some(slot) = self.sibling(caller, server).and_then(|v| self.vcpu(v)) else {
            return code::PARAMETER;
        };
        let Status { interrupts, .. } = *slot.status.lock();
        caller.frame.gpr[4] = interrupts.peek().into();
        caller.frame.gpr[5] = interrupts.requested().into();
        code::SUCCESS
    }

    /// Enables interrupts and blocks until one is there.
    fn cede(&self, caller: &mut Caller<'_>) {
        caller.frame.msr |= msr::EE;
        let pending = self
            .vcpu(caller.current.vcpu)
            .is_some_and(|slot| slot.status.lock().interrupts.pending());
        if !pending {
            self.block(caller.processor, self.machine.guest_deadline());
        }
    }

    /// Lets the others run, or the one vCPU that is named: it runs next on its processor, if it
    /// is ready. A guest reads dispatch counts in an area that H_REGISTER_VPA would give it, so
    /// none can be stale here.
    fn confer(&self, caller: &mut Caller<'_>, server: u64) -> i64 {
        match self.sibling(caller, server) {
            Some(vcpu) => self.yield_to(caller.processor, vcpu),
            None if server == u64::MAX => self.yield_now(caller.processor),
            None => return code::PARAMETER,
        }
        code::SUCCESS
    }

    fn set_mode(
        &self,
        caller: &Caller<'_>,
        flags: u64,
        resource: u64,
        value1: u64,
        value2: u64,
    ) -> i64 {
        if resource != mode::ENDIAN {
            // Interrupts in translated mode (resource 3) would reach the hypervisor that way too
            // on POWER9 (docs/hypervisor.md, "Real mode for ever"); breakpoints are not offered.
            return code::P2;
        }
        if flags > mode::LITTLE || value1 != 0 || value2 != 0 {
            return code::PARAMETER;
        }
        let little = flags == mode::LITTLE;
        self.machine.set_interrupt_endian(little);
        if let Some(domain) = self.domain(caller.current.domain).as_mut() {
            domain.little_endian_interrupts = little;
        }
        code::SUCCESS
    }

    fn register_process_table(
        &self,
        caller: &Caller<'_>,
        flags: u64,
        base: GuestAddr,
        page_size: u64,
        table_size: u64,
    ) -> i64 {
        if flags != NEW_RADIX_TABLE || page_size != 0 || table_size > LARGEST_TABLE {
            return code::PARAMETER;
        }
        let id = caller.current.domain;
        let slot = self.domain(id);
        let Some(domain) = slot.as_ref() else { return code::PARAMETER };
        let bytes = 0x1000_u64 << table_size;
        let fits = base.checked_add(bytes).is_some_and(|end| end.value() <= domain.memory.size());
        if !fits || !base.is_aligned(bytes) {
            drop(slot);
            self.refused(
                caller,
                "h_register_process_table",
                "the table is not the domain's memory",
            );
            return code::PARAMETER;
        }
        let partition = Partition(id.number().into());
        let entry = [domain.memory.partition_entry(), base.value() | table_size];
        self.machine.set_partition(partition, entry);
        self.machine.flush_partition(partition);
        code::SUCCESS
    }

    /// The vCPU of the caller's domain with this number.
    pub(super) fn sibling(&self, caller: &Caller<'_>, server: u64) -> Option<VcpuId> {
        let index = usize::try_from(server).ok()?;
        self.vcpus_of(caller.current.domain).get(index).copied()
    }

    /// Console input has come for a channel: wakes the domain it belongs to.
    pub(crate) fn console_input(&self, channel: Channel) {
        let Some(id) = crate::domain::DomainId::new(channel.number().into()) else { return };
        if let Some(first) = self.vcpus_of(id).first() {
            self.wake(*first);
            self.event_raise(id, xen_sys::xen::VIRQ_CONSOLE);
        }
    }
}

/// Two registers of a string of characters, the first character in the most significant byte.
fn halves(characters: [u8; CHARACTERS]) -> [u64; 2] {
    let both = u128::from_be_bytes(characters);
    let [h0, h1, h2, h3, h4, h5, h6, h7, low @ ..] = both.to_be_bytes();
    [u64::from_be_bytes([h0, h1, h2, h3, h4, h5, h6, h7]), u64::from_be_bytes(low)]
}
