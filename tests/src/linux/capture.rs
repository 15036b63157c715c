//! A capture of everything that passes a namespace's interfaces, as a pcap file: kept when its case fails.
//!
//! A forwarded packet is seen twice, coming in and going out; one that was lost only once. The hardware addresses tell.

use core::num::NonZeroU32;
use core::time::Duration;
use std::fs::File;
use std::io::BufWriter;
use std::time::SystemTime;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketType};

/// Headers and a little more.
const SNAP: usize = 128;
/// Packets of one file: some 150 MiB.
const MOST: u64 = 1_000_000;
const ETH_P_ALL: u16 = 3;

pub(crate) fn run(path: &String) {
    let done = super::children::end_of_input();
    let protocol = NonZeroU32::new(u32::from(ETH_P_ALL.to_be())).map(Protocol::from_raw);
    let socket = rustix::net::socket(AddressFamily::PACKET, SocketType::RAW, protocol)
        .unwrap_or_else(|e| panic!("AF_PACKET: {e}"));
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 64 << 20);
    let file = File::create(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let header = PcapHeader { snaplen: SNAP as u32, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(BufWriter::new(file), header).expect("a header");
    let mut buf = [0; SNAP];
    let mut count = 0;
    println!("ready");
    while !done.load(core::sync::atomic::Ordering::Relaxed) {
        // TRUNC: how long the packet was.
        while let Ok((taken, len)) = rustix::net::recv(&socket, &mut buf, RecvFlags::DONTWAIT | RecvFlags::TRUNC) {
            if count < MOST {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let packet = PcapPacket::new(now, len as u32, &buf[..taken.min(SNAP)]);
                writer.write_packet(&packet).expect("the capture's file");
            }
            count += 1;
        }
        let limit = Timespec { tv_sec: 0, tv_nsec: Duration::from_millis(20).subsec_nanos().into() };
        let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&limit));
    }
}
