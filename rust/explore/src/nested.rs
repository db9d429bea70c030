//! The emulator itself, interrupted: the observer of a call lets handlers in that call the same machine on the same CPU.
//!
//! Points are the events of the core, which are finer than what an interrupt can tell apart except inside the core's own
//! list operations; for those see [`crate::lists`]. The locks are the real ones: on a lock that the interrupted call
//! holds, the handler's trylock fails.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bulkpages_callers::env::{Counting, Env, NoHooks};
use bulkpages_callers::holes::Shape;
use bulkpages_callers::ports::Caller;
use bulkpages_callers::result::Form;
use bulkpages_callers::study::harness::Target;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::sync::Atomic;
use bulkpages_core::{Ctx, Error, Machine, PageState, Pfn, Result, Slot};

use crate::{Choices, Kind, Outcome, Rule, Run, Step, Stop, Which, explore};

/// What a handler does, and what it can interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// v1 on four slots, the second of which holds a page.
    V1,
    /// v2 on four slots.
    V2,
    /// v3 on four slots, the second of which holds a page.
    V3,
    /// One page.
    Alloc,
    /// A free of one page.
    Free,
    /// `drain_local_pages()`.
    Drain,
}

impl Work {
    pub const ALL: [Work; 6] = [Work::V1, Work::V2, Work::V3, Work::Alloc, Work::Free, Work::Drain];

    /// Name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Work::V1 => "v1",
            Work::V2 => "v2",
            Work::V3 => "v3",
            Work::Alloc => "alloc",
            Work::Free => "free",
            Work::Drain => "drain",
        }
    }
}

/// What is interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A call of the allocator.
    Call(Work),
    /// A kernel function that makes bulk calls, on a small array.
    Caller(Target, Form),
}

impl Task {
    pub fn all() -> Vec<Task> {
        let callers = Caller::ALL.iter().flat_map(|&caller| {
            let shape = Shape::parse(caller.info().example).expect("a picture of slots");
            let target = Target::new(caller, shape);
            caller.info().forms.iter().map(move |&form| Task::Caller(target.clone(), form))
        });
        Work::ALL.into_iter().map(Task::Call).chain(callers).collect()
    }

    /// Name in reports and on the command line: of a caller, its function and form.
    pub fn name(&self) -> String {
        match self {
            Task::Call(call) => call.name().into(),
            Task::Caller(target, form) => format!("{}/{}", target.caller.name(), form.name()),
        }
    }
}

struct State {
    choices: Choices,
    left: usize,
    came: u64,
    /// Handlers that wait for the lock of the lists, on RT.
    asleep: Vec<Work>,
    depth: usize,
    /// Depths that hold the lock of the per-CPU lists.
    pcp: Vec<usize>,
    zone_locked: bool,
    owned: BTreeSet<Pfn>,
    steps: Vec<Step>,
    stop: Option<Stop>,
}

struct Shared<'a> {
    machine: &'a Machine<Atomic>,
    rule: Rule,
    handlers: &'a [Work],
    state: RefCell<State>,
}

struct Nest<'a>(&'a Shared<'a>);

impl Probe for Nest<'_> {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        self.0.event(event);
    }
}

