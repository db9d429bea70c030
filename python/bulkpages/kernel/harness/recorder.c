// SPDX-License-Identifier: GPL-2.0-only
/*
 * Executes operations of the page allocator one by one, each on the CPU that it names, with every CPU stopped and
 * interrupts off, and writes down what each did and the whole state before and after. Included by allocator.c in kernels
 * for several CPUs.
 */
#include <linux/io.h>
#include <linux/sched/sysctl.h>
#include <linux/stop_machine.h>

#define BULKPAGES_PAGES 131072
#define BULKPAGES_OPERATIONS 8192

struct bulkpages_operation {
	char kind;
	int cpu;
	unsigned int gfp;
	int nid, n, slot;
};

static struct bulkpages_operation *bulkpages_operations;
static struct page **bulkpages_slots, **bulkpages_slots_before;
static int bulkpages_count;
static atomic_t bulkpages_next;

static void bulkpages_say_blocks(struct zone *zone)
{
	unsigned long first = zone->zone_start_pfn & ~(pageblock_nr_pages - 1), pfn;
	int type, last = -1, run = 0;

	bulkpages_say("blocks");
	for (pfn = first; pfn < zone_end_pfn(zone); pfn += pageblock_nr_pages) {
		type = pfn_valid(pfn) ? get_pageblock_migratetype(pfn_to_page(pfn)) : 9;
		if (type != last && run) {
			bulkpages_say(" %dx%d", last, run);
			run = 0;
		}
		last = type;
		run++;
	}
	if (run)
		bulkpages_say(" %dx%d", last, run);
	bulkpages_say("\nmovable");
	for (pfn = first; pfn < zone_end_pfn(zone); pfn += pageblock_nr_pages) {
		unsigned long end = min(pfn + pageblock_nr_pages, zone_end_pfn(zone)), at, movable = 0;

		for (at = max(pfn, zone->zone_start_pfn); at < end; at++) {
			struct page *page;

			if (!pfn_valid(at))
				continue;
			page = pfn_to_page(at);
			if (PageBuddy(page))
				at += (1UL << buddy_order(page)) - 1;
			else if (PageLRU(page) || BULKPAGES_MOVABLE(page))
				movable++;
		}
		if (movable)
			bulkpages_say(" %lu:%lu", pfn, movable);
	}
	bulkpages_say("\n");
}

static void bulkpages_say_lists(struct zone *zone, int cpu)
{
	struct per_cpu_pages *pcp = per_cpu_ptr(zone->per_cpu_pageset, cpu);
	struct per_cpu_zonestat *stat = per_cpu_ptr(zone->per_cpu_zonestats, cpu);
	struct page *page;
	int i;

	bulkpages_say("pcp cpu=%d count=%d high=%d batch=%d expire=%d diff_free=%d thresh=%d", cpu, pcp->count, pcp->high, pcp->batch,
		      pcp->expire, stat->vm_stat_diff[NR_FREE_PAGES], stat->stat_threshold);
#ifdef BULKPAGES_LIMITS_MOVE
	bulkpages_say(" high_min=%d high_max=%d flags=%u alloc_factor=%u free_count=%d", pcp->high_min, pcp->high_max, pcp->flags,
		      pcp->alloc_factor, pcp->free_count);
#else
	bulkpages_say(" free_factor=%d", pcp->free_factor);
#endif
#ifdef BULKPAGES_BLOCKS_COUNTED
	bulkpages_say(" diff_free_blocks=%d", stat->vm_stat_diff[NR_FREE_PAGES_BLOCKS]);
#endif
	bulkpages_say("\n");
	for (i = 0; i < NR_PCP_LISTS; i++) {
		if (list_empty(&pcp->lists[i]))
			continue;
		bulkpages_say("plist cpu=%d i=%d", cpu, i);
		list_for_each_entry(page, &pcp->lists[i], pcp_list) {
			bulkpages_say(" %lu:%d", page_to_pfn(page), get_pageblock_migratetype(page));
#ifdef BULKPAGES_TYPE_IN_PAGE
			bulkpages_say(":%d", get_pcppage_migratetype(page));
#endif
		}
		bulkpages_say("\n");
	}
}

