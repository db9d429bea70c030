//! Kernel: `include/trace/events/kmem.h` as `/sys/kernel/tracing/trace`, a dump in the kernel's log, `trace-cmd report`
//! and `perf script` print it (v2.6.33 to v6.18).
//!
//! One line in, one [`Line`] out. Nothing is guessed: what cannot be read is damaged, with the reason.

mod fields;
mod head;

pub use fields::{Fields, MAX_ORDER};
pub use head::{Head, Stamp};

use crate::gfp;
use head::trim;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `mm_page_alloc`; `pfn` 0 for a failure.
    Alloc {
        pfn: u64,
        order: u8,
        migratetype: u8,
        gfp: u32,
    },
    /// `mm_page_free`; `mm_page_free_direct` before 3.3.
    Free {
        pfn: u64,
        order: u8,
    },
    /// `mm_page_free_batched`; `mm_pagevec_free` before 3.3.
    FreeBatched {
        pfn: u64,
    },
    /// `mm_page_alloc_zone_locked`.
    ZoneLocked {
        pfn: u64,
        order: u8,
        migratetype: u8,
        percpu_refill: bool,
    },
    /// `mm_page_pcpu_drain`.
    Drain {
        pfn: u64,
        order: u8,
        migratetype: u8,
    },
    /// `mm_page_alloc_extfrag`.
    Extfrag {
        pfn: u64,
        alloc_order: u8,
        fallback_order: u8,
        alloc_type: u8,
        fallback_type: u8,
        change_ownership: bool,
    },
    /// An event of a caller of the bulk call.
    Caller,
    /// A note written into the trace: the state was recorded here.
    Snapshot,
    /// Events that the tracer lost on this CPU.
    Lost {
        events: u64,
    },
    /// Events that had been overwritten before the trace was read out.
    Overwritten {
        events: u64,
    },
    Other,
    /// A line of a stack.
    Stack,
    /// A line of a kernel log that is none of a trace.
    Log,
    /// A comment, a heading, an empty line.
    Comment,
    /// A line that cannot be read, and why.
    Damaged {
        why: String,
    },
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Who, where, when.
    pub head: Head<'a>,
    /// The event's name, without its system.
    pub name: &'a [u8],
    /// The event's fields, as printed.
    pub fields: &'a [u8],
    pub what: What,
    /// gfp flags that it names and the emulator does not have, joined by `|`.
    pub unknown: String,
}

impl Line<'_> {
    /// Whether it is an event of the page allocator.
    pub fn is_kmem(&self) -> bool {
        use What::{Alloc, Drain, Extfrag, Free, FreeBatched, ZoneLocked};
        matches!(
            self.what,
            Alloc { .. } | Free { .. } | FreeBatched { .. } | ZoneLocked { .. } | Drain { .. } | Extfrag { .. }
        )
    }

    /// Whether it is an event that the emulator knows of.
    pub fn is_event(&self) -> bool {
        self.is_kmem() || self.what == What::Caller
    }
}

/// Reads lines; remembers texts of gfp flags, since they repeat.
#[derive(Debug, Default)]
pub struct Parser {
    gfp: Vec<(Vec<u8>, u32, String)>,
}

fn plain(what: What) -> Line<'static> {
    Line { head: Head::default(), name: b"", fields: b"", what, unknown: String::new() }
}

fn damaged(why: impl Into<String>) -> Line<'static> {
    plain(What::Damaged { why: why.into() })
}

/// Where `text` holds `word`.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|w| w == word)
}

fn first_number(text: &[u8]) -> Option<u64> {
    let from = text.iter().position(u8::is_ascii_digit)?;
    head::digits(&text[from..]).map(|d| d.0)
}

/// `<n> EVENTS` of a line about lost events.
fn lost(text: &[u8]) -> Option<Line<'static>> {
    let at = find(text, b"LOST").or_else(|| find(text, b"DROPPED"))?;
    if !text.starts_with(b"CPU") && find(text, b"EVENTS").is_none() {
        return None;
    }
    let cpu = find(text, b"CPU").and_then(|i| first_number(&text[i..])).and_then(|n| u32::try_from(n).ok());
    let before = text[..at].iter().rposition(|&b| b == b'[').and_then(|i| first_number(&text[i..at]));
    let events = before.or_else(|| first_number(&text[at..])).unwrap_or(0);
    Some(Line { head: Head { cpu, ..Head::default() }, ..plain(What::Lost { events }) })
}

