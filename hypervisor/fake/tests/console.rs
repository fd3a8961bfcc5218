//! The serial line by itself: both styles, and what happens when more comes than is taken.
#![allow(missing_docs)]

use boot_archive::Personality;
use hv_core::Frame;
use hv_core::console::{Console, Style};
use hv_fake::{Board, Fake, Guest};
use k42_lib::vector;
use k42_wire::Channel;
use k42_wire::frame::INPUT_WINDOW;

fn channel(number: u8) -> Channel {
    Channel::new(number).unwrap()
}

#[test]
fn plain_lines_carry_the_domains_name() {
    let machine = Fake::new(1);
    let mut console = Console::new();
    console.set_style(Style::Plain);
    console.set_name(channel(1), "one");
    console.set_name(channel(2), "two");
    console.write(&machine, channel(1), b"hello\n");
    console.write(&machine, channel(2), b"prompt> ");
    console.flush_all(&machine);
    console.write(&machine, channel(1), b"again\n");
    let output = String::from_utf8(machine.state().output.clone()).unwrap();
    assert_eq!(output, "[one] hello\n[two] prompt> \n[one] again\n");
}

#[test]
fn a_bare_terminal_speaks_to_the_first_domain() {
    let machine = Fake::new(1);
    let mut console = Console::new();
    machine.state().input.extend(b"typed");
    let mut woken = Vec::new();
    assert!(!console.poll(&machine, |channel| woken.push(channel.number())));
    assert_eq!(woken, [1]);
    let mut text = [0; 8];
    assert_eq!(console.read(&machine, channel(1), &mut text), 5);
    assert_eq!(&text[..5], b"typed");
}

#[test]
fn long_lines_leave_in_pieces_and_whole() {
    let machine = Fake::new(1);
    let mut console = Console::new();
    console.set_style(Style::Framed);
    let text: Vec<u8> = (0..1000).map(|n| b'a' + (n % 26) as u8).collect();
    console.write(&machine, channel(3), &text);
    console.flush_all(&machine);
    let mut decoder = k42_wire::Decoder::new();
    let got: Vec<u8> = machine
        .state()
        .output
        .iter()
        .filter_map(|byte| match decoder.push(*byte) {
            Some(k42_wire::Item::Data(from, byte)) if from == channel(3) => Some(byte),
            _ => None,
        })
        .collect();
    assert_eq!(got, text);
}

#[test]
fn lost_input_is_said_once_and_hurts_nobody_else() {
    let guests = [Guest::new("one", Personality::Papr), Guest::new("two", Personality::Papr)];
    let mut board = Board::new(64, 1, &guests);
    board.dispatch(0);
    board.type_to(1, &vec![b'x'; INPUT_WINDOW]);
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    assert!(!board.said(0).contains("lost"), "the window fits");
    for _ in 0..2 {
        board.type_to(1, b"too much");
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    assert_eq!(board.said(0).matches("console input is lost").count(), 1);
    board.type_to(2, b"fine");
    board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    while board.processors[0].vcpu().map(|v| v.index()) != Some(1) {
        board.hv.machine.state().now += hv_core::schedule::SLICE_TICKS;
        board.exit(0, vector::HYPERVISOR_DECREMENTER, &mut Frame::default());
    }
    let mut frame = Frame::default();
    frame.gpr[3..5].copy_from_slice(&[0x54, 0x3000_0000]);
    board.exit(0, vector::SYSTEM_CALL, &mut frame);
    assert_eq!(frame.gpr[4], 4);
    assert_eq!(frame.gpr[5], u64::from_be_bytes(*b"fine\0\0\0\0"));
}
