use std::vec::Vec;

use heapless::VecView;

use super::*;
use crate::rpc::StreamError;
use crate::time::Instant;
use crate::zbuf::{Frag, Pool, testing};

/// Only a source of objs.
struct Objs(Pool);

impl ByteStream for Objs {
    fn send(&mut self, _: &mut VecView<Frag>, _: u64) -> Result<(), StreamError> {
        Err(StreamError::Closed)
    }
    fn alloc(&mut self) -> Option<ZbufMut> {
        self.0.alloc()
    }
    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

fn chunk(pool: &Pool, headroom: u32, bytes: &[u8]) -> Zbuf {
    let mut obj = pool.alloc_with_headroom(headroom).unwrap();
    obj.append(bytes.len() as u32).unwrap().copy_from_slice(bytes);
    obj.freeze()
}

fn bytes(gather: &Gather) -> Vec<u8> {
    gather.chunks.iter().flat_map(|c| c.bytes().unwrap().to_vec()).collect()
}

#[test]
fn small_chunks_join_the_last_obj_and_large_ones_do_not() {
    let rx = testing::pool(1, 1024);
    let mut objs = Objs(testing::pool(1, 256));
    let mut copies = CopyCounter::default();
    let mut gather = Gather::new(65536);
    let large = chunk(&rx, 0, &[1; 128]);
    let ptr = large.as_ptr();
    assert!(gather.retain(large, &mut objs, &mut copies).is_ok());
    assert!(gather.retain(chunk(&rx, 0, &[2; 127]), &mut objs, &mut copies).is_ok());
    assert_eq!((gather.chunks.len(), gather.held(), copies.bytes, copies.copies), (1, 1024, 127, 1));
    assert!(gather.retain(chunk(&rx, 0, &[3; 128]), &mut objs, &mut copies).is_ok());
    assert_eq!((gather.chunks.len(), gather.held(), copies.bytes), (2, 2048, 127));
    assert_eq!(gather.chunks[0].bytes().unwrap().as_ptr(), ptr.as_ptr().cast_const());
    assert_eq!(bytes(&gather), [&[1u8; 128][..], &[2; 127], &[3; 128]].concat());
    gather.clear();
    assert_eq!((gather.held(), rx.outstanding(), objs.0.outstanding()), (0, 0, 0));
}

#[test]
fn behind_a_shared_obj_a_small_one_is_taken() {
    let rx = testing::pool(1, 4096);
    let mut objs = Objs(testing::pool(1, 256));
    let mut copies = CopyCounter::default();
    let mut gather = Gather::new(65536);
    let first = chunk(&rx, 0, &[1; 100]);
    let shared = first.clone();
    assert!(gather.retain(first, &mut objs, &mut copies).is_ok());
    for i in 0..200 {
        assert!(gather.retain(chunk(&rx, 0, &[i]), &mut objs, &mut copies).is_ok());
    }
    assert_eq!((gather.chunks.len(), gather.held()), (2, 4096 + 256));
    assert_eq!(*shared, [1; 100], "nobody wrote where others read");
    assert_eq!(bytes(&gather)[100..], (0..200).collect::<Vec<u8>>());
    assert_eq!(rx.outstanding(), 1);
}

#[test]
fn over_the_budget_everything_is_packed_that_can_be() {
    let rx = testing::pool(1, 1024);
    let mut objs = Objs(testing::pool(1, 256));
    let mut copies = CopyCounter::default();
    let mut gather = Gather::new(2048 * 2 / 3 + 1);
    for i in 0..10 {
        assert!(gather.retain(chunk(&rx, 0, &[i; 200]), &mut objs, &mut copies).is_ok());
    }
    // Four objs are the budget; the last of them takes four more chunks, the next obj the last two.
    assert_eq!((gather.chunks.len(), gather.held()), (5, 5 * 1024));
    assert_eq!(bytes(&gather), (0..10).flat_map(|i| [i; 200]).collect::<Vec<u8>>());
}

#[test]
fn a_full_vector_is_compacted() {
    let rx = testing::pool(1, 1024);
    let mut objs = Objs(testing::pool(1, 256));
    let mut copies = CopyCounter::default();
    let mut gather = Gather::new(MAX_GATHER);
    let mut expected = Vec::new();
    for i in 0..100u8 {
        let part = [i; 600];
        expected.extend(part);
        assert!(gather.retain(chunk(&rx, 100, &part), &mut objs, &mut copies).is_ok(), "{i}");
        assert_eq!(gather.held() as usize, gather.chunks.len() * 1024);
    }
    assert!(gather.chunks.len() <= MAX_CHUNKS);
    assert!(bytes(&gather) == expected);
    assert_eq!(rx.outstanding(), gather.chunks.len());
}

#[test]
fn what_cannot_be_compacted_is_refused() {
    let rx = testing::pool(1, 1024);
    let mut copies = CopyCounter::default();
    let mut gather = Gather::new(MAX_GATHER);
    let mut others = Vec::new();
    for i in 0..MAX_CHUNKS {
        let part = chunk(&rx, 0, &[i as u8]);
        others.push(part.clone());
        assert!(gather.push(part, &mut copies).is_ok());
    }
    assert!(gather.push(chunk(&rx, 0, &[0]), &mut copies).is_err());
    assert_eq!(gather.chunks.len(), MAX_CHUNKS);
    assert_eq!(copies.bytes, 0);
}
