// SPDX-License-Identifier: GPL-2.0-only
/*
 * Cells: one fill of an array, again and again, between two readings of the clock. The clock is the time stamp counter:
 * cycles where the processor runs this kernel natively, executed instructions under qemu's counted clock. Included by
 * allocator.c.
 */

/* Fills whose mean is one sample: a fill from the lists alone and one that refills them differ, their mean does not. */
#define BULKPAGES_BLOCK 32
#define BULKPAGES_BLOCKS 256

static const struct bulkpages_caller *bulkpages_callers[8];
static struct page *bulkpages_array[BULKPAGES_SLOTS], *bulkpages_kept[BULKPAGES_SLOTS];
static u64 bulkpages_samples[BULKPAGES_BLOCKS];

int bulkpages_register(const struct bulkpages_caller *caller)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(bulkpages_callers); i++) {
		if (bulkpages_callers[i])
			continue;
		bulkpages_callers[i] = caller;
		return 0;
	}
	return -ENOSPC;
}

static u64 bulkpages_clock(void)
{
	u32 low, high;

	asm volatile("lfence; rdtsc; lfence" : "=a"(low), "=d"(high) : : "memory");
	return low | (u64)high << 32;
}

/* The tick would fall into some fills and not into others: it waits until the fill is over. */
static void bulkpages_tick(bool may_come)
{
#ifdef CONFIG_X86_LOCAL_APIC
	u32 entry = apic_read(APIC_LVTT);

	apic_write(APIC_LVTT, may_come ? entry & ~APIC_LVT_MASKED : entry | APIC_LVT_MASKED);
	/* A timer that ran down meanwhile would never come again. */
	if (may_come && !apic_read(APIC_TMCCT))
		apic_write(APIC_TMICT, 1);
#endif
}

static struct page **bulkpages_array_setup(unsigned int n)
{
	memset(bulkpages_array, 0, sizeof(bulkpages_array));
	return bulkpages_array;
}

static struct page **bulkpages_array_after(unsigned int n)
{
	return bulkpages_array;
}

static void bulkpages_array_teardown(unsigned int n)
{
}

/* The bulk function as a careful caller uses it in this tree; an array that is known to be empty needs no compaction. */
static int bulkpages_core_holes;

static void bulkpages_core_before(unsigned int n, const char *pattern)
{
	bulkpages_core_holes = strchr(pattern, 'x') != NULL;
}

static int bulkpages_core_fill(unsigned int n)
{
	struct page **array = bulkpages_array;
	unsigned int filled = 0, got, i;

	if (!bulkpages_output_only) {
		if (!bulkpages_core_holes)
			memset(array, 0, n * sizeof(*array));
		while (filled < n) {
			got = BULKPAGES_BULK(GFP_KERNEL, numa_mem_id(), n, array);
			if (got == filled)
				return -ENOMEM;
			filled = got;
		}
		return 0;
	}
	if (bulkpages_core_holes)
		for (i = 0; i < n; i++) {
			if (!array[i])
				continue;
			array[filled] = array[i];
			if (i != filled)
				array[i] = NULL;
			filled++;
		}
	while (filled < n) {
		got = BULKPAGES_BULK(GFP_KERNEL, numa_mem_id(), n - filled, array + filled);
		if (!got)
			return -ENOMEM;
		filled += got;
	}
	return 0;
}

static int bulkpages_single_fill(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!bulkpages_array[i])
			bulkpages_array[i] = BULKPAGES_ALLOC(GFP_KERNEL, 0, numa_mem_id());
	return 0;
}

/* Nothing: what the clock itself costs. */
static noinline int bulkpages_empty_fill(unsigned int n)
{
	barrier();
	return 0;
}

static const struct bulkpages_caller bulkpages_own[] = {
	{ "core", bulkpages_array_setup, bulkpages_core_before, bulkpages_core_fill, bulkpages_array_after, bulkpages_array_teardown, 'a' },
	{ "single", bulkpages_array_setup, NULL, bulkpages_single_fill, bulkpages_array_after, bulkpages_array_teardown, 'a' },
	{ "empty", bulkpages_array_setup, NULL, bulkpages_empty_fill, bulkpages_array_after, bulkpages_array_teardown, 'a' },
};

static const struct bulkpages_caller *bulkpages_find(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(bulkpages_own); i++)
		if (!strcmp(bulkpages_own[i].name, name))
			return &bulkpages_own[i];
	for (i = 0; i < ARRAY_SIZE(bulkpages_callers); i++)
		if (bulkpages_callers[i] && !strcmp(bulkpages_callers[i]->name, name))
			return bulkpages_callers[i];
	return NULL;
}

