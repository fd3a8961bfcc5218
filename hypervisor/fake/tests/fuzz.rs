//! The fuzz targets without a fuzzer: the corpus that is kept, and seeded mutations of it. What a
//! fuzzer finds goes into `tests/fuzz/corpus` and is replayed here ever after.
#![allow(missing_docs)]

use hv_fake::fuzz::TARGETS;
use std::path::Path;

/// Mutations of each file, unless `FUZZ_ROUNDS` says how many.
const ROUNDS: u64 = 40;
/// The longest input: about a hundred steps of the whole hypervisor.
const LONGEST: usize = 2048;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("a folder for each target");
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A small generator (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

fn mutate(random: &mut Random, all: &[Vec<u8>], bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len() + 1);
        match random.below(4) {
            0 => bytes.insert(at, random.below(256) as u8),
            1 if at < bytes.len() => bytes[at] = random.below(256) as u8,
            2 if at < bytes.len() => drop(bytes.drain(at..(at + random.below(9)).min(bytes.len()))),
            _ => {
                let other = &all[random.below(all.len())];
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
}

#[test]
fn corpus_and_mutations_of_it_are_survived() {
    let rounds = std::env::var("FUZZ_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().unwrap());
    let only = std::env::var("FUZZ_TARGET").unwrap_or_default();
    for (name, target) in TARGETS.into_iter().filter(|(name, _)| name.contains(&only)) {
        let files = corpus(name);
        let mut random = Random(0x2006_0418);
        for file in &files {
            target(file);
        }
        for round in 0..rounds {
            let mut bytes = files[random.below(files.len())].clone();
            mutate(&mut random, &files, &mut bytes);
            // A panic shows what did it.
            let run = std::panic::AssertUnwindSafe(|| target(&bytes));
            if let Err(panic) = std::panic::catch_unwind(run) {
                eprintln!("target {name}, round {round}: input {bytes:?}");
                std::panic::resume_unwind(panic);
            }
        }
    }
}

#[test]
fn the_archive_of_the_corpus_is_read_to_its_end() {
    let bytes = corpus("archive").remove(0);
    let archive = boot_archive::Archive::parse(&bytes).unwrap();
    let loads = archive.domains().map(|domain| domain.unwrap().loads().count());
    assert_eq!(loads.sum::<usize>(), 2);
}
