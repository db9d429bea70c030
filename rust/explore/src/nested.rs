//! The emulator itself, interrupted: the observer of a call lets handlers in that call the same machine on the same CPU.
//!
//! Points are the events of the core, which are finer than what an interrupt can tell apart except inside the core's own
//! list operations; for those see [`crate::lists`]. The locks are the real ones: on a lock that the interrupted call
//! holds, the handler's trylock fails.

use std::cell::RefCell;
use std::collections::BTreeSet;

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::{Ctx, NoFault};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::sync::Atomic;
use bulkpages_core::{Error, Machine, Pfn, Result, Slot};

use crate::{Choices, Outcome, Rule, Stop, explore};

/// What runs first, or as a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
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

impl Call {
    /// All of them.
    pub const ALL: [Call; 6] = [Call::V1, Call::V2, Call::V3, Call::Alloc, Call::Free, Call::Drain];

    /// Name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Call::V1 => "v1",
            Call::V2 => "v2",
            Call::V3 => "v3",
            Call::Alloc => "alloc",
            Call::Free => "free",
            Call::Drain => "drain",
        }
    }
}

struct State {
    choices: Choices,
    left: usize,
    came: u64,
    depth: usize,
    /// Depths that hold the lock of the per-CPU lists.
    pcp: Vec<usize>,
    zone_locked: bool,
    owned: BTreeSet<Pfn>,
    steps: Vec<String>,
    stop: Option<Stop>,
}

