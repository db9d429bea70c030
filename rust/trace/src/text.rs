//! Kernel: `include/trace/events/kmem.h` as `/sys/kernel/tracing/trace`, `trace-cmd report` and `perf script` print it
//! (v5.13 to v6.18).
//!
//! One line in, one [`Line`] out. Nothing is guessed: what cannot be read is damaged, with the reason.

use bulkpages_core::Pfn;

use crate::gfp;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs)]
pub enum What {
    /// `mm_page_alloc`; `pfn` NULL for a failure.
    Alloc { pfn: Pfn, order: u8, migratetype: u8, gfp: u32 },
    /// `mm_page_free`.
    Free { pfn: Pfn, order: u8 },
    /// `mm_page_free_batched`.
    FreeBatched { pfn: Pfn },
    /// `mm_page_alloc_zone_locked`.
    ZoneLocked { pfn: Pfn, order: u8, migratetype: u8, percpu_refill: bool },
    /// `mm_page_pcpu_drain`.
    Drain { pfn: Pfn, order: u8, migratetype: u8 },
    /// `mm_page_alloc_extfrag`.
    Extfrag { pfn: Pfn, alloc_order: u8, fallback_order: u8, alloc_type: u8, fallback_type: u8, change_ownership: bool },
    /// An event of a caller of the bulk call: its name, a colon and its fields.
    Caller { text: String },
    /// A note written into the trace: the state was recorded here.
    Snapshot,
    /// Events that the tracer lost on this CPU.
    Lost { events: u64 },
    /// Another event, or a comment.
    Other,
    /// A line that cannot be read, and why.
    Damaged { why: String },
}

/// One line of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// CPU that wrote it.
    pub cpu: u32,
    /// Nanoseconds since the tracer's clock began.
    pub time: u64,
    /// Process that ran.
    pub pid: i32,
    /// What it says.
    pub what: What,
}

/// Reads lines; remembers the last text of gfp flags, since they repeat.
#[derive(Debug, Default)]
pub struct Parser {
    gfp: Vec<(String, u32)>,
}

fn plain(what: What) -> Line {
    Line { cpu: 0, time: 0, pid: 0, what }
}

fn damaged(why: impl Into<String>) -> Line {
    plain(What::Damaged { why: why.into() })
}

/// The number in front of the first byte that is no digit, and the rest.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let n = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if n == 0 || n > 19 {
        return None;
    }
    let value = text[..n].iter().fold(0u64, |v, b| v.wrapping_mul(10).wrapping_add(u64::from(b - b'0')));
    Some((value, &text[n..]))
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

/// `[000]` with a space before and behind: where it begins, the CPU, where it ends.
fn cpu_field(line: &[u8]) -> Option<(usize, u32, usize)> {
    let mut from = 0;
    while let Some(open) = line[from..].iter().position(|&b| b == b'[').map(|i| i + from) {
        if let Some((cpu, [b']', b' ', ..])) = digits(&line[open + 1..])
            && open > 0
            && line[open - 1] == b' '
            && let Ok(cpu) = u32::try_from(cpu)
        {
            let end = line.len() - digits(&line[open + 1..])?.1.len() + 1;
            return Some((open, cpu, end));
        }
        from = open + 1;
    }
    None
}

/// Seconds with a fraction and a colon: nanoseconds, and the rest.
fn timestamp(text: &[u8]) -> Option<(u64, &[u8])> {
    let (seconds, rest) = digits(text)?;
    let [b'.', rest @ ..] = rest else { return None };
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (fraction, rest) = digits(rest)?;
    let [b':', rest @ ..] = rest else { return None };
    if len > 9 {
        return None;
    }
    Some((seconds.checked_mul(1_000_000_000)?.checked_add(fraction * 10u64.pow(9 - len as u32))?, rest))
}

/// `<n> EVENTS` of a line about lost events.
fn lost(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let at = text.find("LOST").or_else(|| text.find("DROPPED"))?;
    let cpu = text.find("CPU:").and_then(|i| digits(&line[i + 4..])).map_or(0, |d| d.0 as u32);
    let tail = text[at..].trim_start_matches(|c: char| !c.is_ascii_digit());
    let before = text[..at].rfind('[').and_then(|i| digits(&line[i + 1..])).map(|d| d.0);
    let events = before.or_else(|| digits(tail.as_bytes()).map(|d| d.0)).unwrap_or(0);
    Some(Line { cpu, time: 0, pid: 0, what: What::Lost { events } })
}