static void bulkpages_say_zone(struct zone *zone)
{
	struct page *page;
	int i, order, type, cpu;

	bulkpages_say("zone nid=%d idx=%d name=%s start=%lu spanned=%lu present=%lu managed=%lu min=%lu low=%lu high=%lu promo=%lu boost=%lu nr_free=%ld reserved_highatomic=%lu free_highatomic=%lu thresh=%d drift_mark=%lu flags=%lx",
		      zone_to_nid(zone), (int)zone_idx(zone), zone->name, zone->zone_start_pfn, zone->spanned_pages,
		      zone->present_pages, zone_managed_pages(zone), zone->_watermark[0], zone->_watermark[1],
		      zone->_watermark[2], zone->_watermark[3], zone->watermark_boost,
		      atomic_long_read(&zone->vm_stat[NR_FREE_PAGES]), zone->nr_reserved_highatomic, BULKPAGES_FREE_HIGHATOMIC(zone),
		      per_cpu_ptr(zone->per_cpu_zonestats, 0)->stat_threshold, zone->percpu_drift_mark, zone->flags);
#ifdef BULKPAGES_BLOCKS_COUNTED
	bulkpages_say(" nr_free_blocks=%ld trylock_free=0", atomic_long_read(&zone->vm_stat[NR_FREE_PAGES_BLOCKS]));
#endif
	bulkpages_say("\n");
	bulkpages_say("lowmem_reserve");
	for (i = 0; i < MAX_NR_ZONES; i++)
		bulkpages_say(" %ld", zone->lowmem_reserve[i]);
	bulkpages_say("\n");
	bulkpages_say_blocks(zone);
	for (order = 0; order < ARRAY_SIZE(zone->free_area); order++)
		for (type = 0; type < MIGRATE_TYPES; type++) {
			if (list_empty(&zone->free_area[order].free_list[type]))
				continue;
			bulkpages_say("free o=%d mt=%d", order, type);
			list_for_each_entry(page, &zone->free_area[order].free_list[type], buddy_list)
				bulkpages_say(" %lu", page_to_pfn(page));
			bulkpages_say("\n");
		}
	for_each_online_cpu(cpu)
		bulkpages_say_lists(zone, cpu);
}

static void bulkpages_say_state(void)
{
	struct zone *zone;
	int cpu, nid;

	bulkpages_say("state zone_count=%d pageblock_order=%d nr_pcp_lists=%d mobility_disabled=%d gfp_allowed=%x zonelists_nodes=%d watermark_boost_factor=%d realtime_task=%d",
		      MAX_NR_ZONES, (int)pageblock_order, NR_PCP_LISTS, page_group_by_mobility_disabled, gfp_allowed_mask, nr_online_nodes,
		      watermark_boost_factor, rt_task(current));
#ifdef BULKPAGES_DEFRAG_MODE
	bulkpages_say(" defrag_mode=%d node_reclaim=%d memory_tiering=%d", !!defrag_mode, node_reclaim_mode,
		      !!(sysctl_numa_balancing_mode & NUMA_BALANCING_MEMORY_TIERING));
#endif
	bulkpages_say("\n");
	for_each_populated_zone(zone)
		bulkpages_say_zone(zone);
	for_each_online_node(nid) {
		struct zoneref *ref;
		struct zone *listed;

		bulkpages_say("zonelist nid=%d", nid);
		for_each_zone_zonelist(listed, ref, NODE_DATA(nid)->node_zonelists, MAX_NR_ZONES - 1)
			bulkpages_say(" %d:%d", zone_to_nid(listed), (int)zone_idx(listed));
		bulkpages_say("\n");
		bulkpages_say("node nid=%d kswapd_waiting=%d kswapd_failures=%d kswapd_order=%d kswapd_highest_zoneidx=%d\n", nid,
			      waitqueue_active(&NODE_DATA(nid)->kswapd_wait), BULKPAGES_FAILURES(NODE_DATA(nid)),
			      NODE_DATA(nid)->kswapd_order, NODE_DATA(nid)->kswapd_highest_zoneidx);
	}
	for_each_online_cpu(cpu)
		bulkpages_say("cpu %d node %d\n", cpu, cpu_to_node(cpu));
	bulkpages_say("endstate\n");
}

