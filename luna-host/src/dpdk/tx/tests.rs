use super::*;

#[test]
fn each_family_has_its_flags() {
    let (seg, ip_sum) = (sys::LUNA_MBUF_F_TX_TCP_SEG, sys::LUNA_MBUF_F_TX_IP_CKSUM);
    let sum = sys::LUNA_MBUF_F_TX_TCP_CKSUM;
    let v4 = TxMeta { l2_len: 14, l3_len: 20, l4_len: 32, ipv6: false, offload_checksum: true, segment_size: 0 };
    let v6 = TxMeta { l3_len: 40, ipv6: true, ..v4 };
    let flags = |meta| offloads(meta, seg | ip_sum).0;
    assert_eq!(flags(v4), sum | sys::LUNA_MBUF_F_TX_IPV4);
    assert_eq!(flags(v6), sum | sys::LUNA_MBUF_F_TX_IPV6);
    assert_eq!(flags(TxMeta { segment_size: 1448, ..v4 }), sum | sys::LUNA_MBUF_F_TX_IPV4 | seg | ip_sum);
    assert_eq!(flags(TxMeta { segment_size: 1428, ..v6 }), sum | sys::LUNA_MBUF_F_TX_IPV6 | seg, "no IPv4 checksum");
    let large = TxMeta { segment_size: 1428, ..v6 };
    assert_eq!(offloads(large, seg).1, sys::mbuf::pack_tx_offload(14, 40, 32, 1428));
    assert_eq!(offloads(TxMeta { offload_checksum: false, ..large }, seg), (0, 0));
}