/// `# entries-in-buffer/entries-written: 10/25`: what had been overwritten.
fn overwritten(text: &[u8]) -> Option<u64> {
    let at = find(text, b"entries-written:")?;
    let (kept, rest) = head::digits(trim(&text[at + 16..]))?;
    let (written, _) = head::digits(rest.strip_prefix(b"/")?)?;
    written.checked_sub(kept).filter(|&n| n > 0)
}

/// Lines of a stack: ftrace's ` => function`, perf's `    ffffffff8100 function+0x10 (file)`.
fn is_stack(line: &[u8], text: &[u8]) -> bool {
    if text.starts_with(b"=>") || text.starts_with(b"<stack trace") || text.starts_with(b"<user stack trace") {
        return true;
    }
    let word = text.iter().position(u8::is_ascii_whitespace).unwrap_or(0);
    word > 0 && line[0].is_ascii_whitespace() && text[..word].iter().all(u8::is_ascii_hexdigit)
}

fn is_heading(text: &[u8]) -> bool {
    let headings: [&[u8]; 8] =
        [b"#", b"cpus=", b"CPU ", b"cpu ", b"version", b"trace-cmd", b"-----", b"Dumping ftrace buffer"];
    text.is_empty() || headings.iter().any(|h| text.starts_with(h))
}

/// A call in the function-graph tracer's layout: ` 1)   0.5 us    |  kfree();`.
fn is_graph(text: &[u8]) -> bool {
    let at = match find(text, b"|") {
        // Absolute time first.
        Some(bar) if text[..bar].iter().all(|b| b.is_ascii_digit() || b". ".contains(b)) => bar + 1,
        _ => 0,
    };
    head::digits(trim(&text[at..])).is_some_and(|d| d.1.starts_with(b")"))
}

/// The event's name without its system, and its fields. `None`: no name.
fn name_of(event: &[u8]) -> Option<(&[u8], &[u8], bool)> {
    let mut event = event;
    // perf: how many events this one stands for.
    if let Some((_, rest)) = head::digits(event)
        && rest.first() == Some(&b' ')
    {
        event = trim(rest);
    }
    let end = event.iter().position(u8::is_ascii_whitespace).unwrap_or(event.len());
    let name = event[..end].strip_suffix(b":").filter(|n| !n.is_empty())?;
    let fields = trim(&event[end..]);
    let systems: [&[u8]; 3] = [b"kmem:", b"sunrpc:", b"page_pool:"];
    match systems.iter().find_map(|system| name.strip_prefix(*system)) {
        Some(name) => Some((name, fields, true)),
        None => Some((name, fields, name.contains(&b':'))),
    }
}

/// Whether the emulator has this event.
fn is_known(name: &[u8]) -> bool {
    name.starts_with(b"mm_page") || name == b"svc_alloc_arg_err" || name.starts_with(b"page_pool_state_")
}

