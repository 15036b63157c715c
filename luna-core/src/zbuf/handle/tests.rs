use super::super::testing::{drain, pool};
use super::*;

#[test]
fn clone_slice_and_split_share_one_obj() {
    let pool = pool(1, 2048);
    let mut buf = pool.alloc().unwrap();
    buf.append(100).unwrap().iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
    let whole = buf.freeze();
    let mid = whole.slice(10..20);
    assert_eq!(&mid[..], (10..20).collect::<Vec<u8>>());
    let mut tail = whole.clone();
    let head = tail.split_to(60);
    assert_eq!((head.len(), tail.len(), tail[0]), (60, 40, 60));
    assert_eq!(pool.outstanding(), 1);
    assert!(whole.try_into_mut().is_err(), "shared memory is not writable");
    drop((mid, head));
    assert!(tail.is_unique());
    let mut again = tail.try_into_mut().unwrap();
    again[0] = 7;
    assert_eq!(again.headroom(), 60);
    drop(again);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn an_empty_slice_at_the_end_still_names_its_own_obj() {
    let pool = pool(2, 2048);
    for mut buf in drain(&pool) {
        let n = buf.tailroom();
        buf.set_len(n);
        let start = buf.obj_start();
        let view = buf.freeze();
        for empty in [view.slice(n..), view.slice(n..n), view.slice(5000..), view.clone().split_to(0)] {
            assert!(empty.is_empty());
            assert_eq!(empty.obj_start(), start);
        }
        let mut rest = view.clone();
        drop(rest.split_to(n));
        drop(rest);
        assert!(view.is_unique());
    }
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn prepend_and_append_stay_inside() {
    let pool = pool(1, 256);
    let mut buf = pool.alloc_with_headroom(64).unwrap();
    assert!(buf.append(193).is_none());
    buf.append(192).unwrap().fill(2);
    assert!(buf.append(1).is_none());
    assert!(buf.prepend(65).is_none());
    buf.prepend(64).unwrap().fill(1);
    assert_eq!(buf.len(), 256);
    assert_eq!((buf[0], buf[63], buf[64], buf[255]), (1, 1, 2, 2));
    assert_eq!(buf.set_len(10_000), 256);
    buf.trim_front(1000);
    assert!(buf.is_empty());
}

/// Random sequences of operations on many handles: counts, contents and the number of free objs agree with a model.
#[test]
fn model() {
    use proptest::prelude::*;
    proptest!(|(ops in proptest::collection::vec((0u8..6, any::<u16>(), any::<u16>()), 1..200))| {
        let pool = pool(1, 512);
        let mut live: Vec<(Zbuf, Vec<u8>)> = Vec::new();
        for (op, a, b) in ops {
            let pick = |n: usize| a as usize % n.max(1);
            match op {
                0 => {
                    let mut m = pool.alloc().unwrap();
                    m.append(u32::from(b) % 513).unwrap().fill(a as u8);
                    let bytes = m.to_vec();
                    live.push((m.freeze(), bytes));
                }
                1 if !live.is_empty() => { let i = pick(live.len()); live.swap_remove(i); }
                2 if !live.is_empty() => { let (z, v) = &live[pick(live.len())]; let c = (z.clone(), v.clone()); live.push(c); }
                3 if !live.is_empty() => {
                    let (z, v) = &live[pick(live.len())];
                    let (start, end) = clamp(u32::from(b) % 300..u32::from(b) % 700, z.len());
                    let c = (z.slice(start..end), v[start as usize..end as usize].to_vec());
                    live.push(c);
                }
                4 if !live.is_empty() => {
                    let i = pick(live.len());
                    let n = u32::from(b) % 600;
                    let head = live[i].0.split_to(n);
                    let cut = (n as usize).min(live[i].1.len());
                    let rest = live[i].1.split_off(cut);
                    let front = core::mem::replace(&mut live[i].1, rest);
                    live.push((head, front));
                }
                5 if !live.is_empty() => {
                    let (z, v) = live.swap_remove(pick(live.len()));
                    match z.try_into_mut() {
                        Ok(mut m) => {
                            m.iter_mut().for_each(|x| *x = x.wrapping_add(1));
                            live.push((m.freeze(), v.iter().map(|x| x.wrapping_add(1)).collect()));
                        }
                        Err(z) => live.push((z, v)),
                    }
                }
                _ => {}
            }
        }
        let mut objs: Vec<_> = live.iter().map(|(z, _)| z.obj_start()).collect();
        objs.sort_unstable();
        objs.dedup();
        prop_assert_eq!(pool.outstanding(), objs.len());
        for (z, v) in &live {
            prop_assert_eq!(&z[..], &v[..]);
        }
        drop(live);
        prop_assert_eq!(pool.outstanding(), 0);
    });
}

#[test]
fn a_count_never_wraps() {
    let pool = pool(1, 2048);
    let buf = pool.alloc().unwrap().freeze();
    // As if that many clones had been forgotten.
    let zone = buf.zone();
    // SAFETY: the handle's own obj.
    unsafe { zone.ctx(buf.obj) }.count.set(u32::MAX);
    let clone = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| core::mem::forget(buf.clone())));
    assert!(clone.is_err());
    assert!(!buf.is_unique());
}

#[test]
fn a_view_narrows_to_what_is_there_or_to_nothing() {
    let pool = pool(1, 128);
    let mut whole = pool.alloc().unwrap();
    whole.append(100).unwrap().iter_mut().zip(0..).for_each(|(to, i)| *to = i);
    let whole = whole.freeze();
    for (start, len) in [(0, 100), (66, 34), (66, 1), (99, 1)] {
        let mut part = whole.clone();
        part.narrow(start, len);
        assert_eq!(&part[..], &whole[start as usize..(start + len) as usize]);
    }
    for (start, len) in [(0, 101), (66, 35), (100, 0), (50, 0), (101, 1), (u32::MAX, 2)] {
        let mut part = whole.clone();
        part.narrow(start, len);
        assert!(part.is_empty(), "{len} bytes from {start}");
    }
}
