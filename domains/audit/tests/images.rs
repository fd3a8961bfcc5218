//! The built images: no floating point or vectors where a guest's registers stay live, and sizes.
#![allow(missing_docs)]

use k42_audit::image::disassemble;
use k42_audit::specification::budget;
use k42_audit::stack::Calls;

#[test]
fn the_hypervisor_leaves_vector_registers_alone_but_in_the_switch() {
    for name in ["hypervisor", "hypervisor-nested"] {
        let code = disassemble(name).unwrap();
        assert!(code.len() > 5_000, "{} instructions are no hypervisor", code.len());
        let (switch, rest): (Vec<_>, Vec<_>) =
            code.iter().partition(|i| i.function == "vsx_save" || i.function == "vsx_load");
        assert!(
            switch.iter().filter(|i| i.uses_vectors()).count() > 128,
            "the check finds none at all"
        );
        let wrong: Vec<_> = rest.iter().filter(|i| i.uses_vectors()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn kernel_and_system_library_leave_vector_registers_alone() {
    for name in ["guest-kernel", "linux-compat"] {
        let wrong: Vec<_> =
            disassemble(name).unwrap().into_iter().filter(|i| i.uses_vectors()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

/// The kernel finds its vCPU's block by r13: but for its assembly, code copies that and does no more.
#[test]
fn the_compiler_leaves_r13_to_the_kernel() {
    let assembly = include_str!("../../../guest-kernel/arch/src/entry.s");
    for name in ["guest-kernel", "ktest-guest"] {
        let code = disassemble(name).unwrap();
        let uses =
            code.iter().filter(|i| i.text.split([' ', '\t', ',', '(', ')']).any(|w| w == "r13"));
        let (assembled, compiled): (Vec<_>, Vec<_>) =
            uses.partition(|i| assembly.contains(&format!("\n{}:\n", i.function)));
        assert!(assembled.len() > 50 && !compiled.is_empty(), "the check finds nothing in {name}");
        let wrong: Vec<_> = compiled
            .iter()
            .filter(|i| !(i.text.starts_with("mr ") && i.text.ends_with(",r13")))
            .collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
}

#[test]
fn the_hypervisor_image_is_small() {
    for name in ["hypervisor", "hypervisor-nested"] {
        let bytes = k42_audit::image::loaded_bytes(name).unwrap();
        assert!(bytes <= budget("hypervisor-image-bytes").unwrap(), "{name}: {bytes} bytes");
    }
}

#[test]
fn what_works_at_boot_is_out_of_a_guests_reach() {
    for (image, _) in k42_audit::IMAGES {
        let calls = Calls::new(&k42_audit::image::functions(image).unwrap());
        let all = calls.names();
        let after = calls.after_boot();
        assert!(after.len() > 50 && after.len() < all.len(), "{} of {}", after.len(), all.len());
        for (file, module) in k42_audit::AT_BOOT {
            assert!(k42_audit::root().join(file).exists(), "there is no {file}: mend the list");
            let reached: Vec<_> = after.iter().filter(|name| name.contains(module)).collect();
            assert!(reached.is_empty(), "{image}: {file} runs after boot: {reached:?}");
        }
        let guests: Vec<_> = all.iter().filter(|name| name.contains("hv_abi::guest")).collect();
        assert!(guests.is_empty(), "{image} has what is for guests: {guests:?}");
        let found = all.iter().any(|name| name.contains("boot_archive::read::"));
        assert!(found, "the check finds nothing in {image}");
    }
}

#[test]
fn stacks_are_deep_enough() {
    let (table, bytes) =
        k42_audit::stack::measure(&k42_audit::image::functions("hypervisor").unwrap());
    assert!(bytes <= budget("hypervisor-stack-bytes").unwrap(), "{bytes} bytes\n{table}");
    assert!(budget("hypervisor-stack-bytes").unwrap() < k42_audit::stack::STACK);
    assert_eq!(table.rows.len(), 6, "an entry path has another name\n{table}");
}
