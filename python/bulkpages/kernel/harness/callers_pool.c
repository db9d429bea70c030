// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gives pages of a pool out and back, as the page_pool benchmark's three loops do. Included behind net/core/page_pool.c.
 * Returns the pages handled; *cycles is what they took.
 */
#include "harness.h"

int bulkpages_pool_loop(int kind, int times, u64 (*clock)(void), u64 *cycles);
int bulkpages_pool_loop(int kind, int times, u64 (*clock)(void), u64 *cycles)
{
	struct page_pool_params params = {
		.pool_size = 1024,
		.nid = NUMA_NO_NODE,
		.dma_dir = DMA_BIDIRECTIONAL,
	};
	struct page_pool *pool = page_pool_create(&params);
	u64 start;
	int i;

	if (IS_ERR(pool))
		return PTR_ERR(pool);
	local_bh_disable();
	start = clock();
	for (i = 0; i < times; i++) {
		struct page *page = page_pool_alloc_pages(pool, GFP_ATOMIC);

		if (!page)
			break;
		switch (kind) {
		case 1: /* straight back into the pool's cache */
			page_pool_recycle_direct(pool, page);
			break;
		case 2: /* through the ring */
			page_pool_put_page(pool, page, -1, false);
			break;
		case 3: /* somebody holds it: the pool lets go of it, and the page allocator has it back */
			get_page(page);
			page_pool_put_page(pool, page, -1, false);
			put_page(page);
			break;
		}
		if ((i & 1023) == 1023) {
			local_bh_enable();
			cond_resched();
			local_bh_disable();
		}
	}
	*cycles = clock() - start;
	local_bh_enable();
	page_pool_destroy(pool);
	return i;
}
