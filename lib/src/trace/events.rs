//! All events, each declared once. Numbers are for ever: a trace may be older than its reader.

use super::schema::{Event, Field, Kind, Phase, events};

events! {
    /// The buffer's own; always there, whatever the mask.
    control = 0 {
        /// What is left of a sub-buffer: as many words as its head says, that nobody wrote.
        0 filler() "filler";
        /// All of the time, whose low half the head has.
        1 stamp(time: Number) "time is {time}";
    }

    /// The kernel's memory.
    mem = 1 {
        /// An access could not be made; of which sort `radix::Access` says.
        0 fault_start(address: Hex, access: Hex) Begins "fault at {address}, access {access}";
        /// It can be made now (outcome 0), or not (why: `Process` says).
        1 fault_end(address: Hex, outcome: Number) Ends "fault at {address} handled: {outcome}";
        /// The Process knows the Region.
        2 process(address: Hex, region: Hex) "Process: {address} is in the region at {region}";
        /// The Region allows the access and knows the page of its FCM.
        3 region(region: Hex, page: Number) "Region at {region}: page {page} of its FCM";
        /// The FCM has the page in a frame.
        4 fcm(page: Number, frame: Hex) "FCM: page {page} is in frame {frame}";
        /// The HAT translates the page to the frame.
        5 hat(address: Hex, frame: Hex) "HAT: {address} is translated to {frame}";
        /// A frame is somebody's.
        6 frame_allocated(frame: Hex) "frame {frame} allocated";
        /// A frame is nobody's any more.
        7 frame_freed(frame: Hex) "frame {frame} freed";
        /// A page is copied because somebody refers to it.
        8 copy_on_reference(page: Number, from: Hex, to: Hex) "page {page} copied from {from} to {to}";
    }

    /// Clustered objects.
    object = 2 {
        /// A vCPU calls an object and has no translation of its identifier.
        0 miss(object: Hex) "object {object}: miss";
        /// An object ends.
        1 end(object: Hex) "object {object} ends";
    }

    /// Locks.
    lock = 3 {
        /// Somebody has to wait for a lock.
        0 contended(lock: Hex) "lock {lock} is contended";
    }

    /// The kernel's allocators.
    alloc = 4 {
        /// What another vCPU's pool owns is freed here.
        0 remote_free(address: Hex, home: Number) "{address} freed far from vCPU {home}";
        /// A pool gets more from below.
        1 refill(size: Number, count: Number) "pool of {size} bytes gets {count}";
    }

    /// Ways into the kernel and out of it.
    trap = 5 {
        /// The program is interrupted: where it was, and by which vector.
        0 trap(vector: Hex, instruction: Hex) Begins "trap {vector} at {instruction}";
        /// A native call: its number, and the first argument.
        1 call(number: Number, argument: Hex) "native call {number} of {argument}";
        /// The program goes on.
        2 resume(instruction: Hex) Ends "on at {instruction}";
    }

    /// Processes.
    process = 6 {
        /// A process begins.
        0 create(process: Number) "process {process} begins";
        /// A process ends.
        1 exit(process: Number, status: Number) "process {process} ends with {status}";
        /// A process gets this vCPU.
        2 switch(process: Number) Switches "process {process} runs";
    }

    /// The system library and applications.
    user = 7 {
        /// Words that the program knows the meaning of.
        0 numbers(first: Hex, second: Hex) "user {first} {second}";
        /// A text.
        1 text(text: Text) "{text}";
    }
}

/// The declaration of an event.
pub fn find(major: u8, minor: u8) -> Option<&'static Event> {
    EVENTS.iter().find(|event| (event.major, event.minor) == (major, minor))
}

/// The mask that these names of classes give, one after the other, commas between; `all` is all.
///
/// # Errors
/// The name that is none.
pub fn mask(names: &str) -> Result<u64, &str> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    names.map(class).try_fold(0, |mask, class| Ok(mask | class?))
}

fn class(name: &str) -> Result<u64, &str> {
    if name == "all" {
        return Ok(!control::MASK);
    }
    let event = EVENTS.iter().find(|event| event.class == name && event.major != control::MAJOR);
    event.map(|event| 1 << event.major).ok_or(name)
}
