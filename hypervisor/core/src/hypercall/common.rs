//! The calls that both personalities have, by PAPR's tokens: a guest's own translation, and the
//! logical LAN (`lan`).

use super::{Caller, Coded};
use crate::Hypervisor;
use crate::machine::{Machine, Partition};
use hv_abi::CommonCall;
use hv_abi::common::code;
use k42_lib::GuestAddr;

/// H_REGISTER_PROC_TBL flags: a new radix process table, the guest does its own TLB invalidations.
const NEW_RADIX_TABLE: u64 = 0x1d;
/// log2 of the largest process table, less 12.
const LARGEST_TABLE: u64 = 12;

impl<M: Machine> Hypervisor<M> {
    /// Serves a call that is numbered by a token. Out of line, so that Xen's short calls do not make
    /// room for so many arguments.
    #[inline(never)]
    pub(super) fn token_call(&self, caller: &mut Caller<'_>, token: u64) -> Coded {
        let Some(call) = CommonCall::decode(token, &caller.arguments()) else {
            return self.papr_call(caller, token);
        };
        self.permit(caller, call.name(), call.right())?;
        match call {
            CommonCall::RegisterProcessTable {
                flags: NEW_RADIX_TABLE,
                base,
                page_size: 0,
                table_size: table_size @ ..=LARGEST_TABLE,
            } => self.register_process_table(caller, base, table_size),
            CommonCall::RegisterProcessTable { .. } => Err(code::PARAMETER),
            lan => self.lan_call(caller, lan),
        }
    }

    fn register_process_table(&self, caller: &Caller<'_>, base: GuestAddr, size: u64) -> Coded {
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
}
