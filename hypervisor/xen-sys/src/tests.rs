//! Is this Xen's interface? Every number and structure that the crate declares is compared with
//! two sources, each read its own way:
//!
//! * Debian's `libxen-dev`: a C program of constant expressions is compiled for ppc64le, but with
//!   the choices that the headers make for 64-bit Arm, and never run: the values stand in its
//!   assembly.
//! * the registry's crate `xen-sys`, a pre-release of 2021 for x86-64 and aarch64. It cannot be a
//!   dependency here: on our host it offers the x86-64 layout only. So the test has cargo fetch it
//!   and reads the aarch64 bindings, which were generated from Xen's headers: the constants, and
//!   the layouts that the generator asserts. They cover xen.h, event_channel.h and sched.h.

use std::format;
use std::io::Write;
use std::process::{Command, Stdio};
use std::string::String;
use std::vec::Vec;

/// A structure as this crate lays it out.
pub(crate) struct Structure {
    /// Its name in C.
    pub(crate) c: &'static str,
    /// Its size.
    pub(crate) size: usize,
    /// Names, offsets and sizes of its fields.
    pub(crate) fields: &'static [(&'static str, usize, usize)],
}

impl Structure {
    /// The fields that C has too, by their names there.
    fn c_fields(&self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        let named = self.fields.iter().filter(|(name, ..)| !name.starts_with('_'));
        named.map(|&(name, offset, size)| (name.trim_start_matches("r#"), offset, size))
    }
}

macro_rules! all {
    ($list:ident: $($module:ident)*) => { [ $( crate::$module::$list ),* ].concat() };
}

fn numbers() -> Vec<(&'static str, i64)> {
    all!(NUMBERS: errno xen version sched vcpu event_channel memory grant_table hvm domctl sysctl trace)
}

fn structures() -> Vec<&'static Structure> {
    let modules = [
        crate::xen::STRUCTURES,
        crate::sched::STRUCTURES,
        crate::vcpu::STRUCTURES,
        crate::event_channel::STRUCTURES,
        crate::memory::STRUCTURES,
        crate::grant_table::STRUCTURES,
        crate::hvm::STRUCTURES,
        crate::domctl::STRUCTURES,
        crate::sysctl::STRUCTURES,
        crate::trace::STRUCTURES,
    ];
    modules.into_iter().flatten().collect()
}

/// Everything the crate declares, as constant expressions of C with the values they have here.
fn expressions() -> Vec<(String, i64)> {
    let mut all: Vec<_> =
        numbers().into_iter().map(|(c, value)| (String::from(c), value)).collect();
    for structure in structures() {
        let c = structure.c;
        all.push((format!("sizeof({c})"), structure.size as i64));
        for (field, offset, size) in structure.c_fields() {
            all.push((format!("offsetof({c}, {field})"), offset as i64));
            all.push((format!("sizeof((({c} *)0)->{field})"), size as i64));
        }
    }
    all
}

