// SPDX-License-Identifier: GPL-2.0-only
/*
 * The harness of `bulkpages kernel`, included behind mm/page_alloc.c: /proc/bulkpages takes lines of a job and gives back
 * what they found. cells.c measures fills, recorder.c (kernels for several CPUs) executes operations one by one with
 * every CPU stopped, and writes the allocator's state down.
 */
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>
#include <asm/msr.h>
#ifdef CONFIG_X86_LOCAL_APIC
#include <asm/apic.h>
#endif
#include "harness.h"

static char *bulkpages_text;
static size_t bulkpages_length, bulkpages_room;

static __printf(1, 2) void bulkpages_say(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	bulkpages_length += vscnprintf(bulkpages_text + bulkpages_length, bulkpages_room - bulkpages_length, format, arguments);
	va_end(arguments);
}

/* Whether a slot that holds a page is overwritten: the API is without the rule that only NULL slots are filled. */
static bool bulkpages_output_only;

static void bulkpages_probe(void)
{
	struct page *kept[2] = { alloc_page(GFP_KERNEL), NULL }, *slots[2] = { kept[0], NULL };
	int i;

	BULKPAGES_BULK(GFP_KERNEL, numa_mem_id(), 2, slots);
	bulkpages_output_only = slots[0] != kept[0];
	for (i = 0; i < 2; i++)
		if (slots[i] && slots[i] != kept[0])
			__free_page(slots[i]);
	__free_page(kept[0]);
}

/* The state has nodes: what runs as a program of one CPU is measured only. */
#if defined(BULKPAGES_RECORDS) && defined(CONFIG_NUMA)
#define BULKPAGES_RECORDER
#endif

#include "cells.c"
#ifdef BULKPAGES_RECORDER
#include "recorder.c"
#endif

static void bulkpages_line(char *line)
{
	unsigned long room;

	if (sscanf(line, "room %lu", &room) == 1) {
		/* Megabytes of text that the job will need. */
		char *text = vzalloc(room << 20);

		if (!text)
			return bulkpages_say("error no memory for %lu MiB of text\n", room);
		vfree(bulkpages_text);
		bulkpages_text = text;
		bulkpages_room = room << 20;
		bulkpages_length = 0;
	} else if (!strcmp(line, "about")) {
		bulkpages_say("about semantics=%s cpus=%u page_size=%lu\n", bulkpages_output_only ? "output_only" : "null_only",
			      num_online_cpus(), PAGE_SIZE);
	} else if (!bulkpages_cell_line(line)) {
#ifdef BULKPAGES_RECORDER
		if (bulkpages_record_line(line))
			return;
#endif
		bulkpages_say("error unknown line: %s\n", line);
	}
}

static ssize_t bulkpages_write(struct file *file, const char __user *user, size_t length, loff_t *offset)
{
	char *text = vmalloc(length + 1), *rest = text, *line;

	if (!text)
		return -ENOMEM;
	if (copy_from_user(text, user, length)) {
		vfree(text);
		return -EFAULT;
	}
	text[length] = 0;
	while ((line = strsep(&rest, "\n")))
		if (*line)
			bulkpages_line(line);
	vfree(text);
	*offset += length;
	return length;
}

static ssize_t bulkpages_read(struct file *file, char __user *user, size_t length, loff_t *offset)
{
	return simple_read_from_buffer(user, length, offset, bulkpages_text, bulkpages_length);
}

static const struct proc_ops bulkpages_ops = {
	.proc_write = bulkpages_write,
	.proc_read = bulkpages_read,
	.proc_lseek = default_llseek,
};

static int __init bulkpages_init(void)
{
	bulkpages_room = 1UL << 20;
	bulkpages_text = vzalloc(bulkpages_room);
	if (!bulkpages_text)
		return -ENOMEM;
	bulkpages_probe();
	return proc_create("bulkpages", 0600, NULL, &bulkpages_ops) ? 0 : -ENOMEM;
}
late_initcall(bulkpages_init);
