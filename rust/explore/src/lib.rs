//! Interrupts on one CPU, explored: handlers nest last in, first out, at every point where the kernel would let them
//! in, and every execution up to a bound on the handlers is run.
//!
//! Two models. [`lists`] is the per-CPU list protocol step by step, with the reads and writes of `pcp->count` and the
//! list links apart from each other, so that a lock which does not lock can do its damage. [`nested`] runs the emulator
//! itself: its observer calls back into the same machine.
//!
//! An execution is a list of choices, one at each point: 0 to go on, `k` to let handler `k` in. The list is printed with
//! each failure and replays it.

pub mod lists;
pub mod nested;

/// Which kernel, and so which code keeps which handlers out (spec 4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// UP before 038a102535eb: `spin_lock()` is nothing, so a trylock always succeeds; only sections entered by trylock
    /// keep interrupts off.
    UpBeforeFix,
    /// UP: interrupts are off in every section of the per-CPU lists.
    Up,
    /// SMP: interrupts are on in them, and a trylock inside fails.
    Smp,
    /// `PREEMPT_RT`: both locks sleep, handlers are threads. One that comes while the zone lock is held waits for it, so
    /// it runs where the lock is given back; that is where it is let in here.
    Rt,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 4] = [Rule::UpBeforeFix, Rule::Up, Rule::Smp, Rule::Rt];

    /// Name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Rule::UpBeforeFix => "up-before-fix",
            Rule::Up => "up",
            Rule::Smp => "smp",
            Rule::Rt => "rt",
        }
    }

    /// Whether a held lock of the per-CPU lists makes a trylock fail.
    const fn locks(self) -> bool {
        matches!(self, Rule::Smp | Rule::Rt)
    }
}

/// An execution that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What is wrong.
    pub error: String,
    /// What happened, in order, indented by depth of nesting.
    pub steps: Vec<String>,
    /// The choices that lead there.
    pub choices: Vec<usize>,
    /// Whether a handler waits for what it interrupted: a fault of the scenario, not of the allocator.
    pub deadlock: bool,
}

/// What an exploration found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Executions.
    pub executions: u64,
    /// Points at which a handler could come, over all executions.
    pub points: u64,
    /// Handlers that came.
    pub handlers: u64,
    /// Whether every execution within the bound was run.
    pub complete: bool,
    /// The first failure.
    pub failure: Option<Failure>,
}

/// The choices of one execution: some given, 0 from there on.
#[derive(Debug, Default)]
struct Choices {
    given: Vec<usize>,
    /// What was chosen, and out of how many.
    made: Vec<(usize, usize)>,
}

impl Choices {
    fn choose(&mut self, options: usize) -> usize {
        let choice = self.given.get(self.made.len()).copied().unwrap_or(0).min(options - 1);
        self.made.push((choice, options));
        choice
    }

    /// The next execution in order of depth, or `None` after the last.
    fn next(mut self) -> Option<Choices> {
        while let Some((choice, options)) = self.made.pop() {
            if choice + 1 < options {
                let mut given: Vec<usize> = self.made.iter().map(|made| made.0).collect();
                given.push(choice + 1);
                return Some(Choices { given, made: Vec::new() });
            }
        }
        None
    }

    fn taken(&self) -> Vec<usize> {
        let made: Vec<usize> = self.made.iter().map(|made| made.0).collect();
        let used = made.iter().rposition(|&c| c > 0).map_or(0, |i| i + 1);
        made[..used].to_vec()
    }
}

/// Why an execution ended early.
#[derive(Clone, Debug)]
struct Stop {
    error: String,
    deadlock: bool,
}

/// Runs executions until one fails, all were run, or `limit` of them were.
fn explore(
    first: Choices,
    once: bool,
    limit: u64,
    mut execute: impl FnMut(Choices) -> (Choices, u64, Vec<String>, Result<(), Stop>),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut choices = first;
    loop {
        let (made, handlers, steps, result) = execute(choices);
        outcome.executions += 1;
        outcome.points += made.made.len() as u64;
        outcome.handlers += handlers;
        if let Err(stop) = result {
            let choices = made.taken();
            outcome.failure = Some(Failure { error: stop.error, steps, choices, deadlock: stop.deadlock });
            return outcome;
        }
        if once || outcome.executions >= limit {
            return outcome;
        }
        match made.next() {
            Some(next) => choices = next,
            None => {
                outcome.complete = true;
                return outcome;
            }
        }
    }
}
