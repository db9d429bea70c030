//! Kernel: `include/trace/events/kmem.h`, `sunrpc.h`, `page_pool.h` and the line layout of
//! `/sys/kernel/tracing/trace` (v6.12): what the emulator did, as ftrace text.

use core::fmt::{Error as FmtError, Write};

use bulkpages_core::Pfn;
use bulkpages_core::probe::Event;

use crate::gfp;
use crate::text::{Line, Stamp, What};

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

/// A line of any tool as ftrace prints it. Task, numbers, time and fields are the line's, with as many digits; columns
/// that it does not have are left out. Lines that are no event, no mark of a snapshot and tell of no loss are left out.
pub fn again(out: &mut String, line: &Line<'_>) -> Result<(), FmtError> {
    let text = String::from_utf8_lossy;
    match line.what {
        What::Lost { events } => return writeln!(out, "CPU:{} [LOST {events} EVENTS]", line.head.cpu.unwrap_or(0)),
        What::Snapshot => {}
        _ if line.is_event() => {}
        _ => return Ok(()),
    }
    let head = &line.head;
    if let Some(pid) = head.pid {
        write!(out, "{:>16}-{pid:<7} ", text(head.task))?;
    } else if !head.task.is_empty() {
        write!(out, "{:>16} ", text(head.task))?;
    }
    if let Some(tgid) = head.tgid {
        write!(out, "({tgid:7}) ")?;
    } else if head.tgid_unknown {
        out.push_str("(-------) ");
    }
    if let Some(cpu) = head.cpu {
        write!(out, "[{cpu:03}] ")?;
    }
    if !head.flags.is_empty() {
        write!(out, "{} ", text(head.flags))?;
    }
    match head.stamp {
        Some(Stamp::Time { ns, digits }) => {
            let unit = 10u64.pow(9 - u32::from(digits.clamp(1, 9)));
            let (seconds, part) = (ns / 1_000_000_000, ns % 1_000_000_000 / unit);
            write!(out, "{seconds:>5}.{part:0width$}: ", width = digits.into())?;
        }
        Some(Stamp::Ticks(ticks)) => write!(out, "{ticks:>12}: ")?,
        None => {}
    }
    if line.name.is_empty() {
        return writeln!(out, "{}", text(line.fields));
    }
    // Without a CPU, only the name of its system shows that a line is an event.
    let system = if head.cpu.is_none() { "kmem:" } else { "" };
    writeln!(out, "{system}{}: {}", text(line.name), text(line.fields))
}
