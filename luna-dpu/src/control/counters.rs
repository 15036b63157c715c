//! What the control plane dropped, by reason, and what it did.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters of the control plane, cumulative.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ControlCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl ControlCounters {
            /// Every counter with its name, for printing.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Frames looked at.
    frames_in,
    /// Frames sent.
    frames_out,
    /// Frames that could not be sent: no objs, or the queue was full.
    send_failed,
    /// Dropped: to another hardware address, another VLAN, or another address.
    not_ours,
    /// Dropped: cut short, a wrong length, a wrong checksum.
    malformed,
    /// Dropped: an IP fragment; none is put together here.
    fragments,
    /// Dropped: what the protocols allow to ignore (other ICMP types, routers' advertisements, UDP to a group...).
    ignored,
    /// Neighbour discovery that a router could have forwarded, or that contradicts itself (RFC 4861 §7.1).
    nd_refused,
    /// ARP requests and neighbour solicitations for our addresses, answered.
    answered,
    /// ARP requests and neighbour solicitations that we sent to resolve.
    solicited,
    /// ARP requests and neighbour solicitations that we sent to see whether a neighbour is still there.
    probed,
    /// Neighbours that did not answer.
    unresolved,
    /// Neighbours refused because the table is full of neighbours in use.
    neighbors_full,
    /// Neighbours that gave way to others.
    neighbors_evicted,
    /// Somebody else uses one of our addresses.
    conflicts,
    /// Addresses that we did not take, or gave up, because somebody else has them.
    duplicates,
    /// Gratuitous ARP and unsolicited neighbour advertisements sent.
    announced,
    /// Echo requests answered.
    echoes,
    /// ICMP errors sent.
    errors_out,
    /// ICMP errors not sent, because of the rate limit.
    errors_limited,
    /// DHCP messages sent.
    dhcp_out,
    /// DHCP messages that were for somebody else, or did not fit the state.
    dhcp_ignored,
    /// Addresses that a DHCP server refused.
    dhcp_refused,
    /// Leases that ran out.
    dhcp_expired,
}
