//! Stands in for QEMU and the hypervisor in the host tool's tests: it reads the boot archive that
//! it is given, reports its domains on the serial line, and plays their programs by itself.
//!
//! Programs: `echo WORDS`, `cat STATUS` (copies its input; exits with STATUS at its end), `crash`,
//! and `stop`, which stops the whole machine. A domain without a program is a `cat` that is powered
//! off by a line `off`.
#![forbid(unsafe_code)]

use std::io::{Read, Write, stdin, stdout};

use boot_archive::{Archive, DomainImage};
use k42_wire::event::ALL_ENDED;
use k42_wire::frame::{INPUT_WINDOW, header, taken};
use k42_wire::{Channel, Decoder, End, Event, Item};

struct Domain {
    number: u16,
    name: String,
    words: Vec<String>,
    input: Vec<u8>,
    ended: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|word| word == "-initrd").expect("no -initrd");
    let archive = std::fs::read(&arguments[at + 1]).expect("no archive");
    let archive = Archive::parse(&archive).expect("bad archive");
    say(b"firmware: hello\r\n");
    let mut domains: Vec<Domain> =
        archive.domains().map(|image| start(&image.expect("bad domain"))).collect();
    domains.iter_mut().for_each(begin);
    listen(&mut domains);
}

fn say(bytes: &[u8]) {
    stdout().write_all(bytes).and_then(|()| stdout().flush()).expect("line is gone");
}

fn frame(channel: u16, bytes: &[u8]) {
    let channel = Channel::new(channel.try_into().unwrap()).unwrap();
    for payload in bytes.chunks(200) {
        say(&[&header(channel, payload.len()).unwrap()[..], payload].concat());
    }
}

fn event(event: Event<'_>) {
    frame(0, format!("{event}\r\n").as_bytes());
}

fn start(image: &DomainImage<'_>) -> Domain {
    let tree = image.loads().find(|load| load.guest_address == image.device_tree).unwrap();
    let tree = fdt::Fdt::new(tree.data).unwrap();
    let chosen = tree.find_node("/chosen").unwrap();
    let words = chosen.property("k42,arguments").and_then(|p| p.as_str()).unwrap_or_default();
    let words = words.split('\0').filter(|word| !word.is_empty()).map(String::from).collect();
    event(Event::Started {
        number: image.number,
        name: image.name,
        processor: 0,
        mebibytes: image.memory_size >> 20,
        ticks: 1,
    });
    Domain { number: image.number, name: image.name.into(), words, input: Vec::new(), ended: false }
}

fn end(domain: &mut Domain, how: End<'_>) {
    event(Event::Ended { number: domain.number, name: &domain.name, how });
    domain.ended = true;
}

/// What a program does before it reads.
fn begin(domain: &mut Domain) {
    let words: Vec<&str> = domain.words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", words @ ..] => {
            frame(domain.number, format!("{}\n", words.join(" ")).as_bytes());
            end(domain, End::Exit(0));
        }
        ["crash"] => end(domain, End::Crash("instruction storage at 0x40")),
        ["stop"] => {
            say(b"firmware: something is badly wrong\r\n");
            std::process::exit(3);
        }
        _ => frame(domain.number, b"ready\n"),
    }
}

/// Hands input to the domains, a line or a full window at a time, until all have ended.
fn listen(domains: &mut [Domain]) {
    let mut decoder = Decoder::new();
    let mut byte = [0];
    while !domains.iter().all(|domain| domain.ended) {
        if stdin().read(&mut byte).unwrap() == 0 {
            // Like QEMU, it lives on; there is nothing to do but wait for its end.
            std::thread::sleep(std::time::Duration::from_secs(60));
            return;
        }
        if let Some(Item::Data(channel, byte)) = decoder.push(byte[0]) {
            if channel == Channel::HYPERVISOR {
                // What it asks for, with an address that every kernel has.
                frame(byte.into(), b"vcpu 0: running\nvcpu 0: at c000000000000002\n");
                continue;
            }
            let number = u16::from(channel.number());
            let domain = domains.iter_mut().find(|domain| domain.number == number).unwrap();
            domain.input.push(byte);
            assert!(domain.input.len() <= INPUT_WINDOW, "more under way than there is room for");
            if matches!(byte, b'\n' | 0x04) || domain.input.len() == INPUT_WINDOW {
                take(domain);
            }
        }
    }
    event(Event::Note(ALL_ENDED));
}

/// A domain takes its input.
fn take(domain: &mut Domain) {
    let input = std::mem::take(&mut domain.input);
    if domain.ended || input.is_empty() {
        return;
    }
    let channel = Channel::new(domain.number.try_into().unwrap()).unwrap();
    say(&taken(channel, input.len().try_into().unwrap()));
    if input.ends_with(&[0x04]) {
        frame(domain.number, &input[..input.len() - 1]);
        let status = domain.words.get(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        end(domain, End::Exit(status));
    } else if input == b"off\n" {
        end(domain, End::PowerOff);
    } else {
        frame(domain.number, &input);
    }
}
