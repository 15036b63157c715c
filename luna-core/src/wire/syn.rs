//! SYNs as they come by the thousand: untagged IPv4 without options, TCP with MSS, SACK, timestamps and window scale in the
//! order in which nearly everybody sends them (we too). Read and answered without a template: a flood's SYN must cost little.

use super::build::tcp_checksum;
use super::bytes::{be16, be32, put, take};
use super::{Checksum, MacAddr, PROTOCOL_TCP, SeqNum};

/// Length of such a SYN, and of its answer: Ethernet, IPv4, TCP with 20 bytes of options.
pub(crate) const PLAIN_SYN_LEN: usize = 74;
const L4: usize = 34;

/// `MSS`, `SACK permitted`, `timestamps`, `window scale`: 20 bytes with one NOP.
const OPTIONS: [u32; 3] = [0x0204_0000, 0x0402_080a, 0x0103_0300];

/// What such a SYN says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlainSyn {
    /// Source and destination address.
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) ports: u32,
    pub(crate) seq: SeqNum,
    pub(crate) mss: u16,
    pub(crate) scale: u8,
}

impl PlainSyn {
    /// Reads a frame to `mac` whose checksums are known to be right; `None` when it is not plain.
    #[inline(always)]
    pub(crate) fn read(frame: &[u8; PLAIN_SYN_LEN], mac: MacAddr) -> Option<Self> {
        let plain = be32::<12, _>(frame) & 0xffff_ff00 == 0x0800_4500
            && take::<0, 6, _>(frame) == mac.0
            && be16::<16, _>(frame) == 60
            && be32::<20, _>(frame) & 0x3fff_00ff == u32::from(PROTOCOL_TCP)
            && be16::<46, _>(frame) == 0xa002
            && be32::<54, _>(frame) & 0xffff_0000 == OPTIONS[0]
            && be32::<58, _>(frame) == OPTIONS[1]
            && be32::<70, _>(frame) & 0xffff_ff00 == OPTIONS[2];
        plain.then(|| Self {
            src: be32::<26, _>(frame),
            dst: be32::<30, _>(frame),
            ports: be32::<34, _>(frame),
            seq: SeqNum(be32::<38, _>(frame)),
            mss: be16::<56, _>(frame),
            scale: frame[73].min(14),
        })
    }
}

/// The SYN-ACKs of one listener: complete but for what depends on the SYN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SynAckTemplate {
    bytes: [u8; PLAIN_SYN_LEN],
    /// Sums over the IP header and the pseudo-header, the peer's address not in them.
    ip_sum: u32,
    pseudo_sum: u32,
    /// The device completes the TCP checksum.
    offload: bool,
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

impl SynAckTemplate {
    /// For SYNs to `mac` and the address and port `dst`.
    pub(crate) fn new(mac: MacAddr, dst: (u32, u16), window: u16, mss: u16, scale: u8, ttl: u8, offload: bool) -> Self {
        let mut bytes = [0; PLAIN_SYN_LEN];
        let out = &mut bytes;
        let ttl = u32::from(ttl) << 8 | u32::from(PROTOCOL_TCP);
        let address = (dst.0 >> 16) + (dst.0 & 0xffff);
        put::<6, 6, _>(out, mac.0);
        put::<12, 4, _>(out, 0x0800_4500_u32.to_be_bytes());
        put::<16, 2, _>(out, 60_u16.to_be_bytes());
        // Identification 0 with DF (RFC 6864).
        put::<20, 4, _>(out, (0x4000_0000 | ttl).to_be_bytes());
        put::<26, 4, _>(out, dst.0.to_be_bytes());
        put::<34, 2, _>(out, dst.1.to_be_bytes());
        put::<46, 4, _>(out, (0xa012_0000 | u32::from(window)).to_be_bytes());
        put::<54, 4, _>(out, (OPTIONS[0] | u32::from(mss)).to_be_bytes());
        put::<58, 4, _>(out, OPTIONS[1].to_be_bytes());
        put::<70, 4, _>(out, (OPTIONS[2] | u32::from(scale)).to_be_bytes());
        let ip_sum = 0x4500 + 60 + 0x4000 + ttl + address;
        Self { bytes, ip_sum, pseudo_sum: address + u32::from(PROTOCOL_TCP) + 40, offload }
    }

    /// Writes the answer to `syn`, which was read from `frame`.
    #[inline(always)]
    pub(crate) fn emit(
        &self,
        out: &mut [u8; PLAIN_SYN_LEN],
        frame: &[u8; PLAIN_SYN_LEN],
        syn: &PlainSyn,
        seq: SeqNum,
        tsval: u32,
    ) {
        *out = self.bytes;
        put::<0, 6, _>(out, take::<6, 6, _>(frame));
        let address = (syn.src >> 16) + (syn.src & 0xffff);
        put::<24, 2, _>(out, (!fold(self.ip_sum + address)).to_be_bytes());
        put::<30, 4, _>(out, take::<26, 4, _>(frame));
        put::<36, 2, _>(out, take::<34, 2, _>(frame));
        put::<38, 4, _>(out, seq.0.to_be_bytes());
        put::<42, 4, _>(out, (syn.seq + 1).0.to_be_bytes());
        put::<62, 4, _>(out, tsval.to_be_bytes());
        put::<66, 4, _>(out, take::<62, 4, _>(frame));
        let pseudo = fold(self.pseudo_sum + address);
        put::<50, 2, _>(out, pseudo.to_be_bytes());
        if !self.offload {
            self.finish(out, pseudo);
        }
    }

