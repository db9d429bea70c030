//! Interrupts on one CPU, explored: handlers nest last in, first out, at every point where the kernel would let them
//! in, and every execution up to a bound on the handlers is run.
//!
//! Two models. [`lists`] is the per-CPU list protocol step by step, with the reads and writes of `pcp->count` and the
//! list links apart from each other, so that a lock which does not lock can do its damage. [`nested`] runs the emulator
//! itself, and the kernel functions that call it: its observer calls back into the same machine.
//!
//! An execution is a list of choices, one at each point: 0 to go on, `k` to let handler `k` in. The list is printed with
//! each failure and replays it.

use core::fmt;

pub mod lists;
pub mod nested;

/// Which kernel, and so which code keeps which handlers out.
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

/// Which executions are run.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// All, up to this many.
    UpTo(u64),
    /// The one with these choices, and 0 from there on.
    Only(&'a [usize]),
}

/// What kind of thing a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Do,
    /// A lock is taken.
    Lock(&'static str),
    /// It is given back.
    Unlock(&'static str),
    Interrupt,
    Return,
    Wrong,
}

impl Kind {
    /// Name, and the lock where there is one.
    pub const fn name(self) -> (&'static str, Option<&'static str>) {
        match self {
            Kind::Do => ("do", None),
            Kind::Lock(lock) => ("lock", Some(lock)),
            Kind::Unlock(lock) => ("unlock", Some(lock)),
            Kind::Interrupt => ("interrupt", None),
            Kind::Return => ("return", None),
            Kind::Wrong => ("wrong", None),
        }
    }
}

/// One step of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// 0 for the task, 1 for a handler on top of it, and so on.
    pub depth: usize,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What a kernel developer reads.
    pub text: String,
}

impl fmt::Display for Step {
    /// Indented by the depth of nesting.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = if self.depth == 0 { "task   " } else { "handler" };
        write!(f, "{}{who} {}", "        ".repeat(self.depth), self.text)
    }
}

/// An execution that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: String,
    /// The choices that lead there.
    pub choices: Vec<usize>,
    /// Whether a handler waits for what it interrupted: a fault of the scenario, not of the allocator.
    pub deadlock: bool,
}

/// What an exploration found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub executions: u64,
    /// Points at which a handler could come, over all executions.
    pub points: u64,
    /// Handlers that came.
    pub handlers: u64,
    /// Whether every execution within the bound was run.
    pub complete: bool,
    pub failure: Option<Failure>,
    /// What happened, in order, in the execution that failed, or else in the last one.
    pub steps: Vec<Step>,
    /// Whether the choices that were given name handlers that there are, at points that there are.
    pub fits: bool,
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

    fn fit(&self) -> bool {
        self.given.len() <= self.made.len() && self.given.iter().zip(&self.made).all(|(&want, made)| want == made.0)
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

struct Run {
    choices: Choices,
    handlers: u64,
    steps: Vec<Step>,
    result: Result<(), Stop>,
}

/// Executions between two questions whether to go on.
const CHUNK: u64 = 256;

/// Runs executions until one fails, all that are wanted were run, or `go_on`, asked now and then, says no.
fn explore(which: Which<'_>, go_on: &mut dyn FnMut() -> bool, mut execute: impl FnMut(Choices) -> Run) -> Outcome {
    let (given, limit) = match which {
        Which::UpTo(limit) => (Vec::new(), limit),
        Which::Only(choices) => (choices.to_vec(), 1),
    };
    let mut outcome = Outcome::default();
    let mut choices = Choices { given, made: Vec::new() };
    loop {
        let run = execute(choices);
        outcome.executions += 1;
        outcome.points += run.choices.made.len() as u64;
        outcome.handlers += run.handlers;
        outcome.steps = run.steps;
        outcome.fits = run.choices.fit();
        if let Err(stop) = run.result {
            let choices = run.choices.taken();
            outcome.failure = Some(Failure { error: stop.error, choices, deadlock: stop.deadlock });
            return outcome;
        }
        let next = run.choices.next();
        outcome.complete = next.is_none() && matches!(which, Which::UpTo(_));
        match next {
            Some(next) if outcome.executions < limit && (!outcome.executions.is_multiple_of(CHUNK) || go_on()) => {
                choices = next;
            }
            _ => return outcome,
        }
    }
}
