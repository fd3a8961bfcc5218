//! Figures: instructions under `-icount`, as guests and the hypervisor report them; by the host's
//! clock where that is asked for.
//!
//! With `shift=0` an instruction takes one nanosecond of the emulated time, whatever else the host
//! does, and the timebase counts them, 0.512 ticks each (docs/measuring.md).

use anyhow::{Context, ensure};
use k42::description::{DomainDescription, Rights};

use crate::{KERNELS, Machine, Model, describe};

/// What a machine's time is.
#[derive(Clone, Copy, Debug)]
pub enum Clock {
    /// One instruction is one nanosecond, and a run is the same each time.
    Instructions,
    /// The host's clock, which is good for ratios at most: a figure is in nanoseconds then.
    Host,
}

impl Clock {
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Clock::Instructions => {
                &["-icount", "shift=0,sleep=off", "-rtc", "base=2024-01-01,clock=vm", "-seed", "1"]
            }
            Clock::Host => &[],
        }
    }
}

/// What a program measured in a K42 domain and in a Linux domain, side by side in one run.
#[derive(Clone, Copy, Debug)]
pub struct SideBySide {
    /// Instructions of a `getppid` in the K42 domain.
    pub k42: u64,
    /// Instructions of a `getppid` of the same program under Linux.
    pub linux: u64,
}

/// Instructions of a null hypercall from a K42 kernel, there and back.
///
/// # Errors
/// When the machine does not say.
pub fn null_hypercall(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("guest", "test=hcall")];
    let description = describe::machine("figures-hypercall", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "guest", "null-hypercall")
}

/// Instructions of an event to another domain on the same processor and one back; both sleep while
/// they wait.
///
/// # Errors
/// When the machine does not say.
pub fn event_round_trip(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("echo", "test=echo"), describe::bare("ping", "test=ping")];
    let description = describe::machine("figures-events", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "ping", "event-round-trip")
}

/// Instructions of small memory's being taken and freed in a K42 kernel.
#[derive(Clone, Copy, Debug)]
pub struct Allocation {
    /// On one vCPU, by Rust's allocator: the worst of all sizes.
    pub local: u64,
    /// The same, of a size that the compiler knows.
    pub known: u64,
    /// Freed on another vCPU: that one's part.
    pub remote_free: u64,
    /// And the home's, which takes the block again.
    pub remote: u64,
}

