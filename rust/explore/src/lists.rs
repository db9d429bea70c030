//! Kernel: `drain_pages_zone()`, `free_pcppages_bulk()`, `rmqueue_pcplist()`, `free_unref_page_commit()` and the batch
//! loop of `alloc_pages_bulk()` (v6.12), reduced to one zone, one CPU, one list and order 0, and cut into the reads and
//! writes between which an interrupt can come.
//!
//! Watermarks, refill sizes and automatic limits are left out: a refill takes two pages, a free never drains.

use crate::{Choices, Kind, Outcome, Rule, Run, Step, Stop, Which, explore};

/// What runs first, or as a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `drain_pages_zone()`: takes the lock with `spin_lock()`.
    Drain,
    /// A bulk call for three pages.
    Bulk,
    /// One page.
    Alloc,
    /// A free of one page.
    Free,
}

impl Action {
    pub const ALL: [Action; 4] = [Action::Drain, Action::Bulk, Action::Alloc, Action::Free];

    /// Name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Action::Drain => "drain",
            Action::Bulk => "bulk",
            Action::Alloc => "alloc",
            Action::Free => "free",
        }
    }
}

const PAGES: usize = 16;
/// The list head stands behind the pages.
const HEAD: usize = PAGES;
const POISON: usize = usize::MAX;
const PCP: Kind = Kind::Lock("pcp->lock");
const PCP_FREE: Kind = Kind::Unlock("pcp->lock");

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Buddy,
    Pcp,
    Owned,
    Moving,
}

struct World<'a> {
    rule: Rule,
    handlers: &'a [Action],
    left: usize,
    came: u64,
    /// Handlers that wait for the lock of the lists, on RT.
    asleep: Vec<Action>,
    depth: usize,
    irqs_off: u32,
    locked_at: Option<usize>,
    next: [usize; PAGES + 1],
    prev: [usize; PAGES + 1],
    count: i64,
    buddy: Vec<usize>,
    at: [At; PAGES],
    owned: Vec<usize>,
    choices: Choices,
    steps: Vec<Step>,
}

type Go = Result<(), Stop>;

