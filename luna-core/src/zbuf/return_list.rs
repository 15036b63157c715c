//! The lock-free list by which objs come home from other threads: many push, the owner takes all at once.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};

use super::zone::NONE;

/// Head of a stack of obj indices; the links are in the objs' contexts.
///
/// Taking everything at once leaves no room for an ABA exchange: nobody pops single entries.
#[cfg_attr(not(loom), repr(align(64)))]
pub(super) struct ReturnList(AtomicU32);

impl ReturnList {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(NONE))
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self(AtomicU32::new(NONE))
    }

    /// Publishes `obj`, which is exclusively the caller's; `link` stores its successor before anybody can see it.
    pub(super) fn push(&self, obj: u32, mut link: impl FnMut(u32)) {
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            link(head);
            match self.0.compare_exchange_weak(head, obj, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes the whole list and returns its first obj, or [`NONE`]. A plain load when it is empty, as it nearly always is.
    pub(super) fn take_all(&self) -> u32 {
        if self.0.load(Ordering::Relaxed) == NONE {
            return NONE;
        }
        self.0.swap(NONE, Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use super::*;

    /// Two threads give back one obj each while the owner takes: every obj arrives exactly once, its link intact.
    #[test]
    fn every_obj_comes_home_once() {
        loom::model(|| {
            let list = Arc::new((ReturnList::new(), [UnsafeCell::new(NONE), UnsafeCell::new(NONE)]));
            let threads: Vec<_> = (0..2u32)
                .map(|obj| {
                    let list = list.clone();
                    loom::thread::spawn(move || {
                        // SAFETY: obj `obj` is this thread's until push publishes it.
                        list.0.push(obj, |next| list.1[obj as usize].with_mut(|p| unsafe { *p = next }));
                    })
                })
                .collect();
            let mut seen = [0; 2];
            let mut take = || {
                let mut obj = list.0.take_all();
                while obj != NONE {
                    seen[obj as usize] += 1;
                    // SAFETY: take_all made it ours.
                    obj = list.1[obj as usize].with(|p| unsafe { *p });
                }
            };
            take();
            for t in threads {
                t.join().unwrap();
            }
            take();
            assert_eq!(seen, [1, 1]);
        });
    }
}
