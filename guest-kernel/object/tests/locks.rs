//! Locks of objects (`k42_lib::lock`): the caller lends its token as it lends its activation.
#![allow(missing_docs)]

use k42_lib::lock::{Held, Lock, Nothing};
use k42_object::{Clustered, Gone, Here, Ref, clustered, vcpus};
use std::sync::Arc;

k42_lib::levels! { Region < Fcm }

#[clustered]
trait Pages {
    /// Whoever calls this may hold a lock of a region's level, and none of a later one.
    fn take(&self, here: &Here<'_>, held: &mut Held<'_, Region>) -> Result<u64, Gone>;
}

struct Cache(Lock<Fcm, u64>);

impl Pages for Cache {
    fn take(&self, _: &Here<'_>, held: &mut Held<'_, Region>) -> Result<u64, Gone> {
        let mut left = self.0.lock(held);
        *left -= 1;
        Ok(*left)
    }
}

#[test]
fn an_activation_has_the_token_that_its_calls_are_lent() {
    let vcpus = vcpus(1);
    let mut here = vcpus[0].enter();
    let (here, mut held): (_, Held<'_, Nothing>) = Held::nothing(&mut here);
    let make = |_: &Here<'_>, _| Arc::new(Cache(Lock::new(3))) as Arc<dyn Pages>;
    let pages: Ref<dyn Pages> = here.create(Clustered::shared(make)).unwrap();
    let region = Lock::<Region, _>::new(0);
    let mut fault = || {
        let mut region = region.lock(&mut held);
        let (last, held) = region.split();
        *last = pages.take(here, held)?;
        Ok(*last)
    };
    // By a miss, by the table, and by a mediator.
    assert_eq!((fault(), fault()), (Ok(2), Ok(1)));
    let calls = here.count(pages).unwrap();
    assert_eq!(fault(), Ok(0));
    assert_eq!(calls.total().next(), Some(("take", 1)));
    here.destroy(pages).unwrap();
    assert_eq!(fault(), Err(Gone));
    // Who holds nothing calls as if it held the region's.
    assert_eq!(pages.take(here, &mut held.as_if()), Err(Gone));
}
