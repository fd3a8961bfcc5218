//! References meet objects of their own interface, whatever becomes of theirs and wherever they are used.
#![allow(missing_docs)]

use k42_object::{Clustered, Gone, Here, Interface, Ref, Vcpu, clustered, vcpus};
use std::sync::Arc;

#[clustered]
trait Number {
    fn number(&self, here: &Here<'_>) -> Result<u64, Gone>;
}

/// With a method in the same place that takes and answers something else.
#[clustered]
trait Name {
    fn name(&self, here: &Here<'_>, letters: &mut String) -> Result<(), Gone>;
}

struct Rep;

impl Number for Rep {
    fn number(&self, _: &Here<'_>) -> Result<u64, Gone> {
        Ok(42)
    }
}

impl Name for Rep {
    fn name(&self, _: &Here<'_>, letters: &mut String) -> Result<(), Gone> {
        letters.push('x');
        Ok(())
    }
}

fn create<I: Interface + ?Sized>(vcpu: &Vcpu, rep: Arc<I>) -> Ref<I> {
    let root = Clustered::shared(move |_: &Here<'_>, _| rep.clone());
    vcpu.enter().create(root).unwrap()
}

#[test]
fn an_identifier_is_of_one_interface() {
    let vcpus = vcpus(2);
    let mut names: Vec<Ref<dyn Name>> = Vec::new();
    let mut numbers: Vec<Ref<dyn Number>> = Vec::new();
    for round in 0..300 {
        let vcpu = &vcpus[round % 2];
        names.push(create(vcpu, Arc::new(Rep)));
        numbers.push(create(vcpu, Arc::new(Rep)));
        let (here, mut letters) = (vcpu.enter(), String::new());
        names[round].name(&here, &mut letters).unwrap();
        assert_eq!((letters.as_str(), numbers[round].number(&here)), ("x", Ok(42)));
        here.destroy(names[round]).unwrap();
        here.destroy(numbers[round / 2]).unwrap_or_default();
        drop(here);
        for vcpu in &vcpus {
            vcpu.clean();
        }
    }
    let both = |name: &Ref<dyn Name>| numbers.iter().any(|n| n.identifier() == name.identifier());
    assert!(!names.iter().any(both));
}

#[test]
fn a_reference_is_safe_where_it_means_nothing() {
    let (home, abroad) = (vcpus(1), vcpus(2));
    let (here, there) = (home[0].enter(), abroad[1].enter());
    // Enough that the last ones' identifiers are new to the process.
    for _ in 0..200 {
        let number = create(&home[0], Arc::new(Rep) as Arc<dyn Number>);
        assert_eq!(number.number(&there), Err(Gone));
        assert_eq!(there.destroy(number), Err(Gone));
        assert_eq!(number.number(&here), Ok(42));
        let late = vcpus(1);
        assert_eq!(number.number(&late[0].enter()), Err(Gone));
    }
}
