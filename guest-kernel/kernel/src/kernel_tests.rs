//! The whole kernel on the fake machine, with scripted users.

use super::*;
use crate::fake::Fake;
use crate::machine::Machine;
use alloc::sync::Arc;
use alloc::vec::Vec;
use k42_lib::EffAddr;
use k42_lib::vector;
use kernel_abi::{protection, region};
use proptest::prelude::*;

const LIBRARY: u64 = 0x1000_7000_0000;

struct World {
    machine: Arc<Fake>,
    vcpu: Vcpu,
    kernel: Kernel,
    context: Context,
}

fn boot(script: Vec<crate::fake::User>) -> World {
    let (machine, memory) = Fake::with_frames(32, 1);
    let library = machine.place_image(b"library segment.");
    let files = machine.place_image(b"the files").value();
    let tree = crate::boot_info::tests::device_tree(library.value(), LIBRARY, (files, files + 9));
    let at = machine.place_image(&tree);
    let tree = fdt::Fdt::new(&tree).unwrap();
    let boot = BootInfo::read(&tree, at).unwrap();
    machine.state().script = script.into();
    let vcpu = k42_object::vcpus(1).remove(0);
    let (kernel, context) = Kernel::new(&vcpu.enter(), memory, &boot, 0x4e_1202).unwrap();
    World { machine, vcpu, kernel, context }
}

fn run(script: Vec<crate::fake::User>) -> (u8, alloc::string::String) {
    let World { machine, vcpu, kernel, mut context } = boot(script);
    let status = kernel.run(&vcpu, &mut context);
    let state = machine.state();
    assert!(state.script.is_empty());
    (status, state.output.clone())
}

fn call(context: &mut Context, number: u64, arguments: &[u64]) {
    context.vector = vector::SYSTEM_CALL.into();
    context.gpr[0] = number << 16;
    context.gpr[3..3 + arguments.len()].copy_from_slice(arguments);
}

fn data_fault(context: &mut Context, at: u64, store: bool) {
    context.vector = vector::DATA_STORAGE.into();
    context.fault_address = at;
    context.fault_cause = if store { 0x4200_0000 } else { 0x4000_0000 };
}

#[test]
fn the_library_finds_its_stack_its_files_and_its_device_tree() {
    let (status, _) = run(alloc::vec![
        |_, _, context| data_fault(context, context.gpr[1], true),
        |machine, space, context| {
            assert_eq!(context.next, LIBRARY + 8);
            assert_eq!((context.gpr[6], context.gpr[7]), (9, 0x4e_1202));
            let stack = EffAddr::new(context.gpr[1]);
            assert!(machine.user_access(space, stack, Access::WRITE).is_some());
            data_fault(context, context.gpr[5], false);
        },
        |machine, space, context| {
            let files = EffAddr::new(context.gpr[5]);
            let at = machine.user_access(space, files, Access::READ).unwrap();
            let mut bytes = [0; 9];
            machine.load_bytes(at, &mut bytes);
            assert_eq!(&bytes, b"the files");
            assert!(machine.user_access(space, files, Access::WRITE).is_none());
            call(context, 8, &[0x103]);
        },
    ]);
    assert_eq!(status, 3);
}

#[test]
fn a_domain_too_small_is_refused() {
    let (machine, memory) = Fake::with_frames(0, 1);
    let at = machine.place_image(&crate::boot_info::tests::device_tree(0, LIBRARY, (0, 9)));
    let mut tree = alloc::vec![0; PAGE_SIZE as usize];
    machine.load_bytes(at, &mut tree);
    let boot = BootInfo::read(&fdt::Fdt::new(&tree).unwrap(), at).unwrap();
    let vcpu = k42_object::vcpus(1).remove(0);
    let refused = Kernel::new(&vcpu.enter(), memory, &boot, 0x4e_1202).err();
    assert_eq!(refused, Some("the domain's memory is too small"));
}

#[test]
fn an_offence_is_one_line_and_a_status() {
    let (status, output) = run(alloc::vec![|_, _, context| {
        context.link = 0x44;
        data_fault(context, 0xdead_0000, true);
    }]);
    assert_eq!(status, 128 + 11);
    assert_eq!(
        output,
        "/bin/test: segmentation fault at 0xdead0000 (instruction 0x100070000008, link 0x44)\n"
    );
}

#[test]
fn the_stack_has_a_red_zone() {
    let (status, _) = run(alloc::vec![|_, _, context| {
        let below = context.gpr[1] - layout::LIBRARY_STACK_SIZE;
        data_fault(context, below, true);
    }]);
    assert_eq!(status, 139);
}