static int bulkpages_compare_samples(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Marks the pages that are in the array before a fill: a fill may move them, and new pages have no mark. */
#define BULKPAGES_MARK 0x62756c6bUL

/* Frees what a fill brought, and makes the array again what the pattern says; the slots that held a page. */
static unsigned int bulkpages_make_holes(struct page **array, unsigned int n)
{
	unsigned int i, filled = 0;

	for (i = 0; i < n; i++) {
		if (!array[i])
			continue;
		filled++;
		if (page_private(array[i]) != BULKPAGES_MARK)
			__free_page(array[i]);
	}
	for (i = 0; i < n; i++)
		array[i] = bulkpages_kept[i];
	return filled;
}

static void bulkpages_measure(const char *cell, const struct bulkpages_caller *caller, const char *condition,
			      unsigned int times, const char *pattern)
{
	bool cold = !strcmp(condition, "cold"), lost = !strcmp(condition, "lost");
	unsigned int n = strlen(pattern), i, time, done = 0, filled = 0;
	u64 sum = 0, block = 0, least = ~0ULL;
	struct page **array;
	spinlock_t *lock = NULL;
	struct zone *zone;

	for (i = 0; i < n; i++)
		if (pattern[i] == 'x' && (caller->may_hold == '0' || (caller->may_hold == 'l' && i && pattern[i - 1] != 'x')))
			return bulkpages_say("none %s this function is never given such an array\n", cell);
	if (n > BULKPAGES_SLOTS)
		return bulkpages_say("none %s more than %d slots\n", cell, BULKPAGES_SLOTS);
	array = caller->setup(n);
	if (IS_ERR(array)) {
		bulkpages_say("none %s %s\n", cell, PTR_ERR(array) == -ERANGE ? "no such size in this tree" : "no memory");
		return caller->teardown(n);
	}
	memset(bulkpages_kept, 0, sizeof(bulkpages_kept));
	for (i = 0; i < n; i++)
		if (pattern[i] == 'x') {
			bulkpages_kept[i] = alloc_page(GFP_KERNEL | __GFP_NOFAIL);
			set_page_private(bulkpages_kept[i], BULKPAGES_MARK);
		}
	if (array)
		memcpy(array, bulkpages_kept, n * sizeof(*array));
	for_each_populated_zone(zone)
		if (zone_idx(zone) <= gfp_zone(GFP_KERNEL))
			lock = &this_cpu_ptr(zone->per_cpu_pageset)->lock;
	times = min_t(unsigned int, times, BULKPAGES_BLOCK * BULKPAGES_BLOCKS);
	for (time = 0; time < times; time++) {
		u64 start, took;
		int error;

		if (caller->before)
			caller->before(n, pattern);
		if (cold)
			drain_local_pages(NULL);
		if (lost)
			spin_lock(lock);
		bulkpages_tick(false);
		start = bulkpages_clock();
		error = caller->fill(n);
		took = bulkpages_clock() - start;
		bulkpages_tick(true);
		if (lost)
			spin_unlock(lock);
		if (error) {
			bulkpages_say("none %s error %d\n", cell, error);
			break;
		}
		sum += took;
		block += took;
		least = min(least, took);
		if (time % BULKPAGES_BLOCK == BULKPAGES_BLOCK - 1) {
			bulkpages_samples[done++] = block;
			block = 0;
		}
		filled = bulkpages_make_holes(caller->after(n), n);
		if (need_resched())
			cond_resched();
	}
	if (time == times) {
		if (!done)
			bulkpages_samples[done++] = div_u64(sum * BULKPAGES_BLOCK, times);
		sort(bulkpages_samples, done, sizeof(u64), bulkpages_compare_samples, NULL);
		bulkpages_say("cell %s times=%u filled=%u sum=%llu least=%llu block=%u median=%llu\n", cell, times, filled, sum, least,
			      BULKPAGES_BLOCK, bulkpages_samples[done / 2]);
	}
	for (i = 0; i < n; i++)
		if (bulkpages_kept[i]) {
			set_page_private(bulkpages_kept[i], 0);
			__free_page(bulkpages_kept[i]);
		}
	caller->teardown(n);
}

int bulkpages_pool_loop(int kind, int times, u64 (*clock)(void), u64 *cycles);

static bool bulkpages_cell_line(char *line)
{
	static char pattern[BULKPAGES_SLOTS + 1];
	char name[48], caller[32], condition[8];
	int times, kind;
	u64 cycles = 0;

	if (sscanf(line, "cell %47s %31s %7s %d %1024s", name, caller, condition, &times, pattern) == 5) {
		const struct bulkpages_caller *found = bulkpages_find(caller);

		if (!found)
			bulkpages_say("none %s %s() is not in this kernel\n", name, caller);
		else
			bulkpages_measure(name, found, condition, times, pattern);
		return true;
	}
	if (sscanf(line, "pool %47s %d %d", name, &kind, &times) == 3) {
		int did;

		bulkpages_tick(false);
		did = bulkpages_pool_loop(kind, times, bulkpages_clock, &cycles);
		bulkpages_tick(true);
		if (did < times)
			bulkpages_say("none %s error %d\n", name, did);
		else
			bulkpages_say("cell %s times=%u filled=%u sum=%llu least=0 block=0 median=0\n", name, times, times, cycles);
		return true;
	}
	return false;
}
