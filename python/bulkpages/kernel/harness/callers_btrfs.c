// SPDX-License-Identifier: GPL-2.0-only
/* Calls btrfs_alloc_page_array(). Included behind fs/btrfs/extent_io.c. */
#include "harness.h"

static struct page **bulkpages_btrfs_array;

static struct page **bulkpages_btrfs_setup(unsigned int n)
{
	bulkpages_btrfs_array = kvcalloc(n, sizeof(struct page *), GFP_KERNEL);
	return bulkpages_btrfs_array ?: ERR_PTR(-ENOMEM);
}

static int bulkpages_btrfs_fill(unsigned int n)
{
	return btrfs_alloc_page_array(n, bulkpages_btrfs_array BULKPAGES_BTRFS_ARGUMENT);
}

static struct page **bulkpages_btrfs_after(unsigned int n)
{
	return bulkpages_btrfs_array;
}

static void bulkpages_btrfs_teardown(unsigned int n)
{
	kvfree(bulkpages_btrfs_array);
}

static const struct bulkpages_caller bulkpages_btrfs = {
	.name = "btrfs_alloc_page_array",
	.setup = bulkpages_btrfs_setup,
	.fill = bulkpages_btrfs_fill,
	.after = bulkpages_btrfs_after,
	.teardown = bulkpages_btrfs_teardown,
	.may_hold = 'a',
};

static int __init bulkpages_btrfs_init(void)
{
	return bulkpages_register(&bulkpages_btrfs);
}
subsys_initcall(bulkpages_btrfs_init);
