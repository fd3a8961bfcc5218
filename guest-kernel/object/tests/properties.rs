//! Whatever vCPUs do in whatever order, objects are what a list of them would say.
#![allow(missing_docs)]

use k42_object::{Clustered, Gone, Here, Ref, clustered, vcpus};
use proptest::prelude::*;
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

#[clustered]
trait Cell {
    /// Which object this is, and of which cluster; the number of calls so far.
    fn who(&self, here: &Here<'_>) -> Result<(usize, u32, u64), Gone>;
}

struct Rep {
    object: usize,
    cluster: u32,
    calls: AtomicU64,
    /// The object's reps may be dropped: it has ended, and nobody is there from before.
    may_end: Arc<AtomicBool>,
}

impl Cell for Rep {
    fn who(&self, _: &Here<'_>) -> Result<(usize, u32, u64), Gone> {
        Ok((self.object, self.cluster, self.calls.fetch_add(1, Relaxed) + 1))
    }
}

impl Drop for Rep {
    fn drop(&mut self) {
        assert!(self.may_end.load(Relaxed) || std::thread::panicking(), "dropped too early");
    }
}

const VCPUS: usize = 4;

struct Object {
    reference: Ref<dyn Cell>,
    size: u32,
    calls: HashMap<u32, u64>,
    lives: bool,
    /// The long activations that were there at its end.
    waits_for: Vec<usize>,
    may_end: Arc<AtomicBool>,
}

impl Object {
    fn look(&self) {
        self.may_end.store(!self.lives && self.waits_for.is_empty(), Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Create(usize, u32),
    Call(usize, usize),
    Destroy(usize, usize),
    Count(usize, usize),
    /// Begins a long activation on a vCPU, or ends the one that is there.
    Long(usize),
    Clean(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let vcpu = || 0..VCPUS;
    prop_oneof![
        (vcpu(), 1u32..6).prop_map(|(vcpu, size)| Step::Create(vcpu, size)),
        (vcpu(), any::<usize>()).prop_map(|(vcpu, object)| Step::Call(vcpu, object)),
        (vcpu(), any::<usize>()).prop_map(|(vcpu, object)| Step::Call(vcpu, object)),
        (vcpu(), any::<usize>()).prop_map(|(vcpu, object)| Step::Destroy(vcpu, object)),
        (vcpu(), any::<usize>()).prop_map(|(vcpu, object)| Step::Count(vcpu, object)),
        vcpu().prop_map(Step::Long),
        vcpu().prop_map(Step::Clean),
    ]
}

proptest! {
    #[test]
    fn objects_are_what_a_list_says(steps in prop::collection::vec(step(), 1..150)) {
        let vcpus = vcpus(VCPUS as u32);
        let mut long: Vec<Option<(usize, Here<'_>)>> = (0..VCPUS).map(|_| None).collect();
        let mut objects: Vec<Object> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Create(vcpu, size) => {
                    let (object, may_end) = (objects.len(), Arc::new(AtomicBool::new(false)));
                    let flag = may_end.clone();
                    let make = move |_: &Here<'_>, cluster| {
                        let (calls, may_end) = (AtomicU64::new(0), flag.clone());
                        Arc::new(Rep { object, cluster, calls, may_end }) as Arc<dyn Cell>
                    };
                    let root = Clustered::per_cluster(NonZero::new(size).unwrap(), make);
                    let reference = vcpus[vcpu].enter().create(root).unwrap();
                    let taken = objects.iter().find(|o| o.lives && o.reference == reference);
                    prop_assert!(taken.is_none());
                    // Whoever had the identifier is not asked any more.
                    for old in objects.iter_mut().filter(|old| old.reference == reference) {
                        old.calls.clear();
                        old.size = 0;
                    }
                    let (calls, waits_for) = (HashMap::new(), Vec::new());
                    objects.push(Object { reference, size, calls, lives: true, waits_for, may_end });
                }
                Step::Call(vcpu, which) if !objects.is_empty() => {
                    let object = which % objects.len();
                    let Object { reference, size, calls, lives, .. } = &mut objects[object];
                    if *size == 0 {
                        continue;
                    }
                    let cluster = vcpu as u32 / *size;
                    let answer = reference.who(&vcpus[vcpu].enter());
                    let count = calls.entry(cluster).or_default();
                    *count += u64::from(*lives);
                    let wanted = if *lives { Ok((object, cluster, *count)) } else { Err(Gone) };
                    prop_assert_eq!(answer, wanted);
                }
                Step::Destroy(vcpu, which) if !objects.is_empty() => {
                    let number = which % objects.len();
                    let object = &mut objects[number];
                    if object.size == 0 {
                        continue;
                    }
                    let wanted = if object.lives { Ok(()) } else { Err(Gone) };
                    prop_assert_eq!(vcpus[vcpu].enter().destroy(object.reference), wanted);
                    if object.lives {
                        object.lives = false;
                        object.waits_for = long.iter().flatten().map(|(number, _)| *number).collect();
                        object.look();
                    }
                }
                Step::Count(vcpu, which) if !objects.is_empty() => {
                    let Object { reference, size, lives, .. } = &objects[which % objects.len()];
                    if *size != 0 {
                        prop_assert_eq!(vcpus[vcpu].enter().count(*reference).is_ok(), *lives);
                    }
                }
                Step::Long(vcpu) => {
                    let Some((ended, _)) = long[vcpu].take() else {
                        long[vcpu] = Some((number, vcpus[vcpu].enter()));
                        continue;
                    };
                    for object in &mut objects {
                        object.waits_for.retain(|number| *number != ended);
                        object.look();
                    }
                }
                Step::Clean(vcpu) => { vcpus[vcpu].clean(); }
                _ => {}
            }
        }
        long.clear();
        objects.iter().for_each(|object| object.may_end.store(true, Relaxed));
        for _ in 0..3 {
            vcpus.iter().for_each(|vcpu| { vcpu.clean(); });
        }
        prop_assert!(!vcpus.iter().any(|vcpu| vcpu.clean()));
        let left = |object: &&Object| !object.lives && Arc::strong_count(&object.may_end) != 1;
        prop_assert_eq!(objects.iter().filter(left).count(), 0);
    }
}
