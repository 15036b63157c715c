use core::time::Duration;

use super::*;
use crate::mem_pair;
use luna_core::nic::MemQueue;

type Queue = MemQueue<'static, 'static>;

fn pair(mtu: u16, offload: bool, checksums: Checksums) -> (LimitServer<Queue>, LimitClient<Queue>) {
    let (server, client) = mem_pair::pair(mtu, offload);
    let server = LimitServer::new(server.open_limit().unwrap(), checksums);
    (server, LimitClient::new(client.open_limit().unwrap(), checksums))
}

fn point(size: u32, in_flight: u32) -> LimitPoint {
    LimitPoint { size, in_flight, warmup: Duration::ZERO, duration: Duration::from_millis(20), verify: true }
}

#[test]
fn every_byte_comes_back_in_as_many_frames_as_lunas() {
    for (mtu, offload) in [(1500, true), (1500, false), (9000, true), (1280, false)] {
        let (mut server, mut client) = pair(mtu, offload, Checksums::AsLuna);
        for (size, in_flight) in [(1, 1), (4096, 1), (4096, 16), (65_536, 3), (1408, 1), (1409, 2)] {
            let before = client.report();
            client
                .run(point(size, in_flight), |client| {
                    server.turn();
                    client.turn();
                    true
                })
                .unwrap();
            let frames = client.report().since(&before).queue.get("tx_frames").unwrap();
            let each = (u64::from(size) + 40).div_ceil(u64::from(mtu) - 52);
            assert!(frames >= each, "{mtu} {size}");
            assert_eq!(frames % each, 0, "whole messages of {each} frames: {frames}");
        }
        let (stack, counted) = server.report();
        assert_eq!((counted.get("messages_broken"), counted.get("frames_not_ours")), (Some(0), Some(0)));
        assert_eq!((stack.copies.tx_bytes, stack.queue.get("tx_dropped")), (Some(0), Some(0)));
    }
}

#[test]
fn a_frame_damaged_on_its_way_is_not_answered() {
    use luna_core::nic::{NicQueue, RxBurst};
    use luna_core::zbuf::Frag;
    for (checksums, strange) in [(Checksums::AsLuna, 1), (Checksums::Nobody, 0)] {
        let (server_end, client_end) = mem_pair::pair(1500, false);
        let mut server = LimitServer::new(server_end.open_limit().unwrap(), checksums);
        let mut end = client_end.open_limit().unwrap();
        // A frame that is right in everything but its checksums, which are 0.
        let mut frames = frame::Frames::new(mem_pair::pair(1500, false).1.open_limit().unwrap(), Checksums::Nobody);
        let payload = crate::knbench::make_payload(end.payload, 100, 0).unwrap();
        let pieces: Vec<Frag> = payload.into_iter().map(Frag::from).collect();
        let mut header = end.queue.header_pool().alloc_len(frame::HEADER as u32 + 40).unwrap();
        let mut copy = frames.header_for_tests(7, 140);
        copy.resize(frame::HEADER + 40, 0);
        header.copy_from_slice(&copy);
        let mut lent = luna_core::nic::TxFrags::new();
        lent.push(pieces[0].lend()).unwrap();
        let meta = luna_core::nic::TxMeta {
            l2_len: 14,
            l3_len: 20,
            l4_len: 32,
            ipv6: false,
            offload_checksum: false,
            segment_size: 0,
        };
        end.queue.tx(header.into(), &lent, meta).unwrap();
        server.turn();
        let (_, counted) = server.report();
        assert_eq!(counted.get("frames_not_ours"), Some(strange), "{checksums:?}");
        let mut answers = RxBurst::new();
        end.queue.rx_burst(&mut answers);
        assert_eq!(answers.len() as u64, 1 - strange);
    }
}

#[test]
fn a_link_that_loses_is_told_and_what_does_not_fit_is_refused() {
    let (server, mut client) = pair(1500, true, Checksums::AsLuna);
    drop(server);
    assert!(matches!(
        client.run(point(64, 1), |c| {
            c.turn();
            true
        }),
        Err(LimitError::Lost(_))
    ));
    let (_server, mut client) = pair(1500, true, Checksums::AsLuna);
    assert!(matches!(
        client.run(point(65_536, 64), |c| {
            c.turn();
            true
        }),
        Err(LimitError::TooMuch { .. })
    ));
}
