//! The machine that `hypervisor/core` runs on, in terms of registers, storage and firmware.

use crate::context::SLOTS;
use crate::{opal, tlb};
use core::arch::asm;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering};
use hv_core::{
    Fault, Frame, InterruptMode, MAX_PROCESSORS, Machine, Partition, ProcessorId, Start, VcpuId,
};
use hv_power::storage::RealStorage;
use hv_power::{mode, partition, spr};
use k42_lib::{EffAddr, GuestAddr, msr, vector};

/// Bare metal. There is one.
pub(crate) struct PowerNv;

/// The processors' hardware numbers (PIR).
pub(crate) static PIRS: [AtomicU32; MAX_PROCESSORS] = [const { AtomicU32::new(0) }; MAX_PROCESSORS];

/// msgsnd type 5: the directed hypervisor doorbell, to the thread in the low bits.
const HYPERVISOR_DOORBELL: u64 = 5 << 27;

fn doorbell(pir: u32) {
    let message = HYPERVISOR_DOORBELL | u64::from(pir);
    // SAFETY: a doorbell (msgsnd r3) makes a processor exit or wake; it reads nothing of memory.
    unsafe {
        asm!("sync", ".long 0x7c00019c | 3 << 11", in("r3") message, options(nostack, preserves_flags))
    };
}

impl Deref for PowerNv {
    type Target = RealStorage;

    fn deref(&self) -> &RealStorage {
        &RealStorage
    }
}

impl Machine for PowerNv {
    fn timebase(&self) -> u64 {
        spr::read::<{ spr::TIMEBASE }>()
    }

    fn random(&self) -> Option<u64> {
        hv_power::random::number()
    }

    fn set_partition(&self, partition: Partition, entry: [u64; 2]) {
        partition::set(partition, entry);
    }

    fn flush_partition(&self, partition: Partition) {
        tlb::invalidate_partition(partition.0.into());
    }

    fn holder(&self, vcpu: VcpuId) -> Option<ProcessorId> {
        SLOTS.holder(vcpu)
    }

    fn install(&self, vcpu: VcpuId, start: &Start) {
        SLOTS.install(vcpu, start);
    }

    fn set_interrupt_mode(&self, mode: InterruptMode) -> bool {
        // POWER9 would deliver the hypervisor's own interrupts translated, too.
        let possible = !mode.translated || spr::read::<{ spr::PVR }>() >> 16 != spr::POWER9;
        if possible {
            spr::write::<{ spr::LPCR }>(mode::set(spr::read::<{ spr::LPCR }>(), mode));
        }
        possible
    }

    fn interrupt_mode(&self) -> InterruptMode {
        mode::of(spr::read::<{ spr::LPCR }>())
    }

    fn set_interrupted_state(&self, nip: u64, msr: u64) {
        spr::write::<{ spr::SRR0 }>(nip);
        spr::write::<{ spr::SRR1 }>(msr);
    }

    fn interrupted_state(&self) -> [u64; 4] {
        let (srr0, srr1) = (spr::read::<{ spr::SRR0 }>(), spr::read::<{ spr::SRR1 }>());
        [srr0, srr1, spr::read::<{ spr::DAR }>(), spr::read::<{ spr::DSISR }>()]
    }

    fn registers(&self, vcpu: VcpuId) -> Option<Frame> {
        SLOTS.look(vcpu, |context| context.frame)
    }

    fn guest_deadline(&self) -> u64 {
        spr::deadline()
    }

    fn fault(&self, vector: u16) -> Fault {
        let (effective, status) = match vector {
            vector::HYPERVISOR_INSTRUCTION_STORAGE => (
                spr::read::<{ spr::HSRR0 }>(),
                spr::read::<{ spr::HSRR1 }>() & msr::SRR1_INFORMATION,
            ),
            _ => (spr::read::<{ spr::HDAR }>(), spr::read::<{ spr::HDSISR }>()),
        };
        let effective = EffAddr::new(effective);
        // The low bits of ASDR are the effective address's own on hardware; QEMU gives both.
        let page = GuestAddr::new(spr::read::<{ spr::ASDR }>()).align_down(1 << 12);
        Fault { effective, guest: page.offset(effective.offset_in(1 << 12)), status }
    }

    fn request_window(&self) {
        // On QEMU a hypervisor doorbell waits until the guest enables interrupts: a window exit.
        // (On hardware it arrives at once, and LPCR[MER] would be the way.)
        doorbell(spr::read::<{ spr::PIR }>() as u32);
    }

    fn ring(&self) {
        spr::write::<{ spr::DPDES }>(1);
    }

    fn set_alarm(&self, at: u64) {
        let left = at.saturating_sub(self.timebase()).max(1);
        spr::write::<{ spr::HDEC }>(left.min(i32::MAX as u64));
    }

    fn wait(&self) {
        // SAFETY: with PSSCR zero `stop` keeps all state and goes on at the next instruction when
        // an interrupt is due; `msgclr` takes back the doorbell that may have ended it.
        unsafe {
            asm!(
                ".long 0x4c0002e4", // stop
                ".long 0x7c0001dc | 3 << 11", // msgclr r3
                in("r3") HYPERVISOR_DOORBELL,
                options(nostack, preserves_flags)
            );
        }
    }

    fn kick(&self, processor: ProcessorId) {
        let Some(pir) = PIRS.get(processor.0 as usize) else { return };
        let pir = pir.load(Ordering::Acquire);
        if pir != spr::read::<{ spr::PIR }>() as u32 {
            doorbell(pir);
        }
    }

    fn console_write(&self, bytes: &[u8]) {
        opal::console_write(bytes);
    }

    fn console_read(&self, into: &mut [u8]) -> usize {
        opal::console_read(into)
    }

    fn power_off(&self) -> ! {
        opal::power_off()
    }
}