impl Parser {
    /// Reads one line, without its end.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let text = trim(line);
        if let Some(events) = text.starts_with(b"#").then(|| overwritten(text)).flatten() {
            return plain(What::Overwritten { events });
        }
        if is_heading(text) {
            // A buffer's end in the middle of a trace is written as a heading too.
            return lost(text).filter(|_| !text.starts_with(b"#")).unwrap_or_else(|| plain(What::Comment));
        }
        if text.contains(&0) {
            return damaged("binary data where text is expected");
        }
        let (text, logged) = head::out_of_log(text);
        if let Some((head, event)) = head::split(text)
            && let Some(line) = self.headed(head, event)
        {
            return line;
        }
        match () {
            () if is_stack(if logged { text } else { line }, text) => plain(What::Stack),
            () if is_heading(text) => plain(What::Comment),
            () if is_graph(text) => plain(What::Other),
            () => lost(text).unwrap_or_else(|| match (logged, has_cpu(text)) {
                (true, _) => plain(What::Log),
                (false, true) => damaged("no time stamp"),
                (false, false) => damaged("no [cpu] field and no time stamp"),
            }),
        }
    }

    /// A line of which the head could be read. `None`: it was none after all.
    fn headed<'a>(&mut self, head: Head<'a>, event: &'a [u8]) -> Option<Line<'a>> {
        let line = |what| Line { head, name: b"", fields: b"", what, unknown: String::new() };
        if event.starts_with(b"<stack trace") || event.starts_with(b"<user stack trace") {
            return Some(line(What::Stack));
        }
        if let Some(rest) = event.strip_prefix(b"PERF_RECORD_LOST") {
            return Some(line(What::Lost { events: first_number(rest).unwrap_or(0) }));
        }
        if event == b"snapshot" {
            return Some(Line { fields: event, ..line(What::Snapshot) });
        }
        let Some((name, fields, of_system)) = name_of(event) else {
            // The function tracer's `function <-caller`.
            let is_call = find(event, b" <-").is_some();
            return match head.cpu {
                Some(_) if head.stamp.is_some() && is_call => Some(line(What::Other)),
                Some(_) if head.stamp.is_some() => Some(line(What::Damaged { why: "no event name".into() })),
                _ => None,
            };
        };
        if !is_known(name) && (head.stamp.is_none() || head.cpu.is_none() && !of_system) {
            return None;
        }
        if matches!(name, b"kernel_stack" | b"user_stack") {
            return Some(line(What::Stack));
        }
        let mut unknown = String::new();
        let what = self
            .event(name, fields, &mut unknown)
            .unwrap_or_else(|why| What::Damaged { why: format!("{}: {why}", String::from_utf8_lossy(name)) });
        Some(Line { head, name, fields, what, unknown })
    }

    fn event(&mut self, name: &[u8], fields: &[u8], unknown: &mut String) -> Result<What, String> {
        if fields == b"snapshot" || fields.ends_with(b": snapshot") {
            return Ok(What::Snapshot);
        }
        let f = Fields(fields);
        Ok(match name {
            b"mm_page_alloc" => {
                let (gfp, odd) = self.gfp(f.raw("gfp_flags")?);
                odd.clone_into(unknown);
                What::Alloc { pfn: f.pfn()?, order: f.order("order")?, migratetype: f.migratetype("migratetype")?, gfp }
            }
            b"mm_page_free" | b"mm_page_free_direct" => What::Free { pfn: f.pfn()?, order: f.order("order")? },
            b"mm_page_free_batched" | b"mm_pagevec_free" => What::FreeBatched { pfn: f.pfn()? },
            b"mm_page_alloc_zone_locked" => What::ZoneLocked {
                pfn: f.pfn()?,
                order: f.order("order")?,
                migratetype: f.migratetype("migratetype")?,
                percpu_refill: f.flag("percpu_refill")?,
            },
            b"mm_page_pcpu_drain" => {
                What::Drain { pfn: f.pfn()?, order: f.order("order")?, migratetype: f.migratetype("migratetype")? }
            }
            b"mm_page_alloc_extfrag" => What::Extfrag {
                pfn: f.pfn()?,
                alloc_order: f.order("alloc_order")?,
                fallback_order: f.order("fallback_order")?,
                alloc_type: f.migratetype("alloc_migratetype")?,
                fallback_type: f.migratetype("fallback_migratetype")?,
                change_ownership: f.flag("change_ownership")?,
            },
            b"svc_alloc_arg_err" | b"page_pool_state_hold" | b"page_pool_state_release" => What::Caller,
            _ => What::Other,
        })
    }

    /// The flags of a text, and those of its names that are not known.
    fn gfp(&mut self, raw: &[u8]) -> (u32, &str) {
        let at = self.gfp.iter().position(|g| g.0 == raw).unwrap_or_else(|| {
            let text = String::from_utf8_lossy(raw);
            let (gfp, unknown) = gfp::read(&text);
            if self.gfp.len() >= 64 {
                self.gfp.clear();
            }
            self.gfp.push((raw.to_vec(), gfp, unknown.join("|")));
            self.gfp.len() - 1
        });
        (self.gfp[at].1, &self.gfp[at].2)
    }
}