impl Shared<'_> {
    fn note(&self, kind: Kind, text: String) {
        let state = &mut *self.state.borrow_mut();
        state.steps.push(Step { depth: state.depth, kind, text });
    }

    fn wrong(&self, error: String, deadlock: bool) {
        self.note(Kind::Wrong, format!("=> {error}"));
        self.state.borrow_mut().stop.get_or_insert(Stop { error, deadlock });
    }

    fn event(&self, event: Event) {
        let kind = match event {
            Event::PcpTrylock { locked: true, .. } | Event::PcpLock { .. } => Kind::Lock("pcp->lock"),
            Event::PcpUnlock { .. } => Kind::Unlock("pcp->lock"),
            Event::ZoneLock { .. } => Kind::Lock("zone->lock"),
            Event::ZoneUnlock { .. } => Kind::Unlock("zone->lock"),
            _ => Kind::Do,
        };
        self.note(kind, told(&event));
        {
            let state = &mut *self.state.borrow_mut();
            match kind {
                Kind::Lock("pcp->lock") => state.pcp.push(state.depth),
                Kind::Unlock("pcp->lock") => drop(state.pcp.pop()),
                Kind::Lock(_) => state.zone_locked = true,
                Kind::Unlock(_) => state.zone_locked = false,
                _ => {}
            }
        }
        if self.rule == Rule::Up && matches!(event, Event::PcpTrylock { locked: false, .. }) {
            self.wrong("a trylock failed on UP".into(), false);
        }
        self.point();
    }

    /// A handler may come.
    fn point(&self) {
        loop {
            let handler = {
                let state = &mut *self.state.borrow_mut();
                if state.zone_locked || !state.pcp.is_empty() { None } else { state.asleep.pop() }
            };
            let Some(handler) = handler else { break };
            self.interrupt(handler);
        }
        let handler = {
            let state = &mut *self.state.borrow_mut();
            let off = state.zone_locked || self.rule == Rule::Up && !state.pcp.is_empty();
            if off || state.left == 0 || state.stop.is_some() {
                return;
            }
            let choice = state.choices.choose(self.handlers.len() + 1);
            if choice == 0 {
                return;
            }
            state.left -= 1;
            state.came += 1;
            self.handlers[choice - 1]
        };
        if self.rule == Rule::Rt && handler == Work::Drain && !self.state.borrow().pcp.is_empty() {
            self.note(Kind::Do, "a handler that waits for pcp->lock sleeps: drain".into());
            self.state.borrow_mut().asleep.push(handler);
            return;
        }
        self.interrupt(handler);
    }

    fn interrupt(&self, handler: Work) {
        self.state.borrow_mut().depth += 1;
        self.note(Kind::Interrupt, format!("--- interrupt: {} ---", handler.name()));
        if handler == Work::Drain && !self.state.borrow().pcp.is_empty() {
            let error = "deadlock by design: the handler waits for pcp->lock, held by what it interrupted; that waits \
                         for the handler to return";
            self.wrong(error.into(), true);
        } else if let Err(error) = self.call(handler) {
            self.wrong(error.to_string(), false);
        }
        self.note(Kind::Return, "--- return from interrupt ---".into());
        self.state.borrow_mut().depth -= 1;
    }

    fn got(&self, page: Pfn) {
        if self.machine.pages().state(page) != PageState::Allocated(0) {
            self.wrong(format!("pfn {page} was handed out and is {:?}", self.machine.pages().state(page)), false);
        }
        if !self.state.borrow_mut().owned.insert(page) {
            self.wrong(format!("pfn {page} was handed out twice"), false);
        }
    }

    fn give(&self) -> Option<Pfn> {
        self.state.borrow_mut().owned.pop_first()
    }

    fn call(&self, call: Work) -> Result<()> {
        let cx = &mut Ctx { cpu: 0, probe: Nest(self), fault: NoFault };
        match call {
            Work::Alloc => match self.machine.alloc_pages(cx, Gfp::ATOMIC, 0, None)? {
                Some(page) => self.got(page),
                None => self.wrong("a machine with free pages had none".into(), false),
            },
            Work::Free => {
                if let Some(page) = self.give() {
                    self.machine.free_pages(cx, page, 0)?;
                }
            }
            Work::Drain => self.machine.drain_local_pages(cx)?,
            Work::V1 | Work::V2 | Work::V3 => self.bulk(cx, call)?,
        }
        Ok(())
    }

    /// A caller on a machine with free pages: it succeeds, without sleeping, whatever comes on top of it.
    fn caller(&self, target: &Target, form: Form) -> Result<()> {
        let slots = target.array(self.machine)?;
        let cx = Ctx { cpu: 0, probe: Counting::new(Nest(self)), fault: NoFault };
        let env = &mut Env::new(self.machine, cx, NoHooks)?;
        let (result, array) = target.call(env, &slots, form)?;
        let filled = array.iter().filter(|&&page| page != 0).count();
        if !result.ret.is_success() || filled < target.slots() || result.waits > 0 {
            let of = target.slots();
            let error =
                format!("returned {:?} with {filled} of {of} slots populated after {} waits", result.ret, result.waits);
            self.wrong(error, false);
        }
        for page in array.into_iter().filter(|&page| page != 0) {
            self.got(Pfn(page as u32));
        }
        Ok(())
    }

    fn bulk(&self, cx: &mut Ctx<Nest<'_>, NoFault>, call: Work) -> Result<()> {
        let slots = Slot::array(4);
        let kept = if call == Work::V2 { None } else { self.give() };
        if let Some(page) = kept {
            slots[1].set(page);
        }
        let held = usize::from(kept.is_some());
        let gfp = Gfp::ATOMIC;
        let ret = match call {
            Work::V1 => self.machine.alloc_pages_bulk::<NullOnly>(cx, gfp, None, &slots)?,
            Work::V2 => self.machine.alloc_pages_bulk::<OutputOnly>(cx, gfp, None, &slots)?,
            _ => {
                self.machine.alloc_pages_bulk_refill(cx, gfp, &slots)?;
                slots.iter().take_while(|s| !s.get().is_null()).count()
            }
        };
        let populated = slots.iter().filter(|s| !s.get().is_null()).count();
        // What a caller may rely on: every slot below the return value is populated, at least one page is new while
        // memory is free, and a page that was there still is.
        let prefix = slots.iter().take_while(|s| !s.get().is_null()).count();
        if ret > prefix || populated <= held || kept.is_some_and(|page| slots.iter().all(|s| s.get() != page)) {
            self.wrong(format!("{} returned {ret} with {populated} of 4 slots populated", call.name()), false);
        }
        if call == Work::V2 && ret != populated {
            self.wrong(format!("v2 returned {ret} and took {populated} pages"), false);
        }
        for slot in &slots {
            if !slot.get().is_null() {
                self.got(slot.get());
            }
        }
        Ok(())
    }
}

