//! Which identifiers belong to which interface. An identifier is only ever of one interface, in all of
//! the process, so that a reference which outlives its object still meets an object of its own kind.
//!
//! A chunk of identifiers becomes an interface's when an object needs one of them, and stays so for
//! ever. In the same moment, before there is a reference to any of them, their miss objects are put in
//! every table that there is; a table that is made later has them from its birth. So what a reference
//! meets in whichever table is an object of its interface, and a call need not look.

use crate::interface::{Interface, Miss};
use crate::reference::Ref;
use crate::table::{CHUNK, CHUNKS, Slot, Table, fill};
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::TypeId;
// By its own name: it lies in a static, and the models' stand-in for `spin` must know that.
use spin::mutex::SpinMutex;

/// What vCPUs that were made together have of tables, by the vCPU's number. In a line of the cache that is
/// never stored to: every activation finds its table here.
#[repr(align(128))]
pub(crate) struct Tables(pub(crate) Vec<Box<Table>>);

struct Kinds {
    /// The chunks that are somebody's: the first so many.
    chunks: Vec<Kind>,
    /// All tables that live.
    tables: Vec<Weak<Tables>>,
}

struct Kind {
    interface: TypeId,
    misses: Box<[Slot; CHUNK]>,
}

static KINDS: SpinMutex<Kinds> = SpinMutex::new(Kinds { chunks: Vec::new(), tables: Vec::new() });

/// Fills tables with what is known, and keeps them filled.
pub(crate) fn register(tables: Tables) -> Arc<Tables> {
    let mut kinds = KINDS.lock();
    for table in &tables.0 {
        for (chunk, kind) in kinds.chunks.iter().enumerate() {
            fill(table, chunk, &kind.misses);
        }
    }
    let tables = Arc::new(tables);
    kinds.tables.retain(|tables| tables.strong_count() != 0);
    kinds.tables.push(Arc::downgrade(&tables));
    tables
}

/// References to a chunk's identifiers: of the first chunk that is the interface's, or nobody's, and
/// that `take` takes. `None` when there is none.
pub(crate) fn claim<I: Interface + ?Sized>(
    mut take: impl FnMut(usize) -> bool,
) -> Option<impl Iterator<Item = Ref<I>>> {
    let interface = TypeId::of::<I>();
    let mut kinds = KINDS.lock();
    let mut known = kinds.chunks.iter().enumerate();
    let known = known
        .find_map(|(chunk, kind)| (kind.interface == interface && take(chunk)).then_some(chunk));
    let chunk = match known {
        Some(chunk) => chunk,
        None => {
            let chunk = kinds.chunks.len();
            if chunk == CHUNKS || !take(chunk) {
                return None;
            }
            let misses = Box::new(misses::<I>(chunk));
            for tables in kinds.tables.iter().filter_map(Weak::upgrade) {
                tables.0.iter().for_each(|table| fill(table, chunk, &misses));
            }
            kinds.chunks.push(Kind { interface, misses });
            chunk
        }
    };
    Some(identifiers(chunk).into_iter().map(Ref::new))
}

fn identifiers(chunk: usize) -> [u32; CHUNK] {
    core::array::from_fn(|number| (chunk * CHUNK + number) as u32)
}

/// Places that hold the miss objects of a chunk, which stay for ever, as the chunk is the interface's
/// for ever.
fn misses<I: Interface + ?Sized>(chunk: usize) -> [Slot; CHUNK] {
    let misses: &'static [Miss<I>; CHUNK] =
        Box::leak(Box::new(identifiers(chunk).map(|index| Miss::new(Ref::new(index)))));
    core::array::from_fn(|number| Slot::of(I::miss(&misses[number])))
}
