//! When identifiers are short: a test in a process of its own, as it takes all that there are.
#![allow(missing_docs)]

use k42_object::{Clustered, Full, Gone, Here, clustered, vcpus};
use std::sync::Arc;

#[clustered]
trait Nothing {
    fn nothing(&self, here: &Here<'_>) -> Result<(), Gone>;
}

struct Rep;

impl Nothing for Rep {
    fn nothing(&self, _: &Here<'_>) -> Result<(), Gone> {
        Ok(())
    }
}

#[test]
fn no_identifier_is_an_error_until_one_is_free() {
    let vcpus = vcpus(1);
    let here = vcpus[0].enter();
    let make = |_: &Here<'_>, _| Arc::new(Rep) as Arc<dyn Nothing>;
    let mut objects = Vec::new();
    let full = loop {
        match here.create(Clustered::shared(make)) {
            Ok(object) => objects.push(object),
            Err(full) => break full,
        }
    };
    assert_eq!((full, objects.len()), (Full, 16384));
    here.destroy(objects[5]).unwrap();
    assert_eq!(here.create(Clustered::shared(make)), Err(Full));
    drop(here);
    while vcpus[0].clean() {}
    let here = vcpus[0].enter();
    assert_eq!(here.create(Clustered::shared(make)), Ok(objects[5]));
    for object in &objects {
        object.nothing(&here).unwrap();
    }
}
