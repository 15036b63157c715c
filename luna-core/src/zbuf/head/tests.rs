use super::super::testing;
use super::super::{Arena, Frag, Pool, raw};
use super::*;

/// A message of `len` bytes of `byte` with room for headers before it.
fn message(arena: &mut Arena, pool: &Pool, byte: u8, len: u32) -> Frag {
    let mut room = arena.leading_room(pool, len).unwrap();
    room.bytes().fill(byte);
    room.into_frag(false)
}

#[test]
fn headers_and_message_are_one_piece_of_an_obj_that_goes_home_with_the_last_holder() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let mut frag = message(&mut arena, &pool, 7, 100);
    let mut head = frag.take_lead(u32::MAX).unwrap();
    head.lead_mut().unwrap().fill(3);
    assert_eq!(head[..], [&[3; LEAD_LEN][..], &[7; 100]].concat());
    assert_eq!(frag.bytes(), Some(&[7; 100][..]), "as it was");
    assert!(frag.take_lead(100).is_none(), "once only: a device may be reading");
    assert_eq!(head.obj_start(), frag.slice(3, 5).into_zbuf().unwrap().obj_start());
    drop((frag, arena));
    assert_eq!(pool.outstanding(), 1, "the device has it");
    let kept = head.into_zbuf();
    assert_eq!(kept[LEAD_LEN..], [7; 100]);
    drop(kept);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_head_may_have_the_beginning_of_a_message_only() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let mut frag = message(&mut arena, &pool, 7, 100);
    let head = frag.take_lead(40).unwrap();
    assert_eq!((head.len(), frag.len()), (LEAD_LEN as u32 + 40, 100));
}

#[test]
fn parts_and_copies_of_a_message_have_no_room_before_them() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let frag = message(&mut arena, &pool, 7, 100);
    assert!(frag.slice(0, 100).take_lead(100).is_none());
    assert!(frag.clone().take_lead(100).is_none());
    assert!(frag.lend().to_frag().take_lead(100).is_none());
    let mut other = arena.room(&pool, 10).unwrap();
    other.bytes().fill(1);
    assert!(other.into_frag(true).take_lead(10).is_none(), "what follows in the obj");
}

#[test]
fn what_joins_a_message_goes_along_with_its_headers() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let mut frag = message(&mut arena, &pool, 7, 50);
    let mut room = arena.rest(20).unwrap();
    room.bytes().fill(8);
    room.leave();
    assert!(arena.join(&mut frag, 20));
    let head = frag.take_lead(u32::MAX).unwrap();
    assert_eq!(head[LEAD_LEN..], [&[7; 50][..], &[8; 20]].concat());
}

#[test]
fn more_is_put_behind_it_only_while_nobody_shares_the_obj() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let mut frag = message(&mut arena, &pool, 7, 10);
    let head = frag.take_lead(10).unwrap();
    let head = head.try_into_mut().unwrap_err();
    drop((frag, arena));
    let mut alone = head.try_into_mut().unwrap();
    alone.append(5).unwrap().fill(1);
    assert_eq!(FrameHead::from(alone).len(), LEAD_LEN as u32 + 15);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_reference_given_back_on_another_thread_leaves_the_others() {
    let pool = testing::pool(1, 256);
    let mut arena = Arena::new();
    let mut frag = message(&mut arena, &pool, 7, 10);
    let (data, _) = raw::head_into_parts(frag.take_lead(10).unwrap());
    // SAFETY: the head's reference; as another thread would, and no other is under way.
    unsafe { raw::obj_put_elsewhere(data) };
    drop(arena);
    assert_eq!(pool.outstanding(), 1);
    assert_eq!(frag.bytes(), Some(&[7; 10][..]));
    drop(frag);
    assert_eq!(pool.outstanding(), 0);
}
