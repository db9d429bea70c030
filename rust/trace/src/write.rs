//! Kernel: `include/trace/events/kmem.h`, `sunrpc.h`, `page_pool.h` and the line layout of
//! `/sys/kernel/tracing/trace` (v6.12): what the emulator did, as ftrace text.

use core::fmt::{Error as FmtError, Write};

use bulkpages_core::Pfn;
use bulkpages_core::gfp::{Gfp, Migratetype};
use bulkpages_core::probe::Event;

use crate::gfp;
use crate::text::What;

/// The head of a trace file of `cpus` CPUs with `entries` lines.
pub fn header(out: &mut String, entries: u64, cpus: usize) -> Result<(), FmtError> {
    out.push_str("# tracer: nop\n#\n");
    writeln!(out, "# entries-in-buffer/entries-written: {entries}/{entries}   #P:{cpus}")?;
    out.push_str(
        "#\n\
         #                                _-----=> irqs-off/BH-disabled\n\
         #                               / _----=> need-resched\n\
         #                              | / _---=> hardirq/softirq\n\
         #                              || / _--=> preempt-depth\n\
         #                              ||| / _-=> migrate-disable\n\
         #                              |||| /     delay\n\
         #           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n\
         #              | |         |   |||||     |         |\n",
    );
    Ok(())
}

/// What stands for the hashed pointer to a frame's descriptor: opaque, the same for the same frame, 0 for none.
pub fn page_pointer(pfn: Pfn) -> u64 {
    if pfn.is_null() { 0 } else { u64::from(pfn.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 }
}

/// Name and text of an event, when the kernel has a trace event for it; whether interrupts are off there.
pub fn event(out: &mut String, event: &Event) -> Result<Option<bool>, FmtError> {
    let at = |pfn: Pfn| (page_pointer(pfn), pfn.0);
    match *event {
        Event::PageAlloc { page, order, migratetype, gfp } => {
            let (p, pfn) = at(page);
            write!(
                out,
                "mm_page_alloc: page={p:016x} pfn={pfn:#x} order={order} migratetype={} gfp_flags={}",
                migratetype as u8,
                gfp::text(gfp.0)
            )?;
            Ok(Some(false))
        }
        Event::PageFree { page, order } => {
            let (p, pfn) = at(page);
            write!(out, "mm_page_free: page={p:016x} pfn={pfn:#x} order={order}")?;
            Ok(Some(false))
        }
        Event::PageFreeBatched { page } => {
            let (p, pfn) = at(page);
            write!(out, "mm_page_free_batched: page={p:016x} pfn={pfn:#x} order=0")?;
            Ok(Some(false))
        }
        Event::ZoneLocked { page, order, migratetype, percpu_refill } => {
            let (p, pfn) = at(page);
            write!(
                out,
                "mm_page_alloc_zone_locked: page={p:016x} pfn={pfn:#x} order={order} migratetype={} percpu_refill={}",
                migratetype as u8,
                u8::from(percpu_refill)
            )?;
            Ok(Some(true))
        }
        Event::PcpuDrain { page, order, migratetype } => {
            let (p, pfn) = at(page);
            write!(
                out,
                "mm_page_pcpu_drain: page={p:016x} pfn={pfn:#x} order={order} migratetype={}",
                migratetype as u8
            )?;
            Ok(Some(true))
        }
        Event::Extfrag {
            page,
            alloc_order,
            fallback_order,
            alloc_migratetype,
            fallback_migratetype,
            change_ownership,
        } => {
            let (p, pfn) = at(page);
            write!(
                out,
                "mm_page_alloc_extfrag: page={p:016x} pfn={pfn:#x} alloc_order={alloc_order} \
                 fallback_order={fallback_order} pageblock_order=9 alloc_migratetype={} fallback_migratetype={} \
                 fragmenting={} change_ownership={}",
                alloc_migratetype as u8,
                fallback_migratetype as u8,
                u8::from(fallback_order < 9),
                u8::from(change_ownership)
            )?;
            Ok(Some(true))
        }
        _ => Ok(None),
    }
}

/// The event that a line tells of; `None` for lines that the emulator has no event for.
pub fn as_event(what: &What) -> Option<Event> {
    let mt = |raw: u8| Migratetype::from_bits(raw.into());
    Some(match *what {
        What::Alloc { pfn, order, migratetype, gfp } => {
            Event::PageAlloc { page: pfn, order, migratetype: mt(migratetype), gfp: Gfp(gfp) }
        }
        What::Free { pfn, order } => Event::PageFree { page: pfn, order },
        What::FreeBatched { pfn } => Event::PageFreeBatched { page: pfn },
        What::ZoneLocked { pfn, order, migratetype, percpu_refill } => {
            Event::ZoneLocked { page: pfn, order, migratetype: mt(migratetype), percpu_refill }
        }
        What::Drain { pfn, order, migratetype } => Event::PcpuDrain { page: pfn, order, migratetype: mt(migratetype) },
        What::Extfrag { pfn, alloc_order, fallback_order, alloc_type, fallback_type, change_ownership } => {
            Event::Extfrag {
                page: pfn,
                alloc_order,
                fallback_order,
                alloc_migratetype: mt(alloc_type),
                fallback_migratetype: mt(fallback_type),
                change_ownership,
            }
        }
        _ => return None,
    })
}

/// What a line begins with. Returns where its flags are.
fn head(out: &mut String, task: &str, pid: i32, cpu: usize, time: u64) -> Result<usize, FmtError> {
    // Filled up to 16 and at least 5, as ftrace does.
    write!(out, "{task:>16}-{pid:<7} [{cpu:03}] ")?;
    let flags = out.len();
    write!(out, "..... {:>5}.{:06}: ", time / 1_000_000_000, time / 1000 % 1_000_000)?;
    Ok(flags)
}

/// A line that a caller writes: `text` is the event's name, a colon and its fields.
pub fn caller_line(out: &mut String, task: &str, pid: i32, cpu: usize, time: u64, text: &str) -> Result<(), FmtError> {
    head(out, task, pid, cpu, time)?;
    writeln!(out, "{text}")
}

/// One line of a trace: task and pid, CPU, time in nanoseconds, and the event's text. Whether there was a line to write.
pub fn line(out: &mut String, task: &str, pid: i32, cpu: usize, time: u64, what: &Event) -> Result<bool, FmtError> {
    let start = out.len();
    let flags = head(out, task, pid, cpu, time)?;
    let Some(irqs_off) = event(out, what)? else {
        out.truncate(start);
        return Ok(false);
    };
    if irqs_off {
        out.replace_range(flags..=flags, "d");
    }
    out.push('\n');
    Ok(true)
}