static const int bulkpages_events[] = { PGALLOC_DMA, PGALLOC_DMA32, PGALLOC_NORMAL, PGALLOC_MOVABLE, PGFREE, ALLOCSTALL_NORMAL };
static const int bulkpages_numa_events[] = { NUMA_HIT, NUMA_MISS, NUMA_FOREIGN, NUMA_INTERLEAVE_HIT, NUMA_LOCAL, NUMA_OTHER };
#define BULKPAGES_EVENTS (ARRAY_SIZE(bulkpages_events) + ARRAY_SIZE(bulkpages_numa_events))

static void bulkpages_count_events(unsigned long *counts)
{
	struct zone *zone;
	int cpu, i;

	memset(counts, 0, BULKPAGES_EVENTS * sizeof(*counts));
	for (i = 0; i < ARRAY_SIZE(bulkpages_events); i++)
		for_each_online_cpu(cpu)
			counts[i] += per_cpu(vm_event_states, cpu).event[bulkpages_events[i]];
	counts += ARRAY_SIZE(bulkpages_events);
	for (i = 0; i < ARRAY_SIZE(bulkpages_numa_events); i++)
		for_each_populated_zone(zone) {
			int event = bulkpages_numa_events[i];

			counts[i] += atomic_long_read(&zone->vm_numa_event[event]);
			for_each_online_cpu(cpu)
				counts[i] += per_cpu_ptr(zone->per_cpu_zonestats, cpu)->vm_numa_event[event];
		}
}

static bool bulkpages_free_slot(struct page **slot)
{
	if (!*slot)
		return false;
	__free_pages(*slot, 0);
	*slot = NULL;
	return true;
}

static unsigned long bulkpages_do(const struct bulkpages_operation *op)
{
	struct page **slots = bulkpages_slots + op->slot;
	unsigned long done = 0;
	int i;

	switch (op->kind) {
	case 'b':
		return BULKPAGES_BULK(op->gfp, op->nid, op->n, slots);
	case 'a':
		*slots = BULKPAGES_ALLOC(op->gfp, op->n, op->nid);
		return *slots != NULL;
	case 'F':
		if (!*slots)
			return 0;
		__free_pages(*slots, op->n);
		*slots = NULL;
		return 1;
	case 'f': /* each of a range */
		for (i = 0; i < op->n; i++)
			done += bulkpages_free_slot(slots + i);
		return done;
	case 'r': /* the same, from the end */
		for (i = op->n - 1; i >= 0; i--)
			done += bulkpages_free_slot(slots + i);
		return done;
	case 's': /* from slot nid on, every gfp-th */
		for (i = op->nid; i < op->n; i += op->gfp)
			done += bulkpages_free_slot(slots + i);
		return done;
	case 'd':
		drain_local_pages(NULL);
		return 0;
	case 'h': /* of node gfp, zone n: the lock of the lists of CPU nid */
		spin_lock(&per_cpu_ptr(NODE_DATA(op->gfp)->node_zones[op->n].per_cpu_pageset, op->nid)->lock);
		return 0;
	case 'u':
		spin_unlock(&per_cpu_ptr(NODE_DATA(op->gfp)->node_zones[op->n].per_cpu_pageset, op->nid)->lock);
		return 0;
	}
	return 0;
}

/* Says so on the first serial port and stands still, with every CPU stopped, until a byte comes there. */
static void bulkpages_wait(void)
{
	const char *text = "bulkpages stands still\n";

	for (; *text; text++) {
		while (!(inb(0x3fd) & 0x20))
			cpu_relax();
		outb(*text, 0x3f8);
	}
	while (!(inb(0x3fd) & 1))
		cpu_relax();
	inb(0x3f8);
}

