// SPDX-License-Identifier: GPL-2.0-only
/* Calls svc_alloc_arg(). Included behind net/sunrpc/svc_xprt.c. */
#include "harness.h"

static struct svc_rqst *bulkpages_rqst;
static struct svc_serv *bulkpages_serv;

static struct page **bulkpages_svc_setup(unsigned int n)
{
#ifndef BULKPAGES_SVC_COUNTS_HOLES
	if (n < 3 || n > RPCSVC_MAXPAGES)
		return ERR_PTR(-ERANGE);
#endif
	bulkpages_rqst = kvzalloc(sizeof(*bulkpages_rqst), GFP_KERNEL);
	bulkpages_serv = kvzalloc(sizeof(*bulkpages_serv), GFP_KERNEL);
	if (!bulkpages_rqst || !bulkpages_serv)
		return ERR_PTR(-ENOMEM);
	bulkpages_rqst->rq_server = bulkpages_serv;
	/* The function adds two pages to this. */
	bulkpages_serv->sv_max_mesg = (n - 2) * PAGE_SIZE;
#ifdef BULKPAGES_SVC_COUNTS_HOLES
	bulkpages_rqst->rq_maxpages = n;
	bulkpages_rqst->rq_pages = kvcalloc(n + 1, sizeof(struct page *), GFP_KERNEL);
	bulkpages_rqst->rq_respages = kvcalloc(n + 1, sizeof(struct page *), GFP_KERNEL);
	if (!bulkpages_rqst->rq_pages || !bulkpages_rqst->rq_respages)
		return ERR_PTR(-ENOMEM);
#endif
	return bulkpages_rqst->rq_pages;
}

static void bulkpages_svc_before(unsigned int n, const char *pattern)
{
#ifdef BULKPAGES_SVC_COUNTS_HOLES
	/* What sunrpc knows after a request: how far from the front it took pages away. */
	unsigned int i, upto = 0;

	for (i = 0; i < n; i++)
		if (pattern[i] != 'x')
			upto = i + 1;
	bulkpages_rqst->rq_pages_nfree = upto;
	bulkpages_rqst->rq_next_page = bulkpages_rqst->rq_respages;
#endif
}

static int bulkpages_svc_fill(unsigned int n)
{
	/* An error code in older trees, in newer ones whether it worked. */
	if (!__builtin_types_compatible_p(typeof(svc_alloc_arg(bulkpages_rqst)), bool))
		return svc_alloc_arg(bulkpages_rqst);
	return svc_alloc_arg(bulkpages_rqst) ? 0 : -ENOMEM;
}

static struct page **bulkpages_svc_after(unsigned int n)
{
	return bulkpages_rqst->rq_pages;
}

static void bulkpages_svc_teardown(unsigned int n)
{
#ifdef BULKPAGES_SVC_COUNTS_HOLES
	if (bulkpages_rqst) {
		kvfree(bulkpages_rqst->rq_pages);
		kvfree(bulkpages_rqst->rq_respages);
	}
#endif
	kvfree(bulkpages_serv);
	kvfree(bulkpages_rqst);
}

static const struct bulkpages_caller bulkpages_svc = {
	.name = "svc_alloc_arg",
	.setup = bulkpages_svc_setup,
	.before = bulkpages_svc_before,
	.fill = bulkpages_svc_fill,
	.after = bulkpages_svc_after,
	.teardown = bulkpages_svc_teardown,
	.may_hold = 'a',
};

static int __init bulkpages_svc_init(void)
{
	return bulkpages_register(&bulkpages_svc);
}
subsys_initcall(bulkpages_svc_init);
