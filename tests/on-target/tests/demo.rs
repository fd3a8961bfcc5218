//! The demonstration: what `make run` boots.

use k42_tests::{Description, Ending, Machine};
use libtest_mimic::Trial;

use crate::test;

pub fn tests() -> Vec<Trial> {
    vec![test("demo::all_three_are_alive_at_once", all_alive)]
}

fn all_alive() -> anyhow::Result<()> {
    let file = k42::files::top().join("domains/demo.toml");
    let mut description = Description::load(&file)?;
    description.name = "test-demo".into();
    let mut machine = Machine::boot(&description)?;

    machine.console("linux").expect("^linux:~# ")?;
    machine.console("calculator").expect("^type a sum")?;
    machine.console("clock").expect("^up for 5 s")?;

    machine.console("calculator").line("6 * 7");
    machine.console("calculator").expect("= 42$")?;
    machine.console("linux").line("echo $((5 * 5))");
    machine.console("linux").expect("^25$")?;

    // Linux ends, and nothing else with it.
    machine.console("linux").line("poweroff");
    machine.console("linux").ends_with(&Ending::PowerOff)?;
    machine.console("calculator").line("1000 + 1");
    machine.console("calculator").expect("= 1001$")?;
    machine.console("clock").expect("^up for .* s")?;
    machine.console("clock").lives()?;

    machine.console("calculator").end_input();
    machine.console("calculator").ends_with(&Ending::Exit(0))
}