/// Whether a text has a `[cpu]` field.
fn has_cpu(text: &[u8]) -> bool {
    text.split(|&b| b == b'[').skip(1).any(|part| head::digits(part).is_some_and(|d| d.1.starts_with(b"]")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Line<'_> {
        Parser::default().line(text.as_bytes())
    }

    const ALLOC: &str =
        "page=00000000269ab8b9 pfn=0x7cee order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO";

    /// Head, and the columns behind it: task, pid, group, CPU, flags, time.
    #[test]
    fn one_event_as_every_tool_prints_it() {
        let ns = |ns, digits| Some(Stamp::Time { ns, digits });
        let us = ns(1_569_696_000, 6);
        // A line, and what its head says: task, pid, tgid, CPU, flags, time.
        type Row = (&'static str, &'static str, Option<i32>, Option<i32>, Option<u32>, &'static str, Option<Stamp>);
        #[rustfmt::skip]
        let rows: [Row; 24] = [
            ("  busy box-50      [001] d..1.     1.569696: mm_page_alloc: ", "busy box", Some(50), None, Some(1), "d..1.", us),
            ("   busybox-50    [001]     1.569696: mm_page_alloc:        ", "busybox", Some(50), None, Some(1), "", us),
            ("   busybox-50    [001] .....     1.569696000: mm_page_alloc:   ", "busybox", Some(50), None, Some(1), ".....", ns(1_569_696_000, 9)),
            ("   busybox-50    [001] .....     1.569696123: mm_page_alloc:   ", "busybox", Some(50), None, Some(1), ".....", ns(1_569_696_123, 9)),
            ("  bash-1234    ( 1230) [001] d..1.     1.569696: mm_page_alloc: ", "bash", Some(1234), Some(1230), Some(1), "d..1.", us),
            ("  bash-1234    (-----) [001] d..1     1.569696: mm_page_alloc: ", "bash", Some(1234), None, Some(1), "d..1", us),
            ("  <...>-1234    (-------) [001] d..1     1.569696: mm_page_alloc: ", "<...>", Some(1234), None, Some(1), "d..1", us),
            ("  bash-1234    [001] ..... 123456789: mm_page_alloc: ", "bash", Some(1234), None, Some(1), ".....", Some(Stamp::Ticks(123_456_789))),
            ("    bash-1977    1d..2.   17us : mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", ns(17_000, 6)),
            ("    bash-1977  101dNh2.   17us+: mm_page_alloc: ", "bash", Some(1977), None, Some(101), "dNh2.", ns(17_000, 6)),
            ("    bash-1977    1d..2.   1700us!: mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", ns(1_700_000, 6)),
            ("    bash-1977    1d..2. 4711: mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", Some(Stamp::Ticks(4711))),
            ("    bash-1977    1d..2 1.569696: mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2", us),
            ("    bash    1977   1 1 00000002 0000000a [000005dc] 1.500ms (+0.001ms): mm_page_alloc: ", "bash", Some(1977), None, Some(1), "", ns(1_500_000, 6)),
            ("[   12.345678] kwork/0:-7    1d..2.   17us : mm_page_alloc: ", "kwork/0:", Some(7), None, Some(1), "d..2.", ns(17_000, 6)),
            ("[   12.345678][   T12] bash-1977    1d..2.   17us : mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", ns(17_000, 6)),
            ("<4>[   12.345678] bash-1977    1d..2.   17us : mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", ns(17_000, 6)),
            ("Nov 26 02:03:52 host kernel: [   12.345678] bash-1977    1d..2.   17us : mm_page_alloc: ", "bash", Some(1977), None, Some(1), "d..2.", ns(17_000, 6)),
            ("busy box    50 [001]     1.569696: kmem:mm_page_alloc: ", "busy box", Some(50), None, Some(1), "", us),
            ("busy box 50/51 [001]     1.569696: kmem:mm_page_alloc: ", "busy box", Some(51), Some(50), Some(1), "", us),
            ("busy box 50/51     1.569696:          1 kmem:mm_page_alloc: ", "busy box", Some(51), Some(50), None, "", us),
            ("busybox    50     1.569696: kmem:mm_page_alloc: ", "busybox", Some(50), None, None, "", us),
            ("[001] mm_page_alloc: ", "", None, None, Some(1), "", None),
            (" kworker/u8:3-events-50 [001] d..1. 1.569696: mm_page_alloc: ", "kworker/u8:3-events", Some(50), None, Some(1), "d..1.", us),
        ];
        for (text, task, pid, tgid, cpu, flags, stamp) in rows {
            let line = format!("{text}{ALLOC}");
            let got = read(&line);
            let (task, flags) = (task.as_bytes(), flags.as_bytes());
            let tgid_unknown = text.contains("--)");
            assert_eq!(got.head, Head { task, pid, tgid, tgid_unknown, cpu, flags, stamp }, "{line}");
            assert_eq!(got.what, What::Alloc { pfn: 0x7cee, order: 0, migratetype: 0, gfp: 0x40_0dc0 }, "{line}");
            assert_eq!(got.fields, ALLOC.as_bytes());
        }
    }

    #[test]
    fn events_among_the_calls_of_the_function_graph() {
        for (text, cpu, task, pid, flags, stamp) in [
            (" 1)               |  ", 1, "", None, "", None),
            (" 1)   bash-50     |               |      ", 1, "bash", Some(50), "", None),
            (
                "   1.569696 |   1)   bash-50    |  d..1. |   0.5 us      |  ",
                1,
                "bash",
                Some(50),
                "d..1.",
                Some(Stamp::Time { ns: 1_569_696_000, digits: 6 }),
            ),
        ] {
            let line = format!("{text}/* mm_page_alloc: {ALLOC} */");
            let got = read(&line);
            let (task, flags) = (task.as_bytes(), flags.as_bytes());
            let head = Head { task, pid, cpu: Some(cpu), flags, stamp, ..Head::default() };
            assert_eq!(got.head, head, "{line}");
            assert_eq!(got.what, What::Alloc { pfn: 0x7cee, order: 0, migratetype: 0, gfp: 0x40_0dc0 });
        }
        for text in [" 1)   0.123 us    |  kfree();", " 1)               |  kfree() {", "1.5 |   0)   |  }"] {
            assert_eq!(read(text).what, What::Other, "{text}");
        }
    }

    #[test]
    fn older_names() {
        let at = |what: &str| read(&format!("x-1 [000] 1.5: {what}")).what;
        assert_eq!(at("mm_page_free_direct: page=ffff pfn=18 order=2"), What::Free { pfn: 18, order: 2 });
        assert_eq!(at("mm_pagevec_free: page=ffff pfn=18 order=0 cold=1"), What::FreeBatched { pfn: 18 });
        let none = at(
            "mm_page_alloc: page=          (null) pfn=18446744073709551615 order=11 migratetype=0 gfp_flags=GFP_WAIT|GFP_IO",
        );
        assert_eq!(none, What::Alloc { pfn: 0, order: 11, migratetype: 0, gfp: 0xc40 });
    }

    #[test]
    fn unknown_flags_keep_the_event() {
        let line =
            "x-1 [000] ..... 1.5: mm_page_alloc: page=1 pfn=0x1 order=0 migratetype=0 gfp_flags=GFP_KERNEL|__GFP_ODD";
        let got = read(line);
        assert_eq!(got.what, What::Alloc { pfn: 1, order: 0, migratetype: 0, gfp: 0xcc0 });
        assert_eq!(got.unknown, "__GFP_ODD");
    }

    #[test]
    fn what_is_no_event_is_named() {
        for (text, what) in [
            (" => __alloc_pages", What::Stack),
            ("     bash-1 [000] ..... 1.5: <stack trace>", What::Stack),
            ("     bash-1 [000] 1.5: kernel_stack:         <stack trace >", What::Stack),
            ("	    ffffffff81234567 __alloc_pages+0x1 ([kernel.kallsyms])", What::Stack),
            ("	               0 [unknown] ([unknown])", What::Stack),
            ("[  1.5]  => __alloc_pages", What::Stack),
            ("[  1.5] Node 0 Normal free:12kB min:3kB", What::Log),
            ("[Thu Nov 26 02:03:52 2026] Mem-Info:", What::Log),
            ("trace-cmd: version 3.1", What::Comment),
            ("cpus=2", What::Comment),
            ("[  1.5] Dumping ftrace buffer:", What::Comment),
            ("[  1.5] ---------------------------------", What::Comment),
            ("     bash-1 [000] ..... 1.5: sched_switch: prev_comm=x [120] S ==> y:1 [120]", What::Other),
            ("     bash-1 [000] ..... 1.5: kfree <-free_it", What::Other),
            ("     bash-1    0d..1. 1us : sched_switch: x:1 [120] S ==> y:1 [120]", What::Other),
            ("     bash-1 [000] ..... 1.5: tracing_mark_write: snapshot", What::Snapshot),
            ("# entries-in-buffer/entries-written: 10/25   #P:2", What::Overwritten { events: 15 }),
        ] {
            assert_eq!(read(text).what, what, "{text}");
        }
    }

    #[test]
    fn damage_is_named() {
        let why = |text: &str| match read(text).what {
            What::Damaged { why } => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why("x-1 [000] ..... 1.5: mm_page_free: page=1 pfn=0x12 ord"), "mm_page_free: no field order");
        assert!(why("x-1 [000] ..... 1.5: mm_page_free: page=1 pfn=zebra order=0").contains("\"zebra\" is no number"));
        assert!(why("x-1 [000] ..... 1.5: mm_page_free: page=1 pfn=0x1 order=77").contains("above"));
        assert!(why("garbage").contains("cpu"));
        assert!(why("x-1 [000] ..... : sched_switch: a").contains("time"));
        assert!(why("a\0b").contains("binary"));
    }

    #[test]
    fn losses_are_counted() {
        assert_eq!(read("CPU:3 [LOST 77 EVENTS]").what, What::Lost { events: 77 });
        assert_eq!(read("CPU:3 [LOST 77 EVENTS]").head.cpu, Some(3));
        assert_eq!(read("CPU:1 [12 EVENTS DROPPED]").what, What::Lost { events: 12 });
        assert_eq!(read("[  1.5] CPU:1 [LOST 12 EVENTS]").what, What::Lost { events: 12 });
        assert_eq!(read("x 1 [001] 1.5: PERF_RECORD_LOST lost 9").what, What::Lost { events: 9 });
    }
}