/// `key=value` fields of one event.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn raw(&self, key: &str) -> Result<&'a [u8], String> {
        let mut rest = self.0;
        let key = key.as_bytes();
        loop {
            let Some(at) = rest.windows(key.len()).position(|w| w == key) else {
                return Err(format!("no field {}", String::from_utf8_lossy(key)));
            };
            let value = &rest[at + key.len()..];
            if (at == 0 || rest[at - 1] == b' ') && value.first() == Some(&b'=') {
                let value = &value[1..];
                let end = value.iter().position(|&b| b == b' ' || b == b',').unwrap_or(value.len());
                return Ok(&value[..end]);
            }
            rest = &rest[at + key.len()..];
        }
    }

    fn number(&self, key: &str, limit: u64) -> Result<u64, String> {
        let raw = self.raw(key)?;
        let value = match raw {
            [b'0', b'x', hex @ ..] if !hex.is_empty() && hex.len() <= 16 => {
                hex.iter().try_fold(0u64, |v, b| Some(v << 4 | u64::from((*b as char).to_digit(16)?)))
            }
            _ => digits(raw).filter(|d| d.1.is_empty()).map(|d| d.0),
        };
        match value {
            Some(v) if v <= limit => Ok(v),
            Some(v) => Err(format!("{key} {v:#x} is above {limit:#x}")),
            None => Err(format!("{key} {:?} is no number", String::from_utf8_lossy(raw))),
        }
    }

    fn pfn(&self) -> Result<Pfn, String> {
        self.number("pfn", u64::from(u32::MAX)).map(|v| Pfn(v as u32))
    }

    fn order(&self, key: &str) -> Result<u8, String> {
        self.number(key, 10).map(|v| v as u8)
    }

    fn migratetype(&self, key: &str) -> Result<u8, String> {
        self.number(key, 5).map(|v| v as u8)
    }
}

