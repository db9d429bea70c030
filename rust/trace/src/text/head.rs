//! Kernel: `trace_print_context()`, `trace_print_lat_context()` and `print_graph_prologue()` (v6.12): who ran, where and
//! when, as ftrace, trace-cmd and perf write it before an event.
//!
//! | written by | line |
//! |---|---|
//! | ftrace | `TASK-PID (TGID) [CPU] FLAGS SECONDS: EVENT`; the group and the flags may be absent |
//! | ftrace, counting clock | `TASK-PID [CPU] FLAGS TICKS: EVENT` |
//! | ftrace, latency format, dumps | `TASK-PID CPUFLAGS 12us : EVENT` |
//! | the same, verbose | `TASK PID CPU FLAGS COUNT INDEX [HEX] 1.234ms (+0.001ms): EVENT` |
//! | ftrace, function graph | `SECONDS \| CPU) TASK-PID \| FLAGS \| /* EVENT */`; all but the CPU may be absent |
//! | trace-cmd report | as ftrace |
//! | perf script | `TASK TGID/PID [CPU] SECONDS: PERIOD EVENT`; the group, the CPU and the period may be absent |

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp {
    /// Nanoseconds, printed with so many digits behind the point of the seconds.
    Time {
        ns: u64,
        /// Digits, 1 to 9.
        digits: u8,
    },
    /// A clock that counts something else.
    Ticks(u64),
}

/// What stands before an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// Name of the task.
    pub task: &'a [u8],
    /// Its number, that of the thread.
    pub pid: Option<i32>,
    /// Number of its thread group.
    pub tgid: Option<i32>,
    /// Whether ftrace had no number for its column of the thread group: `(-------)`.
    pub tgid_unknown: bool,
    pub cpu: Option<u32>,
    /// Interrupts, preemption and so on, as printed; empty when they are not.
    pub flags: &'a [u8],
    pub stamp: Option<Stamp>,
}

/// The number in front of the first byte that is no digit, and the rest.
pub(super) fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let n = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if n == 0 || n > 20 {
        return None;
    }
    let value = text[..n].iter().try_fold(0u64, |v, b| v.checked_mul(10)?.checked_add(u64::from(b - b'0')))?;
    Some((value, &text[n..]))
}

fn number(text: &[u8]) -> Option<u64> {
    digits(text).filter(|d| d.1.is_empty()).map(|d| d.0)
}

/// Without white space at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The last word, and what stands before it.
fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_end();
    let at = text.iter().rposition(u8::is_ascii_whitespace).map_or(0, |i| i + 1);
    (&text[at..], text[..at].trim_ascii_end())
}

/// `12.345` as nanoseconds when the unit has `unit` of them.
fn fraction(text: &[u8], unit: u64) -> Option<(u64, u8)> {
    let (whole, rest) = digits(text)?;
    let [b'.', rest @ ..] = rest else { return None };
    let value = number(rest)?;
    let places = u8::try_from(rest.len()).ok()?;
    let part = value.checked_mul(unit)?.checked_div(10u64.checked_pow(places.into())?)?;
    (places <= 9).then_some((whole.checked_mul(unit)?.checked_add(part)?, places))
}

fn stamp(word: &[u8]) -> Option<Stamp> {
    // How long since the line before, as one character.
    let word = match word {
        [rest @ .., b'+' | b'!' | b'#' | b'*' | b'@' | b'$'] if rest.ends_with(b"us") => rest,
        _ => word,
    };
    if let Some(us) = word.strip_suffix(b"us") {
        return Some(Stamp::Time { ns: number(us)?.checked_mul(1000)?, digits: 6 });
    }
    if let Some(ms) = word.strip_suffix(b"ms") {
        return fraction(ms, 1_000_000).map(|(ns, _)| Stamp::Time { ns, digits: 6 });
    }
    if let Some((ns, digits)) = fraction(word, 1_000_000_000) {
        return Some(Stamp::Time { ns, digits });
    }
    number(word).map(Stamp::Ticks)
}

/// `[003]`.
fn cpu(word: &[u8]) -> Option<u32> {
    let inner = word.strip_prefix(b"[")?.strip_suffix(b"]")?;
    u32::try_from(number(inner)?).ok()
}

