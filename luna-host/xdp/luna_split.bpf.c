// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * The traffic split on a Linux interface (paper §7): TCP for Luna's ports goes to the AF_XDP socket of the queue that it
 * arrived on; everything else, ARP, ICMP, IP fragments and other TCP ports included, stays with the kernel.
 *
 * The ports are not compiled in: luna-host finds `luna_ports` in the object file by its magic and writes the ranges
 * before loading. Without a socket in the map (no process, or one that died) all traffic goes to the kernel.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_RANGES 16
#define MAX_QUEUES 64
#define IP_FRAGMENT 0x3fff /* more fragments, or an offset */

struct range {
	__u16 first;
	__u16 last;
};

/* luna-host: xdp.rs knows this layout. */
struct luna_ports {
	__u8 magic[16];
	__u32 count;
	struct range ranges[MAX_RANGES];
};

const volatile struct luna_ports luna_ports = { .magic = "LunaPortRangesV1" };

/* net_af_xdp looks for this name. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, MAX_QUEUES);
	__type(key, __u32);
	__type(value, __u32);
} xsks_map SEC(".maps");

struct vlan {
	__be16 tci;
	__be16 inner;
};

static __always_inline int is_ours(__u16 port)
{
	for (int i = 0; i < MAX_RANGES; i++) {
		if (i >= luna_ports.count)
			return 0;
		if (port >= luna_ports.ranges[i].first && port <= luna_ports.ranges[i].last)
			return 1;
	}
	return 0;
}

SEC("xdp")
int luna_split(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = (void *)(long)ctx->data;
	void *next = eth + 1;
	__be16 type;
	struct tcphdr *tcp;

	if (next > end)
		return XDP_PASS;
	type = eth->h_proto;
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
		struct vlan *tag = next;

		if ((void *)(tag + 1) > end)
			return XDP_PASS;
		type = tag->inner;
		next = tag + 1;
	}
	if (type == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = next;
		__u32 len;

		if ((void *)(ip + 1) > end || ip->version != 4 || ip->protocol != IPPROTO_TCP)
			return XDP_PASS;
		if (ip->frag_off & bpf_htons(IP_FRAGMENT))
			return XDP_PASS;
		len = ip->ihl * 4;
		if (len < sizeof(*ip))
			return XDP_PASS;
		tcp = next + len;
	} else if (type == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = next;

		/* Extension headers: the kernel's. */
		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_TCP)
			return XDP_PASS;
		tcp = (void *)(ip + 1);
	} else {
		return XDP_PASS;
	}
	if ((void *)(tcp + 1) > end)
		return XDP_PASS;
	if (!is_ours(bpf_ntohs(tcp->dest)))
		return XDP_PASS;
	/* XDP_PASS in the flags: what happens when no socket is at this index. */
	return bpf_redirect_map(&xsks_map, ctx->rx_queue_index, XDP_PASS);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