struct Shared<'a> {
    machine: &'a Machine<Atomic>,
    rule: Rule,
    handlers: &'a [Call],
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
    fn say(&self, text: String) {
        let state = &mut *self.state.borrow_mut();
        let who = if state.depth == 0 { "task   " } else { "handler" };
        state.steps.push(format!("{}{who} {text}", "        ".repeat(state.depth)));
    }

    fn wrong(&self, error: String, deadlock: bool) {
        self.say(format!("=> {error}"));
        self.state.borrow_mut().stop.get_or_insert(Stop { error, deadlock });
    }

    fn event(&self, event: Event) {
        self.say(format!("{event:?}"));
        let choice = {
            let state = &mut *self.state.borrow_mut();
            match event {
                Event::PcpTrylock { locked: true, .. } => state.pcp.push(state.depth),
                Event::PcpTrylock { locked: false, .. } if self.rule == Rule::Up => {
                    state.stop.get_or_insert(Stop { error: "a trylock failed on UP".into(), deadlock: false });
                }
                Event::PcpUnlock { .. } => {
                    state.pcp.pop();
                }
                Event::ZoneLock { .. } => state.zone_locked = true,
                Event::ZoneUnlock { .. } => state.zone_locked = false,
                _ => {}
            }
            // The event of an unlock comes just before it: the handler still finds the lock held.
            let off = state.zone_locked
                || self.rule == Rule::Up && (!state.pcp.is_empty() || matches!(event, Event::PcpUnlock { .. }));
            if off || state.left == 0 || state.stop.is_some() {
                return;
            }
            let choice = state.choices.choose(self.handlers.len() + 1);
            if choice == 0 {
                return;
            }
            state.left -= 1;
            state.came += 1;
            state.depth += 1;
            choice
        };
        let handler = self.handlers[choice - 1];
        self.say(format!("--- interrupt: {} ---", handler.name()));
        let unlocking = matches!(event, Event::PcpUnlock { .. });
        if handler == Call::Drain && (unlocking || !self.state.borrow().pcp.is_empty()) {
            let error = "deadlock by design: the handler waits for pcp->lock, held by what it interrupted; that waits \
                         for the handler to return";
            self.wrong(error.into(), true);
        } else if let Err(error) = self.call(handler) {
            self.wrong(error.to_string(), false);
        }
        self.say("--- return from interrupt ---".into());
        self.state.borrow_mut().depth -= 1;
    }

    fn got(&self, page: Pfn) {
        if !self.state.borrow_mut().owned.insert(page) {
            self.wrong(format!("pfn {page} was handed out twice"), false);
        }
    }

    fn give(&self) -> Option<Pfn> {
        self.state.borrow_mut().owned.pop_first()
    }

    fn call(&self, call: Call) -> Result<()> {
        let cx = &mut Ctx { cpu: 0, probe: Nest(self), fault: NoFault };
        match call {
            Call::Alloc => match self.machine.alloc_pages(cx, Gfp::ATOMIC, 0, None)? {
                Some(page) => self.got(page),
                None => self.wrong("a machine with free pages had none".into(), false),
            },
            Call::Free => {
                if let Some(page) = self.give() {
                    self.machine.free_pages(cx, page, 0)?;
                }
            }
            Call::Drain => {
                // The core tells of a drain's zone locks only: the per-CPU lock counts as held from end to end.
                let depth = self.state.borrow().depth;
                self.state.borrow_mut().pcp.push(depth);
                self.machine.drain_local_pages(cx)?;
                self.state.borrow_mut().pcp.pop();
            }
            Call::V1 | Call::V2 | Call::V3 => self.bulk(cx, call)?,
        }
        Ok(())
    }

    fn bulk(&self, cx: &mut Ctx<Nest<'_>, NoFault>, call: Call) -> Result<()> {
        let slots = Slot::array(4);
        let kept = if call == Call::V2 { None } else { self.give() };
        if let Some(page) = kept {
            slots[1].set(page);
        }
        let held = usize::from(kept.is_some());
        let gfp = Gfp::ATOMIC;
        let ret = match call {
            Call::V1 => self.machine.alloc_pages_bulk::<NullOnly, _, _>(cx, gfp, None, &slots)?,
            Call::V2 => self.machine.alloc_pages_bulk::<OutputOnly, _, _>(cx, gfp, None, &slots)?,
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
        if call == Call::V2 && ret != populated {
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

/// Explores `task` with up to `bound` handlers out of `handlers`; at most `limit` executions.
///
/// # Errors
///
/// For [`Rule::UpBeforeFix`]: safe locks cannot be broken that way, [`crate::lists`] models it.
pub fn run(rule: Rule, task: Call, handlers: &[Call], bound: usize, limit: u64) -> Result<Outcome> {
    if rule == Rule::UpBeforeFix {
        return Err(Error::InvalidArgument("up-before-fix is explored by the step model of the lists only".into()));
    }
    let spec = BootSpec::new(16384, 1, 1);
    let mut boot_error = None;
    let outcome = explore(Choices::default(), false, limit, |choices| {
        let machine = match Machine::<Atomic>::boot(&spec) {
            Ok(machine) => machine,
            Err(error) => {
                let stop = Stop { error: error.to_string(), deadlock: false };
                boot_error = Some(error);
                return (choices, 0, Vec::new(), Err(stop));
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
            depth: 0,
            pcp: Vec::new(),
            zone_locked: false,
            owned,
            steps: Vec::new(),
            stop: None,
        };
        let shared = Shared { machine: &machine, rule, handlers, state: RefCell::new(state) };
        if let Err(error) = shared.call(task) {
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
        (state.choices, state.came, state.steps, state.stop.map_or(Ok(()), Err))
    });
    boot_error.map_or(Ok(outcome), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_at_every_point_of_every_call_break_nothing() {
        for rule in [Rule::Up, Rule::Smp, Rule::Rt] {
            for task in Call::ALL {
                let found = run(rule, task, &[Call::Alloc, Call::Free, Call::V1, Call::V2], 1, u64::MAX).unwrap();
                assert_eq!(found.failure, None, "{} {}", rule.name(), task.name());
                assert!(found.complete, "{} {}", rule.name(), task.name());
                // On UP a drain keeps everything out.
                let kept_out = rule == Rule::Up && task == Call::Drain;
                assert_eq!(found.handlers == 0, kept_out, "{} {}", rule.name(), task.name());
            }
        }
    }

    #[test]
    fn a_drain_in_a_handler_is_a_deadlock_by_design_on_smp_only() {
        let smp = run(Rule::Smp, Call::V1, &[Call::Drain], 1, u64::MAX).unwrap();
        assert!(smp.failure.is_some_and(|f| f.deadlock));
        let up = run(Rule::Up, Call::V1, &[Call::Drain], 1, u64::MAX).unwrap();
        assert_eq!(up.failure, None);
    }

    #[test]
    fn the_broken_rule_is_refused() {
        assert!(run(Rule::UpBeforeFix, Call::V1, &[Call::Alloc], 1, 1).is_err());
    }
}
