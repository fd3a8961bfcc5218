//! The FCM of memory that is nobody else's: anonymous memory, and a private copy of an image.
//!
//! A fork moves what is resident into an *ancestor* that both have from then on below themselves:
//!
//! ```text
//!   parent     child        own pages: what each has stored to since
//!        \     /
//!       ancestor            what both had; nobody stores to it
//!           |
//!       ancestor            of an earlier fork
//! ```
//!
//! A load maps the ancestor's page without the right to store, a store copies it first. An ancestor that
//! only one has below itself is no ancestor any more: its pages become those of that one, without a copy.

use super::frames::Frames;
use super::{Fcm, Image, View, Views};
use crate::hat::Hat;
use crate::machine::Machine;
use crate::pm::{Frame, PageManager};
use crate::problem::Problem;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use k42_lib::GuestAddr;
use k42_lib::radix::Access;
use k42_lib::trace::events::mem as trace;
use k42_object::{Clustered, Here, Ref};
use kernel_abi::PAGE_SIZE;
use spin::Mutex;

/// What a page's bytes are before anybody stores to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Zeros.
    Zeros,
    /// An image's from its start on, and zeros after it.
    Image(Image),
}

/// An FCM with these bytes.
///
/// # Errors
/// [`Problem::NoMemory`] when there are too many objects.
pub fn create(
    here: &Here<'_>,
    machine: &Arc<dyn Machine>,
    pm: &Arc<PageManager>,
    source: Source,
) -> Result<Ref<dyn Fcm>, Problem> {
    let pages = Pages { frames: Frames::default(), below: None, pm: pm.clone() };
    object(here, Computation::new(machine.clone(), pm.clone(), source, pages))
}

