/* Compile-time proof of what `src/mbuf.rs` takes for granted. No code. */
#include "wrapper.h"

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "DPDK 22.11 or newer is needed"
#endif

#if LUNA_IOVA_IN_MBUF
_Static_assert(offsetof(struct rte_mbuf, buf_iova) == 8, "buf_iova follows buf_addr");
#endif
_Static_assert(sizeof(((struct rte_mbuf *)0)->tx_offload) == 8, "tx_offload is one word");
_Static_assert(sizeof(((struct rte_mbuf *)0)->ol_flags) == 8, "ol_flags is one word");
_Static_assert(sizeof(((struct rte_mbuf *)0)->nb_segs) == 2, "nb_segs is 16 bits");