impl World<'_> {
    fn say(&mut self, text: impl Into<String>) {
        self.note(Kind::Do, text);
    }

    fn note(&mut self, kind: Kind, text: impl Into<String>) {
        self.steps.push(Step { depth: self.depth, kind, text: text.into() });
    }

    fn stop(&mut self, error: String, deadlock: bool) -> Stop {
        self.note(Kind::Wrong, format!("=> {error}"));
        Stop { error, deadlock }
    }

    /// Between two steps: an interrupt may come.
    fn point(&mut self) -> Go {
        if self.irqs_off == 0 && self.locked_at.is_none() {
            while let Some(handler) = self.asleep.pop() {
                self.interrupt(handler)?;
            }
        }
        if self.irqs_off > 0 || self.left == 0 {
            return Ok(());
        }
        let choice = self.choices.choose(self.handlers.len() + 1);
        if choice == 0 {
            return Ok(());
        }
        let handler = self.handlers[choice - 1];
        self.left -= 1;
        self.came += 1;
        if self.rule == Rule::Rt && handler == Action::Drain && self.locked_at.is_some() {
            self.say("a handler that waits for pcp->lock sleeps: drain");
            self.asleep.push(handler);
            return Ok(());
        }
        self.interrupt(handler)
    }

    fn interrupt(&mut self, handler: Action) -> Go {
        self.depth += 1;
        self.note(Kind::Interrupt, format!("--- interrupt: {} ---", handler.name()));
        self.call(handler)?;
        self.note(Kind::Return, "--- return from interrupt ---");
        self.depth -= 1;
        Ok(())
    }

    fn call(&mut self, call: Action) -> Go {
        match call {
            Action::Drain => self.drain(),
            Action::Bulk => self.alloc(3),
            Action::Alloc => self.alloc(1),
            Action::Free => self.free(),
        }
    }

    fn local_irq_save(&mut self) {
        self.irqs_off += 1;
    }

    fn local_irq_restore(&mut self) {
        self.irqs_off -= 1;
    }

    /// `spin_lock(&pcp->lock)`, with interrupts saved on UP as of the fix.
    fn lock(&mut self) -> Go {
        match self.rule {
            Rule::UpBeforeFix => self.note(PCP, "spin_lock(&pcp->lock)              (UP: nothing)"),
            Rule::Up => {
                self.local_irq_save();
                self.note(PCP, "spin_lock_irqsave(&pcp->lock)      (UP: interrupts off)");
            }
            Rule::Smp | Rule::Rt => {
                self.note(PCP, "spin_lock(&pcp->lock)");
                if let Some(holder) = self.locked_at {
                    let who = if holder == 0 { "the task".into() } else { format!("the handler at depth {holder}") };
                    let error = format!(
                        "deadlock by design: the handler waits for pcp->lock, held by {who}; {who} waits for the \
                         handler, which interrupted it, to return"
                    );
                    return Err(self.stop(error, true));
                }
                self.locked_at = Some(self.depth);
            }
        }
        self.point()
    }

    fn unlock(&mut self) -> Go {
        self.note(PCP_FREE, "spin_unlock(&pcp->lock)");
        match self.rule {
            Rule::UpBeforeFix => {}
            Rule::Up => self.local_irq_restore(),
            Rule::Smp | Rule::Rt => self.locked_at = None,
        }
        self.point()
    }

    /// `pcp_spin_trylock()`: on UP interrupts are off inside, and it succeeds whoever holds the lock.
    fn trylock(&mut self) -> Result<bool, Stop> {
        if self.rule.locks() {
            let free = self.locked_at.is_none();
            let kind = if free { PCP } else { Kind::Do };
            self.note(kind, format!("spin_trylock(&pcp->lock) = {free}"));
            if free {
                self.locked_at = Some(self.depth);
            }
            self.point()?;
            return Ok(free);
        }
        self.local_irq_save();
        self.note(PCP, "local_irq_save(); spin_trylock(&pcp->lock) = true (UP: always)");
        Ok(true)
    }

    fn try_unlock(&mut self) -> Go {
        self.note(PCP_FREE, "pcp_spin_unlock()");
        if self.rule.locks() {
            self.locked_at = None;
        } else {
            self.local_irq_restore();
        }
        self.point()
    }

    /// `spin_lock_irqsave(&zone->lock)`. On RT handlers are kept out here too, see [`Rule::Rt`].
    fn zone_lock(&mut self) {
        self.local_irq_save();
        self.note(Kind::Lock("zone->lock"), "spin_lock_irqsave(&zone->lock)");
    }

    fn zone_unlock(&mut self) -> Go {
        self.note(Kind::Unlock("zone->lock"), "spin_unlock_irqrestore(&zone->lock)");
        self.local_irq_restore();
        self.point()
    }

    fn list_del(&mut self, page: usize) -> Go {
        let (next, prev) = (self.next[page], self.prev[page]);
        if next == POISON || prev == POISON || self.prev[next] != page || self.next[prev] != page {
            return Err(self.stop(format!("list_del corruption: page {page} is not between its neighbours"), false));
        }
        self.prev[next] = prev;
        self.point()?;
        self.next[prev] = next;
        (self.next[page], self.prev[page]) = (POISON, POISON);
        Ok(())
    }

    fn list_add(&mut self, page: usize, tail: bool) -> Go {
        let (prev, next) = if tail { (self.prev[HEAD], HEAD) } else { (HEAD, self.next[HEAD]) };
        if self.next[prev] != next || self.prev[next] != prev {
            return Err(self.stop(format!("list_add corruption at page {page}: its neighbours do not meet"), false));
        }
        self.prev[next] = page;
        self.point()?;
        (self.next[page], self.prev[page]) = (next, prev);
        self.next[prev] = page;
        self.at[page] = At::Pcp;
        Ok(())
    }

    /// `pcp->count += delta`: a read, then a write.
    fn add_count(&mut self, delta: i64) -> Go {
        let read = self.count;
        self.point()?;
        self.count = read + delta;
        self.say(format!("pcp->count = {}", self.count));
        self.point()
    }

    fn hand_out(&mut self, page: usize) -> Go {
        if self.at[page] == At::Owned {
            return Err(self.stop(format!("page {page} is handed out, and somebody owns it"), false));
        }
        self.at[page] = At::Owned;
        self.owned.push(page);
        Ok(())
    }

    fn drain(&mut self) -> Go {
        loop {
            self.lock()?;
            let mut count = self.count;
            self.say(format!("drain_pages_zone: count = pcp->count = {count}"));
            self.point()?;
            if count > 0 {
                let to_drain = count.min(8);
                self.free_pcppages_bulk(to_drain)?;
                count -= to_drain;
            }
            self.unlock()?;
            if count <= 0 {
                return Ok(());
            }
        }
    }

    fn free_pcppages_bulk(&mut self, want: i64) -> Go {
        let mut count = self.count.min(want);
        self.say(format!("free_pcppages_bulk: count = min(pcp->count, {want}) = {count}"));
        self.point()?;
        self.zone_lock();
        while count > 0 {
            let page = self.prev[HEAD];
            if page == HEAD {
                let error = format!(
                    "free_pcppages_bulk looks for a list that is not empty for ever: {count} pages to go, none on any \
                     list, pcp->count {}, interrupts off",
                    self.count
                );
                return Err(self.stop(error, false));
            }
            self.list_del(page)?;
            self.add_count(-1)?;
            count -= 1;
            self.at[page] = At::Buddy;
            self.buddy.push(page);
        }
        self.zone_unlock()
    }

    fn alloc(&mut self, wanted: usize) -> Go {
        if !self.trylock()? {
            return self.alloc_buddy();
        }
        for _ in 0..wanted {
            if self.next[HEAD] == HEAD {
                self.refill()?;
            }
            let page = self.next[HEAD];
            if page == HEAD {
                break;
            }
            self.say(format!("take page {page} off the list"));
            self.point()?;
            self.list_del(page)?;
            self.at[page] = At::Moving;
            self.add_count(-1)?;
            self.hand_out(page)?;
        }
        self.try_unlock()
    }

    /// `rmqueue_bulk()`.
    fn refill(&mut self) -> Go {
        self.zone_lock();
        self.say("rmqueue_bulk: two pages from the buddy lists");
        let mut got = 0;
        for _ in 0..2 {
            let Some(page) = self.buddy.pop() else { break };
            self.at[page] = At::Moving;
            self.list_add(page, true)?;
            got += 1;
        }
        self.zone_unlock()?;
        self.add_count(got)
    }

    /// `rmqueue_buddy()`.
    fn alloc_buddy(&mut self) -> Go {
        self.zone_lock();
        if let Some(page) = self.buddy.pop() {
            self.say(format!("rmqueue_buddy: page {page} straight from the buddy lists"));
            self.at[page] = At::Moving;
            self.hand_out(page)?;
        }
        self.zone_unlock()
    }

    fn free(&mut self) -> Go {
        let Some(page) = self.owned.pop() else { return Ok(()) };
        self.at[page] = At::Moving;
        self.say(format!("free page {page}"));
        if self.trylock()? {
            self.list_add(page, false)?;
            self.add_count(1)?;
            return self.try_unlock();
        }
        self.zone_lock();
        self.at[page] = At::Buddy;
        self.buddy.push(page);
        self.zone_unlock()
    }

    /// What must hold when nobody is at work.
    fn check(&mut self) -> Go {
        let (mut page, mut on_list) = (self.next[HEAD], 0i64);
        while page != HEAD {
            if page == POISON || on_list as usize > PAGES || self.at[page] != At::Pcp {
                return Err(self.stop("the list is broken".into(), false));
            }
            on_list += 1;
            page = self.next[page];
        }
        if self.count != on_list {
            let error = format!("pcp->count is {}, and {on_list} pages are on the list", self.count);
            return Err(self.stop(error, false));
        }
        let all = on_list as usize + self.buddy.len() + self.owned.len();
        if all != PAGES {
            return Err(self.stop(format!("{all} pages are left of {PAGES}"), false));
        }
        Ok(())
    }
}