#[test]
fn regions_come_and_go_and_bad_arguments_are_errors() {
    let (status, _) = run(alloc::vec![
        |_, _, c| call(
            c,
            5,
            &[0x1000_0000, 0x2_0000, protection::READ, region::EXACT | region::FILE, 4, 5]
        ),
        |_, _, context| {
            assert_eq!(context.gpr[3], 0x1000_0000);
            data_fault(context, 0x1000_0000, false);
        },
        |machine, space, context| {
            let at = machine.user_access(space, EffAddr::new(0x1000_0000), Access::READ).unwrap();
            let mut bytes = [0; 6];
            machine.load_bytes(at, &mut bytes);
            assert_eq!(&bytes, b"files\0");
            call(context, 5, &[0x1000_0000, 0x1_0000, protection::READ, region::EXACT, 0, 0]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::Exists.to_register());
            call(context, 6, &[0x1000_0000, 0x2_0000]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], 0);
            call(context, 5, &[0, 0x1_0000, 1, region::FILE, u64::MAX, 2]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::Invalid.to_register());
            call(context, 5, &[0, u64::MAX, 1, 0, 0, 0]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::NoMemory.to_register());
            call(context, 6, &[LIBRARY, 0x1_0000]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::NotPermitted.to_register());
            call(context, 77, &[]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::NoSuchCall.to_register());
            call(context, 8, &[0]);
        },
    ]);
    assert_eq!(status, 0);
}

#[test]
fn the_console_takes_and_gives_bytes_and_refuses_bad_pointers() {
    let World { machine, vcpu, kernel, mut context } = boot(alloc::vec![
        |_, _, context| call(context, 2, &[layout::ROOT_FILE_SYSTEM.value() + 4, 5]),
        |_, _, context| {
            assert_eq!(context.gpr[3], 5);
            call(context, 2, &[0xffff_ffff_ffff_fff0, 32]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::Fault.to_register());
            call(context, 3, &[layout::ROOT_FILE_SYSTEM.value(), 4, 0]);
        },
        |_, _, context| {
            assert_eq!(context.gpr[3], Error::Fault.to_register());
            call(context, 3, &[context.gpr[1], 4, 1000]);
        },
        |machine, _, context| {
            assert_eq!((context.gpr[3], machine.state().time), (2, 0));
            call(context, 3, &[context.gpr[1], 4, 1000]);
        },
        |machine, _, context| {
            assert_eq!((context.gpr[3], machine.state().time), (0, 1000));
            call(context, 9, &[layout::ROOT_FILE_SYSTEM.value(), 12]);
        },
        |_, _, context| call(context, 8, &[7]),
    ]);
    machine.state().input.extend(b"ok");
    assert_eq!(kernel.run(&vcpu, &mut context), 7);
    assert_eq!(machine.state().output, "files/bin/test: the files???\n");
}

/// An argument: small, a place of the user's or of the system's, or anything.
fn argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..8,
        (0u64..64).prop_map(|page| 0x1000_0000 + page * PAGE_SIZE),
        (0u64..16).prop_map(|pages| pages * PAGE_SIZE),
        Just(LIBRARY),
        Just(layout::ROOT_FILE_SYSTEM.value()),
        Just(layout::LIBRARY_STACK_TOP.value() - 300),
        Just(u64::MAX),
        any::<u64>(),
    ]
}

proptest! {
    /// Whatever a program asks of the kernel, it gets an answer; and the system's regions stay.
    #[test]
    fn no_native_call_harms_the_kernel(
        calls in prop::collection::vec((1u64..11, prop::array::uniform6(argument())), 1..100)
    ) {
        let World { machine, vcpu, kernel, .. } = boot(Vec::new());
        let here = vcpu.enter();
        for (number, arguments) in calls {
            if let Some(call) = Call::decode(number << 16, arguments) {
                kernel.native_call(&here, call);
            }
            // A program that touches what it was given.
            let _ = kernel.user_store(&here, &machine, arguments[0], &[1]);
        }
        let mut byte = [0];
        prop_assert!(kernel.user_load(&here, &machine, LIBRARY, &mut byte).is_ok());
        prop_assert_eq!(&byte, b"l");
        prop_assert!(kernel.user_store(&here, &machine, LIBRARY, &byte).is_err());
    }
}

#[test]
fn a_fault_is_traced_from_object_to_object() {
    use alloc::boxed::Box;
    use k42_lib::trace::events;
    use k42_lib::trace::read::{Found, Snapshot};
    use k42_object::trace::Buffer;
    let World { vcpu, kernel, mut context, .. } = boot(alloc::vec![
        |_, _, context| data_fault(context, context.gpr[1], true),
        |_, _, context| data_fault(context, 0x10, false),
    ]);
    let buffer: &Buffer = Box::leak(Box::default());
    buffer.switch(events::mask("mem,trap,process").unwrap());
    buffer.start(0, 0, "test");
    vcpu.trace_to(buffer);
    assert_eq!(kernel.run(&vcpu, &mut context), 128 + 11);
    let words: Vec<u64> = buffer.copy().collect();
    let snapshot = Snapshot::new(&words).unwrap();
    let mut names = Vec::new();
    for found in snapshot.sub_buffers(0).flat_map(|sub| sub.records()) {
        let Found::Event(record) = found else { panic!("{found:?}") };
        names.push(record.event().expect("it is declared").name);
    }
    names.retain(|name| *name != "frame_allocated");
    let fault = ["fault_start", "process", "region", "fcm", "hat", "fault_end"];
    let before = ["create", "switch", "resume", "trap"];
    let after = ["resume", "trap", "fault_start", "fault_end", "exit"];
    assert_eq!(names, [&before[..], &fault, &after].concat());
}