/// Task, thread and thread group.
fn who(text: &[u8]) -> Head<'_> {
    let mut text = trim(text);
    let mut head = Head::default();
    if let Some(open) = text.iter().rposition(|&b| b == b'(').filter(|_| text.ends_with(b")")) {
        let inner = trim(&text[open + 1..text.len() - 1]);
        let tgid = number(inner).and_then(|n| i32::try_from(n).ok());
        let dashes = !inner.is_empty() && inner.iter().all(|&b| b == b'-');
        if tgid.is_some() || dashes {
            head.tgid = tgid;
            head.tgid_unknown = dashes;
            text = trim(&text[..open]);
        }
    }
    let mut from = text.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1);
    head.pid = number(&text[from..]).and_then(|n| i32::try_from(n).ok());
    if head.pid.is_none() {
        head.task = text;
        return head;
    }
    if from > 0 && text[from - 1] == b'/' {
        let group = &text[..from - 1];
        let at = group.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1);
        if let Some(tgid) = number(&group[at..]).and_then(|n| i32::try_from(n).ok()) {
            head.tgid = Some(tgid);
            from = at;
        }
    }
    head.task = match &text[..from] {
        // perf: a task that was gone has the number -1.
        [rest @ .., b' ', b'-'] => {
            head.pid = head.pid.map(|pid| -pid);
            rest
        }
        [rest @ .., b'-'] => rest,
        rest => rest,
    };
    head.task = trim(head.task);
    head
}

/// The flags of a line: `d..2.`, `.N...`, `dNh1.`.
fn are_flags(word: &[u8]) -> bool {
    (2..=8).contains(&word.len()) && word.iter().all(|b| b.is_ascii_alphanumeric() || b".#-".contains(b))
}

/// What stands before the time.
fn place(text: &[u8], stamp: Stamp) -> Option<Head<'_>> {
    let (word, before) = last_word(text);
    let stamp = Some(stamp);
    if let Some(cpu) = cpu(word) {
        return Some(Head { cpu: Some(cpu), stamp, ..who(before) });
    }
    let (second, rest) = last_word(before);
    if let Some(cpu) = cpu(second) {
        return Some(Head { cpu: Some(cpu), flags: word, stamp, ..who(rest) });
    }
    if let Some((cpu, flags)) = digits(word)
        && flags.len() >= 3
        && are_flags(flags)
        && let Ok(cpu) = u32::try_from(cpu)
        && who(before).pid.is_some()
    {
        return Some(Head { cpu: Some(cpu), flags, stamp, ..who(before) });
    }
    // perf without a CPU; a bare count before a colon is too little to go by.
    let head = who(text);
    (matches!(stamp, Some(Stamp::Time { .. })) && head.pid.is_some() && !head.task.is_empty())
        .then_some(Head { stamp, ..head })
}

/// Verbose latency format, up to the time since the line before.
fn verbose(text: &[u8]) -> Option<Head<'_>> {
    let (time, rest) = last_word(text);
    let (absolute, mut rest) = last_word(rest);
    absolute.strip_prefix(b"[")?.strip_suffix(b"]").filter(|hex| hex.iter().all(u8::is_ascii_hexdigit))?;
    let mut words = [&b""[..]; 4];
    for word in words.iter_mut().rev() {
        (*word, rest) = last_word(rest);
    }
    let cpu = u32::try_from(number(words[0])?).ok()?;
    Some(Head { cpu: Some(cpu), stamp: Some(stamp(time)?), ..who(rest) })
}

/// Function graph: an event is a comment among the calls.
fn graph(line: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let open = line.windows(3).position(|w| w == b"/* ")?;
    let event = line[open + 3..].trim_ascii_end().strip_suffix(b"*/").map(trim)?;
    let mut head = Head::default();
    for column in line[..open].split(|&b| b == b'|').map(trim) {
        if head.cpu.is_none() {
            if let Some(close) = column.iter().position(|&b| b == b')')
                && let Some(cpu) = number(trim(&column[..close])).and_then(|n| u32::try_from(n).ok())
            {
                let task = who(&column[close + 1..]);
                head = Head { cpu: Some(cpu), task: task.task, pid: task.pid, ..head };
            } else {
                head.stamp = stamp(column).filter(|s| matches!(s, Stamp::Time { .. }));
            }
        } else if are_flags(column) {
            head.flags = column;
        }
    }
    head.cpu.map(|_| (head, event))
}