    #[cold]
    fn finish(&self, out: &mut [u8; PLAIN_SYN_LEN], pseudo: u16) {
        put::<50, 2, _>(out, [0; 2]);
        let sum = tcp_checksum(Checksum::from_fold(pseudo), &out[L4..], []);
        put::<50, 2, _>(out, sum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::pseudo_header_sum;
    use super::super::{HeaderTemplate, RxChecksum, SackBlocks, SegmentHead, TcpFlags, TcpOptions, TcpPacket};
    use super::*;
    use proptest::prelude::*;

    fn syn(src: u32, dst: u32, ports: (u16, u16), seq: u32, options: &TcpOptions) -> Vec<u8> {
        let (a, b) = (MacAddr([2, 1, 1, 1, 1, 1]), MacAddr([2, 2, 2, 2, 2, 2]));
        let ip = |n: u32| core::net::IpAddr::from(n.to_be_bytes());
        let t = HeaderTemplate::new(a, b, None, ip(src), ip(dst), ports.0, ports.1, 64).unwrap();
        let head = SegmentHead {
            seq: SeqNum(seq),
            ack: SeqNum(0),
            flags: TcpFlags::SYN,
            window: 1000,
            ts: None,
            ecn: 0,
            options: Some(options),
        };
        let mut out = vec![0; t.header_len(&head)];
        t.emit(&mut out, &head, 0);
        out
    }

    proptest! {
        /// What it reads and writes is what the general code reads and writes.
        #[test]
        fn agrees_with_the_general_code(
            addrs: (u32, u32), ports: (u16, u16), numbers: (u32, u32, u32, u32), mss: (u16, u16), scale: (u8, u8),
            window: u16, ttl: u8, offload: bool,
        ) {
            let options = TcpOptions {
                mss: Some(mss.0),
                window_scale: Some(scale.0),
                sack_permitted: true,
                timestamps: Some((numbers.1, 0)),
                sack: SackBlocks::EMPTY,
                telemetry: false,
            };
            let frame = syn(addrs.0, addrs.1, ports, numbers.0, &options);
            let mac = MacAddr([2, 2, 2, 2, 2, 2]);
            let frame: [u8; PLAIN_SYN_LEN] = frame.try_into().expect("20 bytes of options");
            prop_assert!(PlainSyn::read(&frame, MacAddr([2, 2, 2, 2, 2, 3])).is_none());
            let read = PlainSyn::read(&frame, mac).expect("plain");
            prop_assert_eq!((read.src, read.dst, read.seq.0), (addrs.0, addrs.1, numbers.0));
            prop_assert_eq!((read.mss, read.scale), (mss.0, scale.0.min(14)));
            let template = SynAckTemplate::new(mac, (addrs.1, ports.1), window, mss.1, scale.1 % 15, ttl, offload);
            let mut out = [0; PLAIN_SYN_LEN];
            template.emit(&mut out, &frame, &read, SeqNum(numbers.2), numbers.3);
            let mut finished = out;
            if offload {
                let sum = tcp_checksum(Checksum::new(), &finished[L4..], []);
                put::<50, 2, _>(&mut finished, sum.to_be_bytes());
            }
            let packet = TcpPacket::parse_frame(&finished, RxChecksum::UNKNOWN).expect("checksums are right");
            let ip = |n: u32| core::net::IpAddr::from(n.to_be_bytes());
            prop_assert_eq!((packet.src, packet.dst), (ip(addrs.1), ip(addrs.0)));
            prop_assert_eq!((packet.tcp.src_port, packet.tcp.dst_port), (ports.1, ports.0));
            prop_assert_eq!((packet.tcp.seq.0, packet.tcp.ack.0), (numbers.2, numbers.0.wrapping_add(1)));
            prop_assert_eq!((packet.tcp.flags, packet.tcp.window), (TcpFlags::SYN.union(TcpFlags::ACK), window));
            prop_assert_eq!((packet.src_mac, packet.dst_mac), (mac, MacAddr([2, 1, 1, 1, 1, 1])));
            let got = TcpOptions::parse(packet.options(&finished)).unwrap();
            prop_assert_eq!(got, TcpOptions {
                mss: Some(mss.1),
                window_scale: Some(scale.1 % 15),
                timestamps: Some((numbers.3, numbers.1)),
                ..options
            });
            if offload {
                let mut pseudo = pseudo_header_sum(packet.src, packet.dst, 40);
                pseudo.add(&[]);
                prop_assert_eq!(be16::<50, _>(&out), pseudo.fold());
            }
        }

        /// Any other bit in the fixed places makes it another frame's business.
        #[test]
        fn anything_else_is_not_plain(at in 12usize..74, bit in 0u32..8) {
            let options = TcpOptions {
                mss: Some(1460), window_scale: Some(7), sack_permitted: true, timestamps: Some((1, 0)), sack: SackBlocks::EMPTY,
                telemetry: false,
            };
            let mut frame = syn(0x0a00_0001, 0x0a00_0002, (1, 2), 3, &options);
            frame[at] ^= 1 << bit;
            let frame: [u8; PLAIN_SYN_LEN] = frame.try_into().expect("20 bytes of options");
            let free = [15, 18, 19, 22, 24, 25, 56, 57, 73].contains(&at)
                || (26..46).contains(&at) || (48..54).contains(&at) || (62..70).contains(&at)
                || at == 20 && bit >= 6;
            prop_assert_eq!(PlainSyn::read(&frame, MacAddr([2; 6])).is_some(), free);
        }
    }
}
