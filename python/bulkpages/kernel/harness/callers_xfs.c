// SPDX-License-Identifier: GPL-2.0-only
/*
 * Calls xfs_buf_alloc_pages(). Included behind fs/xfs/xfs_buf.c. The function makes its array itself, so it is always
 * empty, and above two pages the clock holds a kzalloc() of it. XBF_READ: the pages need not be zeroed.
 */
#include "harness.h"

static struct xfs_buf *bulkpages_xfs_buf;
static struct xfs_mount *bulkpages_xfs_mount;

static struct page **bulkpages_xfs_setup(unsigned int n)
{
	bulkpages_xfs_buf = kvzalloc(sizeof(*bulkpages_xfs_buf), GFP_KERNEL);
	bulkpages_xfs_mount = kvzalloc(sizeof(*bulkpages_xfs_mount), GFP_KERNEL);
	if (!bulkpages_xfs_buf || !bulkpages_xfs_mount)
		return ERR_PTR(-ENOMEM);
	/* What xfs counts in is made when xfs starts, which it does not here. */
	if (!xfsstats.xs_stats)
		xfsstats.xs_stats = alloc_percpu(struct xfsstats);
	if (!xfsstats.xs_stats)
		return ERR_PTR(-ENOMEM);
	bulkpages_xfs_mount->m_stats.xs_stats = xfsstats.xs_stats;
	bulkpages_xfs_buf->b_mount = bulkpages_xfs_mount;
	bulkpages_xfs_buf->b_length = BTOBB(n * PAGE_SIZE);
	return NULL;
}

static int bulkpages_xfs_fill(unsigned int n)
{
	return xfs_buf_alloc_pages(bulkpages_xfs_buf, XBF_READ);
}

static struct page **bulkpages_xfs_after(unsigned int n)
{
	return bulkpages_xfs_buf->b_pages;
}

static void bulkpages_xfs_before(unsigned int n, const char *pattern)
{
	if (bulkpages_xfs_buf->b_pages != bulkpages_xfs_buf->b_page_array)
		kfree(bulkpages_xfs_buf->b_pages);
	bulkpages_xfs_buf->b_pages = NULL;
	memset(bulkpages_xfs_buf->b_page_array, 0, sizeof(bulkpages_xfs_buf->b_page_array));
	bulkpages_xfs_buf->b_flags = 0;
}

static void bulkpages_xfs_teardown(unsigned int n)
{
	if (bulkpages_xfs_buf)
		bulkpages_xfs_before(n, "");
	kvfree(bulkpages_xfs_buf);
	kvfree(bulkpages_xfs_mount);
}

static const struct bulkpages_caller bulkpages_xfs = {
	.name = "xfs_buf_alloc_pages",
	.setup = bulkpages_xfs_setup,
	.before = bulkpages_xfs_before,
	.fill = bulkpages_xfs_fill,
	.after = bulkpages_xfs_after,
	.teardown = bulkpages_xfs_teardown,
	.may_hold = '0',
};

static int __init bulkpages_xfs_init(void)
{
	return bulkpages_register(&bulkpages_xfs);
}
subsys_initcall(bulkpages_xfs_init);
