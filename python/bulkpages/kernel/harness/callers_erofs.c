// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls z_erofs_gbuf_growsize(). Included behind fs/erofs/zutil.c. One buffer is grown, whatever the number of CPUs;
 * the clock holds the kcalloc() of its array and the vmap() of its pages too.
 */
#include "harness.h"

static struct z_erofs_gbuf bulkpages_erofs_buf, *bulkpages_erofs_pool;
static unsigned int bulkpages_erofs_count, bulkpages_erofs_nrpages;

static struct page **bulkpages_erofs_setup(unsigned int n)
{
	memset(&bulkpages_erofs_buf, 0, sizeof(bulkpages_erofs_buf));
	spin_lock_init(&bulkpages_erofs_buf.lock);
	bulkpages_erofs_buf.pages = kcalloc(n, sizeof(struct page *), GFP_KERNEL);
	if (!bulkpages_erofs_buf.pages)
		return ERR_PTR(-ENOMEM);
	/* The tree's own buffers stand aside while ours is grown. */
	bulkpages_erofs_pool = z_erofs_gbufpool;
	bulkpages_erofs_count = z_erofs_gbuf_count;
	bulkpages_erofs_nrpages = z_erofs_gbuf_nrpages;
	z_erofs_gbufpool = &bulkpages_erofs_buf;
	z_erofs_gbuf_count = 1;
	return bulkpages_erofs_buf.pages;
}

static void bulkpages_erofs_before(unsigned int n, const char *pattern)
{
	unsigned int have = 0;

	while (have < n && pattern[have] == 'x')
		have++;
	if (bulkpages_erofs_buf.ptr)
		vunmap(bulkpages_erofs_buf.ptr);
	bulkpages_erofs_buf.ptr = NULL;
	bulkpages_erofs_buf.nrpages = have;
	z_erofs_gbuf_nrpages = have;
}

static int bulkpages_erofs_fill(unsigned int n)
{
	return z_erofs_gbuf_growsize(n);
}

static struct page **bulkpages_erofs_after(unsigned int n)
{
	return bulkpages_erofs_buf.pages;
}

static void bulkpages_erofs_teardown(unsigned int n)
{
	if (!bulkpages_erofs_buf.pages)
		return;
	if (bulkpages_erofs_buf.ptr)
		vunmap(bulkpages_erofs_buf.ptr);
	kfree(bulkpages_erofs_buf.pages);
	z_erofs_gbufpool = bulkpages_erofs_pool;
	z_erofs_gbuf_count = bulkpages_erofs_count;
	z_erofs_gbuf_nrpages = bulkpages_erofs_nrpages;
}

static const struct bulkpages_caller bulkpages_erofs = {
	.name = "z_erofs_gbuf_growsize",
	.setup = bulkpages_erofs_setup,
	.before = bulkpages_erofs_before,
	.fill = bulkpages_erofs_fill,
	.after = bulkpages_erofs_after,
	.teardown = bulkpages_erofs_teardown,
	.may_hold = 'l',
};

static int __init bulkpages_erofs_init(void)
{
	return bulkpages_register(&bulkpages_erofs);
}
subsys_initcall(bulkpages_erofs_init);