static void bulkpages_operate(const struct bulkpages_operation *op, int number)
{
	static unsigned long before[BULKPAGES_EVENTS], after[BULKPAGES_EVENTS];
	struct page **slots = bulkpages_slots + op->slot;
	unsigned long result;
	struct zone *zone;
	int i, nid;

	if (op->kind == 'S')
		return bulkpages_say_state();
	if (op->kind == 'W')
		return bulkpages_wait();
	bulkpages_count_events(before);
	memcpy(bulkpages_slots_before, slots, sizeof(*slots) * max(op->n, 1));
	result = bulkpages_do(op);
	bulkpages_count_events(after);
	bulkpages_say("op %d %c cpu=%d gfp=%x nid=%d n=%d slot=%d ret=%lu ev=", number, op->kind, op->cpu, op->gfp, op->nid, op->n,
		      op->slot, result);
	for (i = 0; i < BULKPAGES_EVENTS; i++)
		bulkpages_say("%s%ld", i ? "," : "", after[i] - before[i]);
	for_each_populated_zone(zone) {
		struct per_cpu_pages *pcp = this_cpu_ptr(zone->per_cpu_pageset);

		bulkpages_say(" z%d.%d=%d,%d", zone_to_nid(zone), (int)zone_idx(zone), pcp->count, pcp->high);
#ifdef BULKPAGES_LIMITS_MOVE
		bulkpages_say(",%u,%u,%d", pcp->flags, pcp->alloc_factor, pcp->free_count);
#else
		bulkpages_say(",0,0,%d", pcp->free_factor);
#endif
		bulkpages_say(",%ld,%lx", zone_page_state_snapshot(zone, NR_FREE_PAGES), zone->flags);
	}
	bulkpages_say(" kswapd=");
	for_each_online_node(nid)
		bulkpages_say("%s%d:%d", nid ? "," : "", nid, waitqueue_active(&NODE_DATA(nid)->kswapd_wait));
	if (op->kind == 'b') {
		bulkpages_say(" pfns=");
		for (i = 0; i < op->n; i++)
			if (slots[i] != bulkpages_slots_before[i])
				bulkpages_say("%d:%lu ", i, page_to_pfn(slots[i]));
	} else if (op->kind == 'a' && result) {
		bulkpages_say(" pfns=0:%lu", page_to_pfn(*slots));
	}
	bulkpages_say("\n");
}

static int bulkpages_stopped(void *unused)
{
	int me = smp_processor_id(), i;

	while ((i = atomic_read(&bulkpages_next)) < bulkpages_count) {
		if (bulkpages_operations[i].cpu != me) {
			cpu_relax();
			continue;
		}
		bulkpages_operate(&bulkpages_operations[i], i);
		smp_mb();
		atomic_inc(&bulkpages_next);
	}
	return 0;
}

static bool bulkpages_recorder_ready(void)
{
	if (!bulkpages_operations)
		bulkpages_operations = vzalloc(sizeof(*bulkpages_operations) * BULKPAGES_OPERATIONS);
	if (!bulkpages_slots)
		bulkpages_slots = vzalloc(sizeof(void *) * BULKPAGES_PAGES);
	if (!bulkpages_slots_before)
		bulkpages_slots_before = vzalloc(sizeof(void *) * BULKPAGES_PAGES);
	return bulkpages_operations && bulkpages_slots && bulkpages_slots_before;
}

static bool bulkpages_record_line(char *line)
{
	struct bulkpages_operation op;

	if (!strcmp(line, "run")) {
		atomic_set(&bulkpages_next, 0);
		stop_machine(bulkpages_stopped, NULL, cpu_online_mask);
		bulkpages_count = 0;
		return true;
	}
	if (sscanf(line, "op %c %d %x %d %d %d", &op.kind, &op.cpu, &op.gfp, &op.nid, &op.n, &op.slot) != 6)
		return false;
	if (!bulkpages_recorder_ready())
		bulkpages_say("error no memory for the recorder\n");
	else if (bulkpages_count == BULKPAGES_OPERATIONS)
		bulkpages_say("error more than %d operations\n", BULKPAGES_OPERATIONS);
	else if (op.cpu < 0 || !cpu_online(op.cpu) || op.n < 0 || op.slot < 0 || op.slot + max(op.n, 1) > BULKPAGES_PAGES)
		bulkpages_say("error impossible operation: %s\n", line);
	else
		bulkpages_operations[bulkpages_count++] = op;
	return true;
}