/// Instructions of small memory's being taken and freed, on one vCPU and by two.
///
/// # Errors
/// When the machine does not say.
pub fn allocation(model: Model, clock: Clock) -> anyhow::Result<Allocation> {
    let mut guest = describe::bare("guest", "test=alloc");
    guest.vcpus = 2;
    let description = describe::machine("figures-alloc", model, vec![guest]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    Ok(Allocation {
        local: figure(&mut machine, "guest", "alloc-local")?,
        known: figure(&mut machine, "guest", "alloc-local-known")?,
        remote_free: figure(&mut machine, "guest", "alloc-remote-free")?,
        remote: figure(&mut machine, "guest", "alloc-remote-pair")?,
    })
}

/// A pair on one vCPU, by Rust's allocator.
///
/// # Errors
/// When the machine does not say.
pub fn alloc_local(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(allocation(model, clock)?.local)
}

/// A pair on one vCPU, of a size that the compiler knows.
///
/// # Errors
/// When the machine does not say.
pub fn alloc_known(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(allocation(model, clock)?.known)
}

/// A pair of which the second half is another vCPU's, with the way home.
///
/// # Errors
/// When the machine does not say.
pub fn alloc_remote(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(allocation(model, clock)?.remote)
}

/// Instructions of mapping a page that another domain grants, and of unmapping it.
///
/// # Errors
/// When the machine does not say.
pub fn grant_map_unmap(model: Model, clock: Clock) -> anyhow::Result<u64> {
    borrowed(model, clock, "grant-map-unmap")
}

/// Instructions of copying a page that another domain grants.
///
/// # Errors
/// When the machine does not say.
pub fn grant_copy(model: Model, clock: Clock) -> anyhow::Result<u64> {
    borrowed(model, clock, "grant-copy-4k")
}

fn borrowed(model: Model, clock: Clock, name: &str) -> anyhow::Result<u64> {
    let domains =
        vec![describe::bare("lend", "test=lend"), describe::bare("borrow", "test=borrow")];
    let description = describe::machine("figures-grants", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "borrow", name)
}

/// Instructions of getting a GiB of memory at run time, which is zeroed.
///
/// # Errors
/// When the machine does not say.
pub fn populate(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let domain = describe::bare("balloon", "test=balloon");
    let domains = vec![DomainDescription { memory: 256 << 20, ..domain }];
    let description = describe::machine("figures-populate", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "balloon", "populate-gib")
}

/// Instructions from the sending of a frame of 1,500 bytes to when its receiver, asleep on the same
/// processor, is awake.
///
/// # Errors
/// When the machine does not say.
pub fn lan_frame(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let sink = describe::bare("sink", "test=lansink");
    let domains = vec![sink, describe::bare("source", "test=lansource")];
    let description = describe::machine("figures-lan", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "sink", "lan-frame-1500")
}

/// Instructions of a read of 4 KiB from a disk, from the request's making to the data's being there: the
/// client's, the storage domain's and the hypervisor's together, all on one processor.
///
/// # Errors
/// When the machine does not say.
pub fn disk_read(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let file = tempfile::NamedTempFile::new()?;
    file.as_file().set_len(2 << 20)?;
    let client = describe::bare("client", "test=diskreads domain=2");
    let client = DomainDescription { disks: vec![file.path().into()], ..client };
    let domains = vec![describe::storage("storage"), client];
    let description = describe::machine("figures-disk", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "client", "disk-read-4k")
}

/// Instructions of two switches: one vCPU of a domain yields its processor to the other, and back.
///
/// # Errors
/// When the machine does not say.
pub fn vcpu_switch_pair(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let mut guest = describe::bare("guest", "test=switches");
    guest.vcpus = 2;
    let description = describe::machine("figures-switches", model, vec![guest]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "guest", "vcpu-switch-pair")
}

/// Instructions of two wake-ups: a vCPU of a K42 kernel wakes another on the same processor and sleeps
/// until that one wakes it.
///
/// # Errors
/// When the machine does not say.
pub fn vcpu_wake_pair(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let mut guest = describe::bare("guest", "test=wakes");
    guest.vcpus = 2;
    let description = describe::machine("figures-wakes", model, vec![guest]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "guest", "vcpu-wake-pair")
}

/// Instructions that clustered objects take, on one vCPU.
#[derive(Clone, Copy, Debug)]
pub struct Objects {
    /// A call of a method that does nothing.
    pub call: u64,
    /// The same of the rep, by a pointer in memory.
    pub virtual_call: u64,
    /// An activation, begun and ended.
    pub activation: u64,
    /// A call that finds no translation, of an object with a rep for this vCPU.
    pub miss: u64,
    /// The same of an object whose rep is to be made.
    pub first_call: u64,
}

/// What clustered objects take.
///
/// # Errors
/// When the machine does not say.
pub fn objects(model: Model, clock: Clock) -> anyhow::Result<Objects> {
    let domains = vec![describe::bare("guest", "test=calls")];
    let description = describe::machine("figures-objects", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let mut figure = |name| figure(&mut machine, "guest", name);
    Ok(Objects {
        call: figure("object-call")?,
        virtual_call: figure("virtual-call")?,
        activation: figure("activation")?,
        first_call: figure("object-first-call")?,
        miss: figure("object-miss")?,
    })
}

/// A call of a method that does nothing.
///
/// # Errors
/// When the machine does not say.
pub fn object_call(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(objects(model, clock)?.call)
}

/// The same of the rep, by a pointer.
///
/// # Errors
/// When the machine does not say.
pub fn virtual_call(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(objects(model, clock)?.virtual_call)
}

/// An activation, begun and ended.
///
/// # Errors
/// When the machine does not say.
pub fn activation(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(objects(model, clock)?.activation)
}

/// A call that finds no translation, and a rep.
///
/// # Errors
/// When the machine does not say.
pub fn object_miss(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(objects(model, clock)?.miss)
}

/// A call that has a rep made.
///
/// # Errors
/// When the machine does not say.
pub fn object_first_call(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(objects(model, clock)?.first_call)
}

/// A thousand increments of a counter with a rep for each of 8 vCPUs.
///
/// # Errors
/// When the machine does not say.
pub fn counter_own(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(increments(model, clock, 8)?[1])
}

/// A thousand increments of a counter with one rep for 8 vCPUs.
///
/// # Errors
/// When the machine does not say.
pub fn counter_shared(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(increments(model, clock, 8)?[0])
}

/// Instructions of a thousand increments of a counter, by each vCPU of a domain in turn: with one rep
/// for all, and with a rep for each.
///
/// # Errors
/// When the machine does not say.
pub fn increments(model: Model, clock: Clock, vcpus: u32) -> anyhow::Result<[u64; 2]> {
    let guest = describe::bare("guest", "test=increments");
    let guest = DomainDescription { vcpus, memory: 64 << 20, ..guest };
    let description = describe::machine("figures-increments", model, vec![guest]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let shared = figure(&mut machine, "guest", "counter-shared")?;
    Ok([shared, figure(&mut machine, "guest", "counter-own")?])
}

/// Instructions of a kernel's lock that nobody waits for, taken and let go of.
///
/// # Errors
/// When the machine does not say.
pub fn lock_unlock(model: Model, clock: Clock) -> anyhow::Result<u64> {
    synchronised(model, clock, "lock-unlock")
}

/// Instructions of a read of a published value.
///
/// # Errors
/// When the machine does not say.
pub fn published_read(model: Model, clock: Clock) -> anyhow::Result<u64> {
    synchronised(model, clock, "published-read")
}

fn synchronised(model: Model, clock: Clock, name: &str) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("guest", "test=sync")];
    let description = describe::machine("figures-sync", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "guest", name)
}

/// Instructions of an event's way. With two processors they are those of both together: the emulator
/// runs one of them at a time.
#[derive(Clone, Copy, Debug)]
pub struct EventWay {
    /// The sender's call, there and back.
    pub send: u64,
    /// From before the sender's call to the first instruction of the receiver's upcall.
    pub upcall: u64,
}

/// An event to another domain, which is asleep: on the same processor, or on another that has
/// nothing else to do.
///
/// # Errors
/// When the machine does not say.
pub fn event_way(model: Model, clock: Clock, processors: u32) -> anyhow::Result<EventWay> {
    let domains = vec![
        describe::bare("signal", "test=signal"),
        describe::bare("signalled", "test=signalled"),
    ];
    let mut description = describe::machine("figures-signal", model, domains);
    description.processors = processors;
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let send = figure(&mut machine, "signal", "event-send")?;
    let mut times = |name| -> anyhow::Result<(u64, u64)> {
        let text = machine.console(name).expect(r"^sum (\d+ of \d+) rounds")?;
        let (sum, count) = text.split_once(" of ").context("the guest's line")?;
        Ok((sum.parse()?, count.parse()?))
    };
    let ((sent, rounds), (entered, same)) = (times("signal")?, times("signalled")?);
    ensure!(rounds == same && entered > sent, "{sent} in {rounds}, {entered} in {same}");
    Ok(EventWay { send, upcall: instructions(entered - sent) / rounds })
}

/// Instructions of sending an event to a domain asleep on the same processor: the call, there and
/// back.
///
/// # Errors
/// When the machine does not say.
pub fn event_send(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(event_way(model, clock, 1)?.send)
}

/// Instructions of an event to the upcall of a domain asleep on the same processor.
///
/// # Errors
/// When the machine does not say.
pub fn event_upcall(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(event_way(model, clock, 1)?.upcall)
}

/// The same on another processor, which is idle.
///
/// # Errors
/// When the machine does not say.
pub fn event_upcall_other(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(event_way(model, clock, 2)?.upcall)
}

/// Instructions of setting a timer, and from its time to the first instruction of the upcall, in a
/// domain that sleeps alone on its processor.
///
/// # Errors
/// When the machine does not say.
pub fn timer(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("guest", "test=timer")];
    let description = describe::machine("figures-timer", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let set = figure(&mut machine, "guest", "timer-set")?;
    Ok(set + figure(&mut machine, "guest", "timer-late")?)
}

/// Instructions of a domain's creation by another, without memory.
///
/// # Errors
/// When the machine does not say.
pub fn create(model: Model, clock: Clock) -> anyhow::Result<u64> {
    created(model, clock, "create")
}

/// The same until the first instruction of the domain, which has 2 MiB.
///
/// # Errors
/// When the machine does not say.
pub fn create_to_first(model: Model, clock: Clock) -> anyhow::Result<u64> {
    created(model, clock, "create-to-first-instruction")
}

fn created(model: Model, clock: Clock, name: &str) -> anyhow::Result<u64> {
    let mut keeper = describe::bare("keeper", "test=create");
    keeper.rights |= Rights::CONTROL;
    let description = describe::machine("figures-create", model, vec![keeper]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "keeper", name)
}

/// How late a vCPU with reserved time is told of its timers beside three domains that spin.
#[derive(Clone, Copy, Debug)]
pub struct Late {
    /// Instructions of the worst of 2,000.
    pub worst: u64,
    /// The same without the worst thousandth.
    pub most: u64,
}

/// Instructions from the time of a timer to the first of the upcall, for a vCPU with reserved time
/// beside three domains that spin.
///
/// # Errors
/// When the machine does not say.
pub fn reserved_late(model: Model, clock: Clock) -> anyhow::Result<Late> {
    let mut domains = vec![describe::reserved("guest", "test=lateness count=2000", 2_000, 10_000)];
    domains.extend(["a", "b", "c"].map(describe::busy));
    let description = describe::machine("figures-reserved", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let most = figure(&mut machine, "guest", "reserved-late-999")?;
    Ok(Late { most, worst: figure(&mut machine, "guest", "reserved-late-worst")? })
}

/// The worst of 2,000.
///
/// # Errors
/// When the machine does not say.
pub fn reserved_late_worst(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(reserved_late(model, clock)?.worst)
}

/// The worst without two of 2,000.
///
/// # Errors
/// When the machine does not say.
pub fn reserved_late_999(model: Model, clock: Clock) -> anyhow::Result<u64> {
    Ok(reserved_late(model, clock)?.most)
}

/// What page faults of the K42 kernel take, by kind.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Instructions of one, from the user's to the same one again.
    pub count: u64,
    /// By how many thousandths the domain's vCPUs differ.
    pub spread: u64,
}

/// A fault of this kind (`tests/guest/src/faults.rs`), on each of a domain's vCPUs.
///
/// # Errors
/// When the machine does not say.
pub fn faults(
    model: Model,
    clock: Clock,
    vcpus: u32,
    kinds: &[&str],
) -> anyhow::Result<Vec<Fault>> {
    let guest = describe::bare("guest", "test=faults");
    let guest = DomainDescription { vcpus, memory: 128 << 20, ..guest };
    let description = describe::machine("figures-faults", model, vec![guest]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    let mut one = |kind: &&str| {
        let count = figure(&mut machine, "guest", &format!("fault-{kind}"))?;
        let spread = figure(&mut machine, "guest", &format!("fault-{kind}-spread"))?;
        Ok(Fault { count, spread })
    };
    kinds.iter().map(&mut one).collect()
}

/// Instructions of a first store to a page, on one vCPU.
///
/// # Errors
/// When the machine does not say.
pub fn fault_zero_fill(model: Model, clock: Clock) -> anyhow::Result<u64> {
    one_fault(model, clock, "zero-fill")
}

/// The same of a load from a page that is there.
///
/// # Errors
/// When the machine does not say.
pub fn fault_present(model: Model, clock: Clock) -> anyhow::Result<u64> {
    one_fault(model, clock, "present")
}

/// The same of a store to a page of both a parent's and its child's, which copies it.
///
/// # Errors
/// When the machine does not say.
pub fn fault_fork_store(model: Model, clock: Clock) -> anyhow::Result<u64> {
    one_fault(model, clock, "fork-store")
}

/// The same when only one of them is left.
///
/// # Errors
/// When the machine does not say.
pub fn fault_fork_last(model: Model, clock: Clock) -> anyhow::Result<u64> {
    one_fault(model, clock, "fork-last")
}

fn one_fault(model: Model, clock: Clock, kind: &str) -> anyhow::Result<u64> {
    let found = faults(model, clock, 1, &[kind])?;
    Ok(found.first().context("one kind, one figure")?.count)
}

/// A K42 and a Linux domain with the same program, side by side in one machine.
///
/// # Errors
/// When the machine does not say.
pub fn side_by_side(model: Model, clock: Clock) -> anyhow::Result<SideBySide> {
    let domains = vec![
        k42_getppid(),
        describe::linux("linux", KERNELS[1], r#"quiet mitigations=off run="/bin/getppid""#),
    ];
    let description = describe::machine("figures-getppid", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    Ok(SideBySide {
        k42: figure(&mut machine, "k42", "getppid")?,
        linux: figure(&mut machine, "linux", "getppid")?,
    })
}

/// Instructions of a reflected `getppid` in a K42 domain.
///
/// # Errors
/// When the machine does not say.
pub fn getppid(model: Model, clock: Clock) -> anyhow::Result<u64> {
    let description = describe::machine("figures-getppid", model, vec![k42_getppid()]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "k42", "getppid")
}

fn k42_getppid() -> DomainDescription {
    describe::k42("k42", &["/bin/getppid"])
}

/// Instructions from the hypervisor's first to the first of a K42 domain of 64 MiB.
///
/// # Errors
/// When the machine does not say.
pub fn start_k42(model: Model, clock: Clock) -> anyhow::Result<u64> {
    start(model, clock, describe::k42("k42", &["true"]))
}

/// The same for a Linux of 512 MiB.
///
/// # Errors
/// When the machine does not say.
pub fn start_linux(model: Model, clock: Clock) -> anyhow::Result<u64> {
    start(model, clock, describe::linux("linux", KERNELS[1], "quiet"))
}

/// Instructions from the hypervisor's first to a domain's first, alone in its machine.
fn start(model: Model, clock: Clock, domain: DomainDescription) -> anyhow::Result<u64> {
    let name = domain.name.clone();
    let description = describe::machine("figures-start", model, vec![domain]);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    Ok(instructions(machine.console(&name).started()?))
}

/// Instructions of an event of one word that is noted.
///
/// # Errors
/// When the machine does not say.
pub fn trace_enabled(model: Model, clock: Clock) -> anyhow::Result<u64> {
    traced(model, clock, "trace-enabled")
}

/// Instructions of an event that nobody wants.
///
/// # Errors
/// When the machine does not say.
pub fn trace_disabled(model: Model, clock: Clock) -> anyhow::Result<u64> {
    traced(model, clock, "trace-disabled")
}

/// Instructions of an event that is compiled out.
///
/// # Errors
/// When the machine does not say.
pub fn trace_compiled_out(model: Model, clock: Clock) -> anyhow::Result<u64> {
    traced(model, clock, "trace-compiled-out")
}

fn traced(model: Model, clock: Clock, name: &str) -> anyhow::Result<u64> {
    let domains = vec![describe::bare("guest", "test=traced")];
    let description = describe::machine("figures-traced", model, domains);
    let mut machine = Machine::boot_with(&description, clock.options())?;
    figure(&mut machine, "guest", name)
}

/// What the guest says it measured.
fn figure(machine: &mut Machine, console: &str, name: &str) -> anyhow::Result<u64> {
    let text = machine.console(console).expect(&format!(r"^BENCH {name} +(\d+) "))?;
    Ok(text.parse()?)
}

pub(crate) fn instructions(ticks: u64) -> u64 {
    ticks * 1000 / 512
}
