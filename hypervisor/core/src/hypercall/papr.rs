//! PAPR's calls, as an unmodified Linux makes them (LoPAR chapter 14).

use super::Caller;
use super::xics::Presentation;
use crate::Hypervisor;
use crate::machine::{Machine, Partition};
use crate::vcpu::{Ask, Status, Vcpu, VcpuId};
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
    pub(super) fn papr_call(&self, caller: &mut Caller<'_>, call: PaprCall) -> Result<(), i64> {
        match call {
            PaprCall::GetTermChar { unit: TERMINAL | 0 } => self.get_characters(caller),
            PaprCall::PutTermChar { unit: TERMINAL | 0, count, high, low } => {
                self.put_characters(caller, count, u128::from(high) << 64 | u128::from(low))?
            }
            PaprCall::Eoi { xirr } => self.own_interrupts(caller, |i| i.set_priority(xirr >> 24)),
            PaprCall::Cppr { priority } => {
                self.own_interrupts(caller, |i| i.set_priority(priority))
            }
            PaprCall::Xirr {} => {
                let mut xirr = 0;
                self.own_interrupts(caller, |i| xirr = i.accept());
                caller.frame.gpr[4] = xirr.into();
            }
            PaprCall::Ipi { server, priority } => self.ask_interrupt(caller, server, priority)?,
            PaprCall::Ipoll { server } => {
                let (_, slot) = self.sibling(caller, server).ok_or(code::PARAMETER)?;
                let Status { interrupts, .. } = *slot.status.lock();
                caller.frame.gpr[4] = interrupts.peek().into();
                caller.frame.gpr[5] = interrupts.request.into();
            }
            PaprCall::Cede {} => self.cede(caller),
            // A guest reads dispatch counts in an area that H_REGISTER_VPA would give it, so none
            // can be stale here.
            PaprCall::Confer { server: u64::MAX, .. } => self.yield_now(caller.processor),
            PaprCall::Confer { server, .. } => {
                let (vcpu, _) = self.sibling(caller, server).ok_or(code::PARAMETER)?;
                self.yield_to(caller.processor, vcpu);
            }
            PaprCall::Prod { server } => {
                self.wake(self.sibling(caller, server).ok_or(code::PARAMETER)?.0);
            }
            PaprCall::SetMode {
                resource: mode::ENDIAN,
                flags: flags @ ..=mode::LITTLE,
                value1: 0,
                value2: 0,
            } => {
                let little = flags == mode::LITTLE;
                self.machine.set_interrupt_endian(little);
                if let Some(domain) = self.domain(caller.current.domain).as_mut() {
                    domain.little_endian_interrupts = little;
                }
            }
            PaprCall::RegisterProcessTable {
                flags: NEW_RADIX_TABLE,
                base,
                page_size: 0,
                table_size: table_size @ ..=LARGEST_TABLE,
            } => self.register_process_table(caller, base, table_size)?,
            PaprCall::GetTermChar { .. }
            | PaprCall::PutTermChar { .. }
            | PaprCall::SetMode { resource: mode::ENDIAN, .. }
            | PaprCall::RegisterProcessTable { .. } => return Err(code::PARAMETER),
            // Interrupts in translated mode (resource 3) would reach the hypervisor that way too
            // on POWER9 (docs/hypervisor.md, "Real mode for ever"); breakpoints are not offered.
            PaprCall::SetMode { .. } => return Err(code::P2),
            PaprCall::Rtas { arguments } => self.rtas(caller, arguments)?,
            PaprCall::VioSignal { .. }
            | PaprCall::RegisterLogicalLan { .. }
            | PaprCall::FreeLogicalLan { .. }
            | PaprCall::AddLogicalLanBuffer { .. }
            | PaprCall::SendLogicalLan { .. }
            | PaprCall::MulticastCtrl { .. }
            | PaprCall::ChangeLogicalLanMac { .. } => self.lan_call(caller, call)?,
        }
        Ok(())
    }

    fn get_characters(&self, caller: &mut Caller<'_>) {
        let channel = caller.current.domain.channel();
        let mut characters = [0; CHARACTERS];
        let count = self.console.lock().read(&self.machine, channel, &mut characters);
        let both = u128::from_be_bytes(characters);
        caller.frame.gpr[4] = count as u64;
        caller.frame.gpr[5] = (both >> 64) as u64;
        caller.frame.gpr[6] = both as u64;
    }

    /// Writes the first of these characters, of which the most significant byte is the first.
    fn put_characters(&self, caller: &Caller<'_>, count: u64, both: u128) -> Result<(), i64> {
        let (count, characters) = (usize::try_from(count), both.to_be_bytes());
        let text = count.ok().and_then(|count| characters.get(..count)).ok_or(code::PARAMETER)?;
        self.console.lock().write(&self.machine, caller.current.domain.channel(), text);
        Ok(())
    }

    /// Changes the caller's own interrupt controller.
    fn own_interrupts(&self, caller: &Caller<'_>, change: impl FnOnce(&mut Presentation)) {
        let slot = self.vcpu(caller.current.vcpu);
        let mut status = slot.status.lock();
        change(&mut status.interrupts);
        if status.interrupts.pending() {
            slot.ask(Ask::INTERRUPT);
        }
    }

    fn ask_interrupt(&self, caller: &Caller<'_>, server: u64, priority: u64) -> Result<(), i64> {
        let (vcpu, slot) = self.sibling(caller, server).ok_or(code::PARAMETER)?;
        let pending = {
            let mut status = slot.status.lock();
            status.interrupts.request(priority);
            status.interrupts.pending()
        };
        if pending {
            self.notify(vcpu, Ask::INTERRUPT);
        }
        Ok(())
    }

    /// Enables interrupts and blocks until one is there. One that waits is asked of the vCPU, and who
    /// has something to see to does not block.
    fn cede(&self, caller: &mut Caller<'_>) {
        caller.frame.msr |= msr::EE;
        self.block(caller.processor, self.machine.guest_deadline());
    }

    fn register_process_table(
        &self,
        caller: &Caller<'_>,
        base: GuestAddr,
        size: u64,
    ) -> Result<(), i64> {
        let id = caller.current.domain;
        let slot = self.domain(id);
        let memory = &slot.as_ref().ok_or(code::PARAMETER)?.memory;
        let bytes = 0x1000_u64 << size;
        let fits = base.checked_add(bytes).is_some_and(|end| end.value() <= memory.size());
        if !fits || !base.is_aligned(bytes) {
            drop(slot);
            let why = "the table is not the domain's memory";
            self.refused(caller, "h_register_process_table", why);
            return Err(code::PARAMETER);
        }
        let partition = Partition(id.number().into());
        let entry = [memory.partition_entry(), base.value() | size];
        self.machine.set_partition(partition, entry);
        self.machine.flush_partition(partition);
        Ok(())
    }

    /// The vCPU of the caller's domain with this number.
    pub(super) fn sibling(&self, caller: &Caller<'_>, server: u64) -> Option<(VcpuId, &Vcpu)> {
        let index = usize::try_from(server).ok()?;
        let vcpu = *self.vcpus_of(caller.current.domain).get(index)?;
        Some((vcpu, self.vcpu(vcpu)))
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
