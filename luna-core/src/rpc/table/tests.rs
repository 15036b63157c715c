use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

#[test]
fn names_are_never_used_again() {
    let mut slots = vec![Slot::default(); 2];
    let mut table = Table::new(&mut slots, 7);
    let a = table.insert('a').unwrap();
    let b = table.insert('b').unwrap();
    assert_eq!(table.insert('c'), None, "full");
    assert_eq!((a & 0xffff, a >> 16 & 0xffff, a >> 32), (7, 0, 1));
    assert_eq!(table.remove(a), Some('a'));
    assert!(table.get(a).is_none() && table.get_mut(a).is_none() && table.remove(a).is_none());
    let c = table.insert('c').unwrap();
    assert_ne!(a, c);
    assert_eq!(table.get(a), None, "the old name does not find the new entry");
    assert_eq!((table.get(b), table.get(c), table.live()), (Some(&'b'), Some(&'c'), 2));
    assert_eq!((table.find(|v| *v == 'c'), table.find(|v| *v == 'a')), (Some(c), None));
    assert_eq!((untagged(b), table.tagged(untagged(b))), (1 << 16 | 1, b), "a peer knows it without the tag");
    for other in [b ^ 1, b ^ 1 << 16, b ^ 1 << 32, b | 0xffff << 16, 0, u64::MAX] {
        assert_eq!(table.get(other), None);
    }
}

#[test]
fn no_slots_no_entries() {
    let mut table = Table::<u8>::new(&mut [], 0);
    assert!(table.insert(1).is_none() && table.get(0).is_none() && table.remove(0).is_none());
}

#[test]
fn slots_that_were_used_before_start_clean() {
    let mut slots = vec![Slot::default(); 3];
    let old = Table::new(&mut slots, 1).insert(5).unwrap();
    let mut table = Table::new(&mut slots, 2);
    assert_eq!((table.get(old), table.live()), (None, 0));
    assert!((0..3).all(|_| table.insert(9).is_some()));
}

proptest! {
    #[test]
    fn like_a_map(steps in proptest::collection::vec(proptest::option::of(any::<usize>()), 0..300)) {
        let mut slots = vec![Slot::default(); 5];
        let mut table = Table::new(&mut slots, 3);
        let mut model = BTreeMap::new();
        let mut ever = vec![];
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                None => match table.insert(i) {
                    Some(name) => {
                        prop_assert!(!ever.contains(&name));
                        ever.push(name);
                        model.insert(name, i);
                    }
                    None => prop_assert_eq!(model.len(), 5),
                },
                Some(n) if !ever.is_empty() => {
                    let name = ever[n % ever.len()];
                    prop_assert_eq!(table.remove(name), model.remove(&name));
                }
                Some(_) => {}
            }
            prop_assert_eq!(table.live() as usize, model.len());
            for name in &ever {
                prop_assert_eq!(table.get(*name), model.get(name));
            }
            let mut found: Vec<_> = (0..table.len()).filter_map(|i| table.at(i).map(|(n, v)| (n, *v))).collect();
            found.sort_unstable();
            prop_assert_eq!(found, model.iter().map(|(n, v)| (*n, *v)).collect::<Vec<_>>());
        }
    }
}
