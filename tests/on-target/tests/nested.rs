//! The hypervisor as a guest of another: what bare metal passes, on both processors.

use k42_tests::{KERNELS, Model, NESTED};
use libtest_mimic::Trial;

use crate::{diagnostics, isolation, k42, linux, test};

pub fn tests() -> Vec<Trial> {
    let mut tests = isolation::hostile(Model::Pseries9, "nested::pseries9::isolation");
    tests.extend(diagnostics::reports(Model::Pseries9, "nested::pseries9::diagnostics"));
    for model in NESTED {
        let name = |what: &str| format!("nested::{}::{what}", model.name());
        for kernel in KERNELS {
            let title = name(&format!("{kernel}_to_shell_and_power_off"));
            tests.push(test(title, move || linux::shell(model, kernel)));
        }
        tests
            .push(test(name("output_and_exit_status"), move || k42::output_and_exit_status(model)));
        tests.push(test(name("two_vcpus"), move || linux::two_vcpus(model)));
        tests.push(test(name("two_run_at_once"), move || linux::two_processors(model)));
    }
    tests
}
