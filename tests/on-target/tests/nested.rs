//! The hypervisor as a guest of another: what bare metal passes, on both processors. What takes
//! long there is in `stress.rs`.

use k42_tests::{KERNELS, NESTED};
use libtest_mimic::Trial;

use crate::{diagnostics, events, isolation, k42, linux, test};

pub fn tests() -> Vec<Trial> {
    let mut tests = Vec::new();
    for model in NESTED {
        let group = format!("nested::{}", model.name());
        let name = |what: &str| format!("{group}::{what}");
        for kernel in KERNELS {
            let title = name(&format!("{kernel}_to_shell_and_power_off"));
            tests.push(test(title, move || linux::shell(model, kernel)));
        }
        tests
            .push(test(name("output_and_exit_status"), move || k42::output_and_exit_status(model)));
        tests.push(test(name("input_to_its_end"), move || k42::input_to_its_end(model)));
        tests.push(test(name("two_vcpus"), move || linux::two_vcpus(model)));
        tests.push(test(name("two_run_at_once"), move || linux::two_processors(model)));
        tests.push(test(name("events_there_and_back"), move || events::there_and_back(model)));
        tests.extend(isolation::hostile(model, &name("isolation")));
        tests.extend(diagnostics::reports(model, &name("diagnostics")));
    }
    tests
}