/// Explores `task` with up to `bound` handlers out of `handlers` in each execution, as long as `go_on` says so.
pub fn run(
    rule: Rule,
    task: Action,
    handlers: &[Action],
    bound: usize,
    which: Which<'_>,
    go_on: &mut dyn FnMut() -> bool,
) -> Outcome {
    explore(which, go_on, |choices| {
        let mut world = World {
            rule,
            handlers,
            left: bound,
            came: 0,
            asleep: Vec::new(),
            depth: 0,
            irqs_off: 0,
            locked_at: None,
            next: [POISON; PAGES + 1],
            prev: [POISON; PAGES + 1],
            count: 0,
            buddy: (6..PAGES).collect(),
            at: [At::Buddy; PAGES],
            owned: (2..6).collect(),
            choices,
            steps: Vec::new(),
        };
        (world.next[HEAD], world.prev[HEAD]) = (HEAD, HEAD);
        world.at[2..6].fill(At::Owned);
        let result = world.set_up().and_then(|()| world.call(task)).and_then(|()| world.check());
        Run { choices: world.choices, handlers: world.came, steps: world.steps, result }
    })
}

impl World<'_> {
    /// Two pages on the list, before anything can interrupt.
    fn set_up(&mut self) -> Go {
        self.irqs_off = 1;
        for page in 0..2 {
            self.list_add(page, true)?;
        }
        self.count = 2;
        self.irqs_off = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLERS: [Action; 3] = [Action::Alloc, Action::Free, Action::Bulk];

    #[test]
    fn the_rule_before_the_fix_breaks_a_drain() {
        let found = run(Rule::UpBeforeFix, Action::Drain, &HANDLERS, 2, Which::UpTo(u64::MAX), &mut || true);
        let failure = found.failure.clone().expect("038a102535eb fixed something");
        assert!(failure.error.contains("for ever"), "{}", failure.error);
        assert!(!failure.deadlock);
        let came = |what: &str| found.steps.iter().any(|s| s.kind == Kind::Interrupt && s.text.contains(what));
        assert!(came("alloc") || came("bulk"));
        // The list of choices is the execution.
        let again = run(Rule::UpBeforeFix, Action::Drain, &HANDLERS, 2, Which::Only(&failure.choices), &mut || true);
        assert!(again.fits && !again.complete);
        assert_eq!((again.failure, again.steps), (Some(failure), found.steps));
        let other = run(Rule::UpBeforeFix, Action::Drain, &HANDLERS, 2, Which::Only(&[4]), &mut || true);
        assert!(!other.fits, "there are three handlers");
    }

    #[test]
    fn the_fixed_rules_hold_up_to_two_handlers() {
        for rule in [Rule::Up, Rule::Smp, Rule::Rt] {
            for task in Action::ALL {
                let found = run(rule, task, &HANDLERS, 2, Which::UpTo(u64::MAX), &mut || true);
                assert_eq!(found.failure, None, "{} {}", rule.name(), task.name());
                assert!(found.complete && found.handlers > 0, "{} {}", rule.name(), task.name());
            }
        }
    }

    #[test]
    fn on_rt_a_handler_that_waits_only_sleeps() {
        let found = run(Rule::Rt, Action::Alloc, &[Action::Drain], 2, Which::UpTo(u64::MAX), &mut || true);
        assert_eq!(found.failure, None);
        assert!(found.complete && found.handlers > 0);
    }

    #[test]
    fn a_handler_that_waits_for_what_it_interrupted_is_a_deadlock_by_design() {
        let found = run(Rule::Smp, Action::Alloc, &[Action::Drain], 1, Which::UpTo(u64::MAX), &mut || true);
        let failure = found.failure.unwrap();
        assert!(failure.deadlock && failure.error.contains("held by the task"), "{}", failure.error);
    }
}