/// What stands before an event, and the event. `None`: the line has no such head.
pub(super) fn split(line: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let mut from = 0;
    while let Some(colon) = line[from..].iter().position(|&b| b == b':').map(|i| i + from) {
        from = colon + 1;
        if !matches!(line.get(from), None | Some(b' ' | b'\t')) {
            continue;
        }
        let (word, before) = last_word(&line[..colon]);
        let head = if word.starts_with(b"(+") && word.ends_with(b")") {
            verbose(before)
        } else {
            stamp(word).and_then(|stamp| place(before, stamp))
        };
        if let Some(head) = head {
            return Some((head, trim(&line[from..])));
        }
    }
    graph(line).or_else(|| untimed(line))
}

/// A line with a CPU and no time, as [`crate::write::again`] writes one where the time was not known.
fn untimed(line: &[u8]) -> Option<(Head<'_>, &[u8])> {
    let open = line.iter().position(|&b| b == b'[').filter(|&i| i == 0 || line[i - 1] == b' ')?;
    let close = line[open..].iter().position(|&b| b == b']')? + open;
    let cpu = cpu(&line[open..=close])?;
    let mut head = Head { cpu: Some(cpu), ..who(&line[..open]) };
    let mut event = trim(&line[close + 1..]);
    let space = event.iter().position(|&b| b == b' ')?;
    if !event[..space].ends_with(b":") && are_flags(&event[..space]) {
        head.flags = &event[..space];
        event = trim(&event[space..]);
    }
    Some((head, event))
}

/// Takes off what a kernel log puts before a line: its time, its level, the journal's host. Whether there was any.
pub(super) fn out_of_log(line: &[u8]) -> (&[u8], bool) {
    match out_of_journal(trim(line)) {
        Some(text) => (out_of_ring(text).0, true),
        None => out_of_ring(line),
    }
}

/// What stands behind a date, a host and `kernel:`.
fn out_of_journal(text: &[u8]) -> Option<&[u8]> {
    const KERNEL: &[u8] = b" kernel: ";
    let dated = match text {
        // `Nov 26` and `2026-11-26`.
        [a, b, c, b' ', b' ' | b'0'..=b'9', ..] => [a, b, c].iter().all(|b| b.is_ascii_alphabetic()),
        [a, b, c, d, b'-', ..] => [a, b, c, d].iter().all(|b| b.is_ascii_digit()),
        _ => false,
    };
    let at = dated.then(|| text[..text.len().min(120)].windows(KERNEL.len()).position(|w| w == KERNEL))??;
    Some(&text[at + KERNEL.len()..])
}

/// The same of what the kernel itself puts before a line.
fn out_of_ring(line: &[u8]) -> (&[u8], bool) {
    let text = trim(line);
    let Some(open) = text.iter().position(|&b| b == b'[') else { return (text, false) };
    let before = trim(&text[..open]);
    let level = before.strip_prefix(b"<").and_then(|b| b.strip_suffix(b">")).is_some_and(|b| number(b).is_some());
    if !(before.is_empty() || level || before.ends_with(b"kernel:") || before.starts_with(b"kern ")) {
        return (text, false);
    }
    let Some(close) = text[open..].iter().position(|&b| b == b']').map(|i| i + open) else { return (text, false) };
    let inside = trim(&text[open + 1..close]);
    let date = inside.len() > 10 && inside[..3].iter().all(u8::is_ascii_alphabetic) && inside[3] == b' ';
    if fraction(inside, 1_000_000_000).is_none() && !date {
        return (text, false);
    }
    let rest = &text[close + 1..];
    // The caller: `[  T12]`, `[    C0]`.
    let rest = match rest {
        [b'[', inner @ ..] => match inner.iter().position(|&b| b == b']') {
            Some(end) if matches!(trim(&inner[..end]), [b'T' | b'C', n @ ..] if number(n).is_some()) => {
                &inner[end + 1..]
            }
            _ => rest,
        },
        _ => rest,
    };
    (trim(rest), true)
}