/// Explores `task` with up to `bound` handlers out of `handlers` in each execution, as long as `go_on` says so.
///
/// # Errors
///
/// For [`Rule::UpBeforeFix`]: safe locks cannot be broken that way, [`crate::lists`] models it.
pub fn run(
    rule: Rule,
    task: &Task,
    handlers: &[Work],
    bound: usize,
    which: Which<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Result<Outcome> {
    if rule == Rule::UpBeforeFix {
        return Err(Error::InvalidArgument("up-before-fix is explored by the step model of the lists only".into()));
    }
    let spec = BootSpec::new(16384, 1, 1);
    let mut boot_error = None;
    let outcome = explore(which, go_on, |choices| {
        let machine = match Machine::<Atomic>::boot(&spec) {
            Ok(machine) => machine,
            Err(error) => {
                let stop = Stop { error: error.to_string(), deadlock: false };
                boot_error = Some(error);
                return Run { choices, handlers: 0, steps: Vec::new(), result: Err(stop) };
            }
        };
        let mut owned = BTreeSet::new();
        for _ in 0..4 {
            if let Ok(Some(page)) = machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None) {
                owned.insert(page);
            }
        }
        let state = State {
            choices,
            left: bound,
            came: 0,
            asleep: Vec::new(),
            depth: 0,
            pcp: Vec::new(),
            zone_locked: false,
            owned,
            steps: Vec::new(),
            stop: None,
        };
        let shared = Shared { machine: &machine, rule, handlers, state: RefCell::new(state) };
        shared.point();
        let done = match task {
            Task::Call(call) => shared.call(*call),
            Task::Caller(target, form) => shared.caller(target, *form),
        };
        if let Err(error) = done {
            shared.wrong(error.to_string(), false);
        }
        match machine.audit() {
            Ok(audit) => {
                let owned = shared.state.borrow().owned.len() as u64;
                if audit.allocated != owned {
                    shared.wrong(format!("{} pages are allocated, {owned} are owned", audit.allocated), false);
                }
            }
            Err(error) => shared.wrong(error.to_string(), false),
        }
        let state = shared.state.into_inner();
        let result = state.stop.map_or(Ok(()), Err);
        Run { choices: state.choices, handlers: state.came, steps: state.steps, result }
    });
    boot_error.map_or(Ok(outcome), Err)
}

/// An event in words: `zone_lock zone 0, cpu 1`.
fn told(event: &Event) -> String {
    let text = format!("{event:?}");
    let (name, fields) = text.split_once(" { ").unwrap_or((&text, ""));
    let mut words = String::new();
    for (i, c) in name.chars().enumerate() {
        if i > 0 && c.is_uppercase() {
            words.push('_');
        }
        words.push(c.to_ascii_lowercase());
    }
    let fields = fields.trim_end_matches(" }").replace(": ", " ");
    if fields.is_empty() { words } else { format!("{words} {fields}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_at_every_point_of_every_call_break_nothing() {
        for rule in [Rule::Up, Rule::Smp, Rule::Rt] {
            for task in Task::all() {
                let handlers = [Work::Alloc, Work::Free, Work::V1, Work::V2];
                let found = run(rule, &task, &handlers, 1, Which::UpTo(u64::MAX), &mut || true).unwrap();
                assert_eq!(found.failure, None, "{} {}", rule.name(), task.name());
                assert!(found.complete && found.handlers > 0, "{} {}", rule.name(), task.name());
            }
        }
    }

    #[test]
    fn a_drain_in_a_handler_is_a_deadlock_by_design_on_smp_only() {
        for task in Task::all() {
            let found =
                |rule| run(rule, &task, &[Work::Drain], 1, Which::UpTo(u64::MAX), &mut || true).unwrap().failure;
            assert!(found(Rule::Smp).is_some_and(|f| f.deadlock), "{}", task.name());
            assert_eq!((found(Rule::Up), found(Rule::Rt)), (None, None), "{}", task.name());
        }
    }

    #[test]
    fn an_interrupt_inside_a_batch_loop_makes_the_handler_take_from_the_buddy_lists() {
        // The first point at which v2 holds the lock of the lists.
        let task = Task::Call(Work::V2);
        let quiet = run(Rule::Smp, &task, &[Work::Alloc], 1, Which::Only(&[]), &mut || true).unwrap();
        let at = quiet.steps.iter().position(|s| s.kind == Kind::Lock("pcp->lock")).unwrap() + 1;
        let choices: Vec<usize> = (0..=at).map(|i| usize::from(i == at)).collect();
        let found = run(Rule::Smp, &task, &[Work::Alloc], 1, Which::Only(&choices), &mut || true).unwrap();
        assert!(found.fits && found.failure.is_none());
        let handler: Vec<&str> = found.steps.iter().filter(|s| s.depth == 1).map(|s| s.text.as_str()).collect();
        assert!(handler.iter().any(|s| s.contains("locked false")), "{handler:?}");
        assert!(handler.iter().any(|s| s.contains("zone_lock")), "{handler:?}");
    }

    #[test]
    fn the_broken_rule_is_refused() {
        assert!(
            run(Rule::UpBeforeFix, &Task::Call(Work::V1), &[Work::Alloc], 1, Which::UpTo(1), &mut || true).is_err()
        );
    }
}
