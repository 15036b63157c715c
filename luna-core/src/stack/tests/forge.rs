//! Segments made by hand, as a peer or an attacker would send them.

use super::harness::*;
use crate::nic::NicQueue;
use crate::stack::ConnId;
use crate::tcp::connection::Connection;
use crate::wire::{
    HeaderTemplate, MacAddr, SegmentHead, SeqNum, TcpFlags, TcpOptions, tcp_checksum, write_tcp_checksum,
};

/// What a forged segment says; it begins as a plain acknowledgment that the connection would accept.
pub(super) struct Forged {
    pub(super) seq: SeqNum,
    pub(super) ack: SeqNum,
    pub(super) flags: TcpFlags,
    pub(super) window: u16,
    pub(super) ts: Option<(u32, u32)>,
    pub(super) payload: Vec<u8>,
    pub(super) sack: Vec<(SeqNum, SeqNum)>,
}

impl End {
    pub(super) fn conn(&self, conn: ConnId) -> &Connection {
        self.stack.conns.at(self.stack.slot_of(conn).expect("alive"))
    }

    pub(super) fn conn_mut(&mut self, conn: ConnId) -> &mut Connection {
        let slot = self.stack.slot_of(conn).expect("alive");
        self.stack.conns.at_mut(slot)
    }

    pub(super) fn queue(&mut self) -> &mut Queue {
        let path = self.path;
        self.stack.queue_mut(path).unwrap()
    }

    /// Puts a segment from the peer of `conn` in front of what arrives.
    pub(super) fn forge(&mut self, conn: ConnId, change: impl FnOnce(&mut Forged)) {
        let slot = self.stack.slot_of(conn).expect("alive");
        self.forge_to_slot(slot, change);
    }

    /// As [`End::forge`], for connections whose name is stale (TIME-WAIT).
    pub(super) fn forge_to_slot(&mut self, slot: u32, change: impl FnOnce(&mut Forged)) {
        let c = self.stack.conns.at(slot);
        let mut f = Forged {
            seq: c.rcv_nxt,
            ack: c.snd_nxt,
            flags: TcpFlags::ACK,
            window: (c.snd_wnd >> c.snd_scale) as u16,
            ts: c.flags.timestamps().then_some((c.ts_recent, 0)),
            payload: Vec::new(),
            sack: Vec::new(),
        };
        change(&mut f);
        let (remote, local) = c.key.addrs();
        let (remote_port, local_port) = (c.key.remote_port(), c.key.local_port());
        let mac = self.queue().caps().mac;
        let from = MacAddr([2, 0, 0, 0, 0, 3 - mac.0[5]]);
        let t = HeaderTemplate::new(from, mac, None, remote, local, remote_port, local_port, 64).unwrap();
        let mut options = TcpOptions { timestamps: f.ts, ..TcpOptions::default() };
        for (left, right) in &f.sack {
            assert!(options.sack.push(*left, *right));
        }
        let options = (!f.sack.is_empty()).then_some(&options);
        let head = SegmentHead { seq: f.seq, ack: f.ack, flags: f.flags, window: f.window, ts: f.ts, ecn: 0, options };
        let mut frame = self.pools.data.alloc().unwrap();
        let n = t.header_len(&head);
        frame.set_len(n as u32);
        t.emit(&mut frame, &head, f.payload.len() as u32);
        let tcp_len = head.tcp_header_len() + f.payload.len();
        let sum = tcp_checksum(t.pseudo_sum(tcp_len as u32), &frame[t.l2l3_len()..], [&f.payload[..]]);
        write_tcp_checksum(&mut frame, t.l2l3_len(), sum);
        frame.append(f.payload.len() as u32).unwrap().copy_from_slice(&f.payload);
        self.queue().inject.push_back(frame.freeze());
    }
}
