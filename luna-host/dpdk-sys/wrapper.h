/* What bindgen reads. Public DPDK headers only, so that one file serves every release from 22.11 on. */
#ifndef LUNA_DPDK_WRAPPER_H
#define LUNA_DPDK_WRAPPER_H

#include <stddef.h>
#include <stdio.h>

#include <rte_config.h>
#include <rte_version.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_lcore.h>
#include <rte_eal.h>
#include <rte_memory.h>
#include <rte_memzone.h>
#include <rte_malloc.h>
#include <rte_mempool.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_dev.h>
#include <rte_bus_vdev.h>
#include <rte_ring.h>
#include <rte_thread.h>

/* Whether mbufs carry a bus address; the macro was renamed in 23.03. */
#if defined(RTE_IOVA_IN_MBUF)
#define LUNA_IOVA_IN_MBUF RTE_IOVA_IN_MBUF
#elif defined(RTE_IOVA_AS_PA)
#define LUNA_IOVA_IN_MBUF RTE_IOVA_AS_PA
#else
#define LUNA_IOVA_IN_MBUF 0
#endif

/* A bit field, whose generated accessor moved in 24.11. */
static inline int luna_link_is_up(const struct rte_eth_link *link)
{
	return link->link_status == RTE_ETH_LINK_UP;
}

/* rte_errno is thread-local, which a generated static cannot express. */
static inline int luna_errno(void)
{
	return rte_errno;
}

/*
 * Field offsets of rte_mbuf. Its anonymous unions are numbered differently from release to release (and lost
 * their markers in 24.11), so the bindings name fields by offset instead of by generated path.
 */
enum luna_mbuf_offset {
	LUNA_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	LUNA_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	LUNA_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	LUNA_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	LUNA_MBUF_PORT = offsetof(struct rte_mbuf, port),
	LUNA_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	LUNA_MBUF_PACKET_TYPE = offsetof(struct rte_mbuf, packet_type),
	LUNA_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	LUNA_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	LUNA_MBUF_VLAN_TCI = offsetof(struct rte_mbuf, vlan_tci),
	LUNA_MBUF_HASH_RSS = offsetof(struct rte_mbuf, hash.rss),
	LUNA_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	LUNA_MBUF_POOL = offsetof(struct rte_mbuf, pool),
	LUNA_MBUF_NEXT = offsetof(struct rte_mbuf, next),
	LUNA_MBUF_TX_OFFLOAD = offsetof(struct rte_mbuf, tx_offload),
	LUNA_MBUF_SHINFO = offsetof(struct rte_mbuf, shinfo),
	LUNA_MBUF_PRIV_SIZE = offsetof(struct rte_mbuf, priv_size),
	LUNA_MBUF_SIZE = sizeof(struct rte_mbuf),
	LUNA_OBJHDR_SIZE = sizeof(struct rte_mempool_objhdr),
	LUNA_MEMPOOL_ALIGN = RTE_MEMPOOL_ALIGN,
	LUNA_PKTMBUF_HEADROOM = RTE_PKTMBUF_HEADROOM,
	LUNA_MBUF_HAS_IOVA = LUNA_IOVA_IN_MBUF,
};

/* Bit positions inside rte_mbuf.tx_offload. */
enum luna_tx_offload_shift {
	LUNA_TX_L2_LEN_SHIFT = RTE_MBUF_L2_LEN_OFS,
	LUNA_TX_L3_LEN_SHIFT = RTE_MBUF_L3_LEN_OFS,
	LUNA_TX_L4_LEN_SHIFT = RTE_MBUF_L4_LEN_OFS,
	LUNA_TX_TSO_SEGSZ_SHIFT = RTE_MBUF_TSO_SEGSZ_OFS,
	/* Of the bits that DPDK gives no meaning. */
	LUNA_TX_UNUSED_SHIFT = RTE_MBUF_TXOFLD_UNUSED_OFS,
};

/* Function-like macros (RTE_BIT64) are invisible to bindgen: constants give them values. */
static const uint64_t LUNA_RX_OFFLOAD_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t LUNA_RX_OFFLOAD_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t LUNA_RX_OFFLOAD_TCP_LRO = RTE_ETH_RX_OFFLOAD_TCP_LRO;
static const uint64_t LUNA_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t LUNA_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t LUNA_RX_OFFLOAD_VLAN_STRIP = RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
static const uint64_t LUNA_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t LUNA_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t LUNA_TX_OFFLOAD_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t LUNA_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t LUNA_MBUF_F_RX_VLAN = RTE_MBUF_F_RX_VLAN;
static const uint64_t LUNA_MBUF_F_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t LUNA_MBUF_F_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t LUNA_MBUF_F_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t LUNA_MBUF_F_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t LUNA_MBUF_F_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t LUNA_MBUF_F_RX_IP_CKSUM_NONE = RTE_MBUF_F_RX_IP_CKSUM_NONE;
static const uint64_t LUNA_MBUF_F_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t LUNA_MBUF_F_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t LUNA_MBUF_F_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t LUNA_MBUF_F_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_NONE;
static const uint64_t LUNA_MBUF_F_RX_LRO = RTE_MBUF_F_RX_LRO;
static const uint64_t LUNA_MBUF_F_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t LUNA_MBUF_F_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t LUNA_MBUF_F_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t LUNA_MBUF_F_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t LUNA_MBUF_F_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t LUNA_MBUF_F_EXTERNAL = RTE_MBUF_F_EXTERNAL;
static const uint64_t LUNA_RSS_TCP = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP;
static const uint32_t LUNA_VERSION = RTE_VERSION;

#endif
