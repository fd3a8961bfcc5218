//! The FCM of bytes that are in memory already, page by page, and that nobody changes: an image that
//! is shown as it lies there.

use super::{Fcm, View, Views};
use crate::hat::Hat;
use crate::machine::Machine;
use crate::problem::Problem;
use alloc::sync::Arc;
use alloc::vec::Vec;
use k42_lib::GuestAddr;
use k42_lib::radix::Access;
use k42_lib::trace::events::mem;
use k42_object::{Clustered, Here, Ref};
use kernel_abi::PAGE_SIZE;
use spin::Mutex;

/// An FCM of the pages from `start` on, which is aligned.
///
/// # Errors
/// [`Problem::NoMemory`] when there are too many objects.
pub fn create(
    here: &Here<'_>,
    machine: &Arc<dyn Machine>,
    start: GuestAddr,
) -> Result<Ref<dyn Fcm>, Problem> {
    let fcm = Fixed { machine: machine.clone(), start, views: Mutex::default() };
    let fcm: Arc<dyn Fcm> = Arc::new(fcm);
    Ok(here.create(Clustered::shared(move |_: &Here<'_>, _| fcm.clone()))?)
}

struct Fixed {
    machine: Arc<dyn Machine>,
    start: GuestAddr,
    views: Mutex<Views>,
}

impl Fcm for Fixed {
    fn show(&self, here: &Here<'_>, old: Option<View>, new: Vec<View>) -> Result<bool, Problem> {
        let mut views = self.views.lock();
        views.replace(here, old, new);
        Ok(!views.0.is_empty())
    }

    fn map_page(
        &self,
        here: &Here<'_>,
        view: &View,
        number: u64,
        _: Access,
    ) -> Result<(), Problem> {
        let views = self.views.lock();
        let view = views.find(view, number)?;
        let at = self.start.offset(number.wrapping_mul(PAGE_SIZE));
        mem::fcm(here, number, at.value());
        if view.access.contains(Access::EXECUTE) {
            self.machine.synchronize_instructions(at, PAGE_SIZE);
        }
        view.hat.map(here, view.address(number), at, view.access)
    }

    fn fork(&self, here: &Here<'_>) -> Result<Ref<dyn Fcm>, Problem> {
        create(here, &self.machine, self.start)
    }
}