fn object(here: &Here<'_>, fcm: Computation) -> Result<Ref<dyn Fcm>, Problem> {
    let fcm: Arc<dyn Fcm> = Arc::new(fcm);
    Ok(here.create(Clustered::shared(move |_: &Here<'_>, _| fcm.clone()))?)
}

struct Computation {
    machine: Arc<dyn Machine>,
    pm: Arc<PageManager>,
    source: Source,
    state: Mutex<State>,
}

struct State {
    views: Views,
    pages: Pages,
}

/// Resident pages, and those of the ancestor where there are none.
struct Pages {
    frames: Frames,
    below: Option<Arc<Mutex<Pages>>>,
    pm: Arc<PageManager>,
}

impl Drop for Pages {
    fn drop(&mut self) {
        let frames = mem::take(&mut self.frames).into_frames();
        self.pm.release_all(frames.map(|(_, frame)| frame));
    }
}

impl Pages {
    /// Makes the pages of ancestors its own that nobody else has below.
    fn collapse(&mut self) {
        while let Some(below) = self.below.take() {
            match Arc::try_unwrap(below) {
                Ok(only) => {
                    let mut only = only.into_inner();
                    self.below = only.below.take();
                    for (number, frame) in mem::take(&mut only.frames).into_frames() {
                        // What was stored since hides the older page.
                        if let Some(newer) = self.frames.insert(number, frame)
                            && let Some(older) = self.frames.insert(number, newer)
                        {
                            only.frames.insert(number, older);
                        }
                    }
                }
                Err(shared) => {
                    self.below = Some(shared);
                    return;
                }
            }
        }
    }

    /// Where the page is, in an ancestor.
    fn in_ancestor(&self, number: u64) -> Option<GuestAddr> {
        let mut next = self.below.clone();
        while let Some(ancestor) = next {
            let mut ancestor = ancestor.lock();
            // One that only this ancestor has below: earlier children have ended.
            ancestor.collapse();
            if let Some(frame) = ancestor.frames.get(number) {
                return Some(frame.address());
            }
            next = ancestor.below.clone();
        }
        None
    }
}

impl Computation {
    fn new(
        machine: Arc<dyn Machine>,
        pm: Arc<PageManager>,
        source: Source,
        pages: Pages,
    ) -> Computation {
        let state = Mutex::new(State { views: Views::default(), pages });
        Computation { machine, pm, source, state }
    }

    /// A frame with the page's first bytes.
    fn filled(&self, here: &Here<'_>, number: u64) -> Result<Frame, Problem> {
        let frame = self.pm.allocate(here)?;
        let page = frame.address();
        let mut filled = 0;
        if let Source::Image(image) = self.source {
            let offset = number.saturating_mul(PAGE_SIZE);
            filled = image.size.saturating_sub(offset).min(PAGE_SIZE);
            if filled != 0 {
                self.machine.copy(page, image.start.offset(offset), filled);
            }
        }
        self.machine.zero(page.offset(filled), PAGE_SIZE - filled);
        Ok(frame)
    }
}

impl Fcm for Computation {
    fn show(&self, here: &Here<'_>, old: Option<View>, new: Vec<View>) -> Result<bool, Problem> {
        let State { views, pages } = &mut *self.state.lock();
        let range = old.as_ref().map_or(0..0, |view| view.pages.clone());
        views.replace(here, old, new);
        for number in pages.frames.numbers(range) {
            if views.shows(number) {
                continue;
            }
            if let Some(frame) = pages.frames.remove(number) {
                self.pm.release(here, frame);
            }
        }
        let seen = !views.0.is_empty();
        if !seen {
            pages.below = None;
        }
        Ok(seen)
    }

    fn map_page(
        &self,
        here: &Here<'_>,
        view: &View,
        number: u64,
        access: Access,
    ) -> Result<(), Problem> {
        let State { views, pages } = &mut *self.state.lock();
        let view = views.find(view, number)?;
        let mut allowed = view.access;
        if pages.below.is_some() {
            pages.collapse();
        }
        let own = pages.frames.get(number).map(Frame::address);
        let at = match own.map(Ok).or_else(|| pages.in_ancestor(number).map(Err)) {
            Some(Ok(own)) => own,
            Some(Err(at)) if !access.contains(Access::WRITE) => {
                allowed.remove(Access::WRITE);
                at
            }
            Some(Err(from)) => {
                let frame = self.pm.allocate(here)?;
                let at = frame.address();
                trace::copy_on_reference(here, number, from.value(), at.value());
                self.machine.copy(at, from, PAGE_SIZE);
                for other in views.of(number) {
                    // Nobody shall see the old page.
                    let page = other.address(number);
                    let _ = other.hat.unmap(here, page..page.offset(PAGE_SIZE));
                }
                pages.frames.insert(number, frame);
                at
            }
            None => {
                let frame = self.filled(here, number)?;
                let at = frame.address();
                pages.frames.insert(number, frame);
                at
            }
        };
        trace::fcm(here, number, at.value());
        if allowed.contains(Access::EXECUTE) {
            self.machine.synchronize_instructions(at, PAGE_SIZE);
        }
        view.hat.map(here, view.address(number), at, allowed)
    }

    fn fork(&self, here: &Here<'_>) -> Result<Ref<dyn Fcm>, Problem> {
        let State { views, pages } = &mut *self.state.lock();
        pages.collapse();
        let pm = || self.pm.clone();
        if pages.frames.count() != 0 {
            for number in pages.frames.numbers(0..u64::MAX) {
                for view in views.of(number).filter(|view| view.access.contains(Access::WRITE)) {
                    view.hat.protect(here, view.address(number), view.access - Access::WRITE)?;
                }
            }
            let frames = mem::take(&mut pages.frames);
            let ancestor = Pages { frames, below: pages.below.take(), pm: pm() };
            pages.below = Some(Arc::new(Mutex::new(ancestor)));
        }
        let child = Pages { frames: Frames::default(), below: pages.below.clone(), pm: pm() };
        object(here, Computation::new(self.machine.clone(), pm(), self.source, child))
    }
}
