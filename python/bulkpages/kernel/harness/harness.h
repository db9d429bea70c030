/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the harness share. allocator.c is included behind mm/page_alloc.c, each of the others behind the
 * file of the kernel whose function it calls; tree.h is written by `bulkpages kernel build` and says what this tree's
 * functions look like.
 */
#ifndef BULKPAGES_HARNESS_H
#define BULKPAGES_HARNESS_H

#include "tree.h"

/* Most slots that an array of a cell has. */
#define BULKPAGES_SLOTS 1024

/* A function of the kernel that fills an array. Only fill() stands inside the clock. */
struct bulkpages_caller {
	const char *name;
	/* Makes ready for arrays of n slots; the array that fill() will see, or an ERR_PTR. */
	struct page **(*setup)(unsigned int n);
	/* Called before each fill, when the pages of the pattern are in the array. */
	void (*before)(unsigned int n, const char *pattern);
	int (*fill)(unsigned int n);
	/* Called after each fill: the array as it is now, so that the holes can be made again. */
	struct page **(*after)(unsigned int n);
	void (*teardown)(unsigned int n);
	/* Slots that may hold a page before the fill: 'a' any, 'l' leading ones, '0' none. */
	char may_hold;
};

int bulkpages_register(const struct bulkpages_caller *caller);

#endif