impl Parser {
    /// Reads one line, without its end.
    pub fn line(&mut self, line: &[u8]) -> Line {
        let text = trim(line);
        if text.is_empty() || text[0] == b'#' || text.starts_with(b"cpus=") {
            return plain(What::Other);
        }
        if text.contains(&0) {
            return damaged("binary data where text is expected");
        }
        let Some((open, cpu, end)) = cpu_field(line) else {
            if let Some(line) = lost(text) {
                return line;
            }
            if text.starts_with(b"CPU ") || text.starts_with(b"version =") || text.starts_with(b"[") {
                return plain(What::Other);
            }
            return damaged("no [cpu] field");
        };
        let head = trim(&line[..open]);
        let mut rest = trim(&line[end..]);
        let (time, event) = match timestamp(rest) {
            Some(found) => found,
            None => {
                // The flags field of ftrace.
                let Some(space) = rest.iter().position(|&b| b == b' ') else { return damaged("no time stamp") };
                rest = trim(&rest[space..]);
                match timestamp(rest) {
                    Some(found) => found,
                    None => return damaged("no time stamp"),
                }
            }
        };
        let pid_at = head.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1);
        let pid = digits(&head[pid_at..]).map_or(0, |d| d.0 as i32);
        let event = trim(event);
        let Some(colon) = event.iter().position(|&b| b == b' ').filter(|&i| i > 0 && event[i - 1] == b':') else {
            return match event.strip_suffix(b":") {
                Some(_) => Line { cpu, time, pid, what: What::Other },
                None => damaged("no event name"),
            };
        };
        let name = &event[..colon - 1];
        let systems: [&[u8]; 3] = [b"kmem:", b"sunrpc:", b"page_pool:"];
        let name = systems.iter().find_map(|system| name.strip_prefix(*system)).unwrap_or(name);
        let fields = trim(&event[colon..]);
        let what = match self.event(name, fields) {
            Ok(what) => what,
            Err(why) => What::Damaged { why: format!("{}: {why}", String::from_utf8_lossy(name)) },
        };
        Line { cpu, time, pid, what }
    }

    /// The task's name in a line, as ftrace and perf write it; empty when there is none.
    pub fn task<'a>(&self, line: &'a [u8]) -> &'a str {
        let head = cpu_field(line).map_or(&[][..], |(open, ..)| trim(&line[..open]));
        let end = head.iter().rposition(|b| !b.is_ascii_digit()).unwrap_or(0);
        std::str::from_utf8(trim(&head[..end])).unwrap_or("")
    }

    fn event(&mut self, name: &[u8], fields: &[u8]) -> Result<What, String> {
        if fields == b"snapshot" {
            return Ok(What::Snapshot);
        }
        let f = Fields(fields);
        Ok(match name {
            b"mm_page_alloc" => What::Alloc {
                pfn: f.pfn()?,
                order: f.order("order")?,
                migratetype: f.migratetype("migratetype")?,
                gfp: self.gfp(f.raw("gfp_flags")?)?,
            },
            b"mm_page_free" => What::Free { pfn: f.pfn()?, order: f.order("order")? },
            b"mm_page_free_batched" => What::FreeBatched { pfn: f.pfn()? },
            b"mm_page_alloc_zone_locked" => What::ZoneLocked {
                pfn: f.pfn()?,
                order: f.order("order")?,
                migratetype: f.migratetype("migratetype")?,
                percpu_refill: f.number("percpu_refill", 1)? == 1,
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
                change_ownership: f.number("change_ownership", 1)? == 1,
            },
            b"svc_alloc_arg_err" | b"page_pool_state_hold" | b"page_pool_state_release" => {
                let text = |part| std::str::from_utf8(part).map_err(|_| "the fields are no text".to_string());
                What::Caller { text: format!("{}: {}", text(name)?, text(fields)?) }
            }
            _ => What::Other,
        })
    }

    fn gfp(&mut self, raw: &[u8]) -> Result<u32, String> {
        if let Some(known) = self.gfp.iter().find(|g| g.0.as_bytes() == raw) {
            return Ok(known.1);
        }
        let text = std::str::from_utf8(raw).map_err(|_| "gfp_flags is no text".to_string())?;
        let value = gfp::parse(text).map_err(|name| format!("gfp flag {name:?} is not known"))?;
        if self.gfp.len() < 64 {
            self.gfp.push((text.into(), value));
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Line {
        Parser::default().line(text.as_bytes())
    }

    #[test]
    fn three_tools_one_line() {
        let what = What::Alloc { pfn: Pfn(0x7cee), order: 0, migratetype: 0, gfp: 0x400dc0 };
        let line = Line { cpu: 1, time: 1_569_696_000, pid: 50, what };
        for text in [
            "  busy box-50      [001] d..1.     1.569696: mm_page_alloc: page=00000000269ab8b9 pfn=0x7cee order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
            "   busybox-50    [001]     1.569696: mm_page_alloc:        page=0xffffea pfn=0x7cee order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
            "   busybox-50    [001] .....     1.569696000: mm_page_alloc:        page=0xffffea pfn=31982 order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
            "busy box    50 [001]     1.569696: kmem:mm_page_alloc: page=0xffffea pfn=0x7cee order=0 migratetype=0 gfp_flags=GFP_KERNEL_ACCOUNT|__GFP_ZERO",
        ] {
            assert_eq!(read(text), line, "{text}");
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
        assert!(why("x-1 [000] ..... 1.5: mm_page_free: page=1 pfn=0x123456789 order=0").contains("above"));
        assert!(why("garbage").contains("cpu"));
        assert!(why("a\0b").contains("binary"));
        assert!(
            why("x-1 [000] ..... 1.5: mm_page_alloc: page=1 pfn=0x1 order=0 migratetype=0 gfp_flags=GFP_ODD")
                .contains("GFP_ODD")
        );
    }

    #[test]
    fn losses_are_counted() {
        assert_eq!(read("CPU:3 [LOST 77 EVENTS]").what, What::Lost { events: 77 });
        assert_eq!(read("CPU:3 [LOST 77 EVENTS]").cpu, 3);
        assert_eq!(read("CPU:1 [12 EVENTS DROPPED]").what, What::Lost { events: 12 });
    }
}