/// What the headers of `libxen-dev` make of constant expressions.
fn values_in_c(expressions: &[(String, i64)]) -> Vec<i64> {
    assert!(
        std::path::Path::new("/usr/include/xen/xen.h").exists(),
        "Xen's headers are missing: install Debian's package libxen-dev, or `make setup`"
    );
    let mut program = String::from(
        "#include <stddef.h>\n#include <stdint.h>\n#include <xen/xen.h>\n#include <xen/errno.h>\n\
         #include <xen/version.h>\n#include <xen/sched.h>\n\
         #include <xen/vcpu.h>\n#include <xen/event_channel.h>\n#include <xen/memory.h>\n\
         #include <xen/grant_table.h>\n#include <xen/hvm/hvm_op.h>\n#include <xen/hvm/params.h>\n\
         #include <xen/domctl.h>\n#include <xen/sysctl.h>\n#include <xen/trace.h>\nvoid values(void) {\n",
    );
    for (expression, _) in expressions {
        let line =
            format!("__asm__ volatile(\"=value %0\" :: \"i\"((long long)({expression})));\n");
        program.push_str(&line);
    }
    program.push_str("}\n");

    let mut compiler = Command::new("powerpc64le-linux-gnu-gcc")
        // Arm's choices, and the latest form of each structure.
        .args(["-D__aarch64__", "-D__XEN_TOOLS__"])
        .arg("-D__XEN_INTERFACE_VERSION__=__XEN_LATEST_INTERFACE_VERSION__")
        // The compiler's own headers first; of the host's, only Xen's are meant.
        .args(["-ffreestanding", "-idirafter", "/usr/include"])
        .args(["-x", "c", "-S", "-o", "-", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the cross compiler is missing: install Debian's gcc-powerpc64le-linux-gnu");
    let mut input = compiler.stdin.take().expect("a pipe was asked for");
    input.write_all(program.as_bytes()).expect("the compiler reads its program");
    drop(input);
    let output = compiler.wait_with_output().expect("the compiler ends");
    assert!(
        output.status.success(),
        "Xen's headers do not know all of this; see the messages above"
    );
    let assembly = String::from_utf8(output.stdout).expect("assembly is text");
    let values = assembly.lines().filter_map(|line| line.trim().strip_prefix("=value "));
    values.map(|value| value.parse().expect("a number")).collect()
}

#[test]
fn bytes_are_little_endian_and_in_the_order_of_the_fields() {
    use crate::grant_table::GrantCopy;
    use crate::plain::{Field, Plain};
    let bytes: [u8; size_of::<GrantCopy>()] = core::array::from_fn(|n| n as u8);
    let copy = GrantCopy::take(&mut bytes.as_slice());
    assert_eq!((copy.source.u, copy.source.domid), (0x0706_0504_0302_0100, 0x0908));
    assert_eq!((copy.dest.offset, copy.len, copy.status), (0x1b1a, 0x2120, 0x2524));
    assert_eq!(copy.bytes(), bytes);
    assert_eq!(GrantCopy::zero().bytes(), [0; size_of::<GrantCopy>()]);
}

#[test]
fn numbers_and_layouts_are_those_of_debians_headers() {
    let ours = expressions();
    let theirs = values_in_c(&ours);
    assert_eq!(ours.len(), theirs.len());
    let wrong: Vec<_> =
        ours.iter().zip(theirs).filter(|((_, ours), theirs)| ours != theirs).collect();
    assert!(wrong.is_empty(), "((expression, here), in Xen): {wrong:#?}");
}

/// The registry's aarch64 bindings, with every run of white space made one space.
fn registry_bindings() -> String {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest])
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo could not fetch the registry's xen-sys");
    let metadata = String::from_utf8(output.stdout).expect("metadata is text");
    let folder = metadata
        .split("\"manifest_path\":\"")
        .filter_map(|rest| rest.split("/Cargo.toml\"").next())
        .find(|path| path.ends_with("/xen-sys-0.0.0-pre2"))
        .expect("the registry's xen-sys is among the packages");
    let bindings = std::fs::read_to_string(format!("{folder}/src/aarch64/bindgen.rs"));
    let bindings = bindings.expect("it has aarch64 bindings");
    bindings.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The bindings were made for no version of the interface in particular, that is for the oldest, in
/// which `flags` was not yet taken from this padding.
const OLDER_IN_THE_REGISTRY: &str = "offset of vcpu_time_info.pad1";

/// The number between `before`, wherever that stands, and `after`.
fn number_between(text: &str, before: &str, after: &str) -> Option<i64> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after)?.0.trim().parse().ok()
}

#[test]
fn numbers_and_layouts_are_those_of_the_registrys_crate() {
    let bindings = registry_bindings();
    let (mut compared, mut wrong) = (0, Vec::new());
    let mut compare = |what: String, ours: i64, theirs: Option<i64>| {
        // What the bindings do not have is not held against us; too little of it is, below.
        if let Some(theirs) = theirs {
            compared += 1;
            if ours != theirs && what != OLDER_IN_THE_REGISTRY {
                wrong.push((what, ours, theirs));
            }
        }
    };
    for (c, ours) in numbers() {
        let theirs = number_between(&bindings, &format!("pub const {c}: u32 ="), ";");
        compare(String::from(c), ours, theirs);
    }
    for structure in structures() {
        let name = structure.c.trim_start_matches("struct ");
        let theirs = number_between(&bindings, &format!("size_of::<{name}>(), "), "usize");
        compare(format!("sizeof {name}"), structure.size as i64, theirs);
        for (field, ours, _) in structure.c_fields() {
            let before = format!("null::<{name}>())).{field} as *const _ as usize }}, ");
            let theirs = number_between(&bindings, &before, "usize");
            compare(format!("offset of {name}.{field}"), ours as i64, theirs);
        }
    }
    assert!(wrong.is_empty(), "(what, here, in the registry's crate): {wrong:#?}");
    assert!(compared >= 90, "only {compared} things found in the registry's crate to compare with");
}
