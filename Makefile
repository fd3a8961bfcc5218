# `make` lists what there is. Set-up is in boot/setup/, one script for each step; all that is
# fetched or built lies under target/, and a step whose result is there is not done again.
#
# The programs that run here are cargo's business; this file builds what runs on the Power machine.

IMAGES   := hypervisor hypervisor-nested guest-kernel linux-compat controller storage ktest-guest
# The package that makes an image has its name, but for this one.
PACKAGES := $(IMAGES:guest-kernel=guest-kernel-image)
PROGRAMS := $(patsubst tests/programs/%.c,target/inputs/programs/%,$(wildcard tests/programs/*.c))

# Linux's root file systems with modules, one for each kernel.
NETS     := $(patsubst %,target/inputs/linux-net-%.cpio,6.1 6.12 6.12-64k)

# Those that are built with the walker as well, for tests.
WALKERS  := hypervisor hypervisor-nested

CROSS    := powerpc64le-linux-gnu-

# Where rustup puts its programs, for a shell that has not been told yet.
export PATH := $(HOME)/.cargo/bin:$(PATH)

.PHONY: help setup tools inputs debian images walker build run test bench coherence stress mutate fuzz lint clean distclean
.DELETE_ON_ERROR:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: tools inputs ## find or install the toolchain, QEMU and the ppc64le inputs

# Both steps even where the first fails, so that all that is missing is named at once.
tools:
	@boot/setup/packages; status=$$?; boot/setup/toolchain && exit $$status

inputs: target/inputs/root.cpio target/inputs/peer.cpio target/inputs/operations.cpio target/inputs/coherence.cpio \
    $(NETS)

# Kernels and busybox. The script knows what is there already, and then leaves this file as it is.
target/inputs/VERSIONS: tools
	@boot/setup/inputs

target/inputs/programs/%: tests/programs/%.c | tools
	@mkdir -p $(@D)
	$(CROSS)gcc -O2 -Wall -Wextra -static -o $@ $<

target/inputs/root.cpio: boot/setup/rootfs $(shell find boot/rootfs) target/inputs/VERSIONS $(PROGRAMS) | tools
	@boot/setup/rootfs

target/inputs/linux-net-%.cpio: boot/setup/net $(shell find boot/rootfs-net) target/inputs/root.cpio
	@boot/setup/net $*

# What Linux domains measure, and what bare Linux does: an archive behind that of every domain, whose
# shell it tells what to run.
target/inputs/operations/bin/operations: $(wildcard tests/linux/*.[ch]) | tools
	@mkdir -p $(@D)
	$(CROSS)gcc -O2 -Wall -Wextra -static -pthread -o $@ $(filter %.c,$^)

target/inputs/operations.cpio: target/inputs/root.cpio target/inputs/operations/bin/operations tests/linux/profile
	@mkdir -p target/inputs/operations/etc && cp tests/linux/profile target/inputs/operations/etc
	@cd target/inputs/operations && find . -mindepth 1 | LC_ALL=C sort | \
	    cpio --quiet --create --format newc --owner +0:+0 | cat ../root.cpio - >../operations.cpio

# It takes a while, and a gibibyte: for whoever wants it.
debian: target/inputs/debian.img ## make a disk with a Debian on it, for a Linux domain

target/inputs/debian.img: boot/setup/debian $(shell find boot/debian) | setup
	@boot/setup/debian

# The Linux that `make bench` compares with: one program, and KVM's modules for it.
target/inputs/peer.cpio: $(wildcard tests/peer/*) target/inputs/VERSIONS target/inputs/programs/getppid
	@rm -rf target/inputs/peer && mkdir -p target/inputs/peer
	$(CROSS)gcc -O2 -Wall -Wextra -static -pthread -o target/inputs/peer/init tests/peer/*.c tests/peer/guest.S
	@cd target/inputs && cp kvm.ko.xz kvm-hv.ko.xz programs/getppid peer
	@cd target/inputs/peer && ls | cpio --quiet --create --format newc --owner +0:+0 >../peer.cpio

# What counts the lines that move between caches: a plug-in for QEMU, and the Linux whose lines it counts.
target/coherence.so: tests/coherence/coherence.c tests/coherence/marks.h | tools
	$(CC) -O2 -Wall -Wextra -shared -fPIC -fvisibility=hidden -o $@ $<

target/inputs/coherence.cpio: tests/coherence/linux.c tests/coherence/marks.h tests/linux/need.h | tools
	@rm -rf target/inputs/coherence && mkdir -p target/inputs/coherence
	$(CROSS)gcc -O2 -Wall -Wextra -static -pthread -o target/inputs/coherence/init $<
	@cd target/inputs/coherence && echo init | cpio --quiet --create --format newc --owner +0:+0 >../coherence.cpio

build: setup images target/coherence.so ## build the images and the host tool
	@cargo build --quiet --release --package k42

# cargo knows what has changed. An image that has not keeps its time.
images: tools
	@boot/setup/cargo-power build --release $(addprefix --package ,$(PACKAGES))
	@mkdir -p target/images
	@for image in $(IMAGES); do \
	    package=$$image; [ $$image != guest-kernel ] || package=guest-kernel-image; \
	    install --compare target/power/powerpc64le-k42/release/$$package target/images/$$image; \
	done

walker: tools ## build the hypervisor that checks its own state when a test's guest asks
	@boot/setup/cargo-power build --profile walker --features hv-core/walker --package hv-core \
	    $(addprefix --package ,$(WALKERS))
	@mkdir -p target/images
	@for image in $(WALKERS); do \
	    install --compare target/power/powerpc64le-k42/walker/$$image target/images/$$image-walker; \
	done

run: build ## boot the demonstration: two K42 application managers and a Linux, side by side
	@cargo k42 boot domains/demo.toml

test: build walker ## run every ring of tests; closes with `N passed, N failed`
	@tests/run

bench: build ## print the figures: instructions, ours beside KVM-HV's on the same machine, and sizes
	@tests/bench

coherence: build ## print of the figures only how many lines move between processors' caches
	@tests/bench lines

stress: build walker ## run the long tests on the emulated machine, those that are marked as ignored, and the models
	@SCHEDULES=20000 cargo test --manifest-path tests/models/Cargo.toml --target-dir target/models
	@cargo test --package k42-tests -- --ignored

mutate: ## break the hypervisor, clustered objects or the heap in one place after another: a test must notice (ONLY=words: these)
	@cargo run --quiet --package k42-mutations -- $(ONLY)

# Any stable compiler instruments for libFuzzer with these; cargo-fuzz, with its nightly compiler, is
# served by the same folder.
FUZZ_TARGETS := $(patsubst tests/fuzz/corpus/%,%,$(wildcard tests/fuzz/corpus/*))
FUZZ_FLAGS   := -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing
FUZZ_TARGET  := x86_64-unknown-linux-gnu
SECONDS      := 60

fuzz: ## run every fuzz target for a minute (SECONDS=n: so long), from the corpus that is kept
	@RUSTFLAGS="$(FUZZ_FLAGS)" cargo build --quiet --release --target $(FUZZ_TARGET) \
	    --manifest-path tests/fuzz/Cargo.toml --target-dir target/fuzz
	@for target in $(FUZZ_TARGETS); do \
	    echo "fuzz: $$target"; mkdir -p target/fuzz/found/$$target; \
	    target/fuzz/$(FUZZ_TARGET)/release/$$target -max_total_time=$(SECONDS) -max_len=2048 -verbosity=0 \
	        -print_final_stats=1 -artifact_prefix=target/fuzz/found/ target/fuzz/found/$$target \
	        tests/fuzz/corpus/$$target || exit 1; \
	done

lint: tools ## check the format, and clippy's advice for host and target
	@boot/setup/lint

clean: ## remove what was built; what was downloaded and chosen stays
	rm -rf target/power target/images target/release target/debug target/lint target/inputs/programs \
	    target/inputs/root target/inputs/peer target/inputs/operations target/inputs/coherence \
	    target/inputs/linux-net-* target/inputs/*.cpio target/coherence.so

distclean: ## remove target/, downloads included
	rm -rf target
