//! The failure sweep: every caller in every form on every array shape, with the allocator stopped at every index of
//! every branch, once and for good, alone and in pairs.
//!
//! Cases are independent of each other: each runs on a machine of its own, so the result does not depend on how many
//! threads share the work.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::fault::When;
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Result};

use crate::harness::{Asked, Bed, Outcome, Plan, Target};
use crate::holes::{Random, Request, Shape};
use crate::misuse::Slip;
use crate::result::Form;

/// Frames of the machine that a case runs on: 64 MiB.
const MACHINE_PAGES: u64 = 16_384;

/// What is switched on for the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    /// Nothing.
    Plain,
    /// Memory cgroups account kernel pages.
    Memcg,
    /// Page owner tracking.
    PageOwner,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 3] = [Setting::Plain, Setting::Memcg, Setting::PageOwner];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::Plain => "plain",
            Setting::Memcg => "memcg",
            Setting::PageOwner => "page owner",
        }
    }

    /// A machine with this setting, right after boot.
    ///
    /// # Errors
    ///
    /// None; the size is one that boots.
    pub fn machine(self) -> Result<Machine<Local>> {
        let mut machine = Machine::boot(&BootSpec::new(MACHINE_PAGES, 1, 1))?;
        machine.set_memcg(self == Setting::Memcg);
        machine.set_page_owner(self == Setting::PageOwner);
        Ok(machine)
    }
}

/// A step at which the allocator, or what callers use beside it, can be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Branch {
    /// No zone passes the watermark gate of the bulk call.
    Watermark,
    /// The per-CPU lock is not free.
    Trylock,
    /// The lists are dry: a take finds nothing.
    DryList,
    /// The single-page path returns NULL.
    Single,
    /// Preparing the request fails.
    Prepare,
    /// The charge to a memory cgroup fails.
    Charge,
    /// The pointer array cannot be had.
    Array,
    /// The scatter table cannot be extended.
    Append,
    /// `vmap()` fails.
    Vmap,
    /// A page cannot be mapped for DMA.
    DmaMap,
    /// The thread is told to stop while there is no page to be had.
    Stop,
}

impl Branch {
    /// All of them.
    pub const ALL: [Branch; 11] = [
        Branch::Watermark,
        Branch::Trylock,
        Branch::DryList,
        Branch::Single,
        Branch::Prepare,
        Branch::Charge,
        Branch::Array,
        Branch::Append,
        Branch::Vmap,
        Branch::DmaMap,
        Branch::Stop,
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Branch::Watermark => "watermark",
            Branch::Trylock => "trylock",
            Branch::DryList => "dry list",
            Branch::Single => "single path",
            Branch::Prepare => "preparation",
            Branch::Charge => "charge",
            Branch::Array => "pointer array",
            Branch::Append => "table append",
            Branch::Vmap => "vmap",
            Branch::DmaMap => "DMA mapping",
            Branch::Stop => "stop request",
        }
    }

    /// Indices at which it can be stopped, given how often a run in which nothing fails comes to it.
    pub fn indices(self, asked: &Asked) -> u64 {
        match self {
            Branch::Watermark => asked.gate,
            Branch::Trylock => asked.trylock,
            Branch::DryList => asked.take,
            // Only a bulk call that leaves the batch comes to the single path; a first one can be made to.
            Branch::Single => asked.single.max(1),
            Branch::Prepare => asked.prepare,
            Branch::Charge => asked.charge,
            Branch::Array => asked.array,
            Branch::Append => asked.append,
            Branch::Vmap => asked.vmap,
            Branch::DmaMap => asked.dma_map,
            Branch::Stop => 3,
        }
    }
}

/// For how long a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lasting {
    /// One time.
    Once,
    /// From there on.
    ForGood,
}

impl Lasting {
    /// Both.
    pub const ALL: [Lasting; 2] = [Lasting::Once, Lasting::ForGood];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Lasting::Once => "once",
            Lasting::ForGood => "for good",
        }
    }
}

/// One stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stop {
    /// Where.
    pub branch: Branch,
    /// Times that the step works before.
    pub index: u64,
    /// For how long it fails then.
    pub lasting: Lasting,
}

/// A plan with these stops.
pub fn plan(stops: &[Stop]) -> Plan {
    let mut plan = Plan::default();
    for stop in stops {
        let failures = match stop.lasting {
            Lasting::Once => 1,
            Lasting::ForGood => u64::MAX,
        };
        let when = When::times(stop.index, failures);
        match stop.branch {
            Branch::Watermark => plan.fault.gate = when,
            Branch::Trylock => plan.fault.trylock = when,
            Branch::DryList => plan.fault.take = when,
            Branch::Single => plan.fault.single = when,
            Branch::Prepare => plan.fault.prepare = when,
            Branch::Charge => plan.fault.charge = when,
            Branch::Array => plan.hooks.arrays = when,
            Branch::Append => plan.hooks.appends = when,
            Branch::Vmap => plan.hooks.vmaps = when,
            Branch::DmaMap => plan.hooks.dma_maps = when,
            Branch::Stop => {
                plan.hooks.stop = when;
                plan.fault.take = When::always();
            }
        }
    }
    plan
}

/// One caller on one input under one setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What it is asked to do.
    pub target: Target,
    /// What is switched on.
    pub setting: Setting,
}

/// Every input that the sweep covers. `largest` bounds the slots of an array.
pub fn cases(largest: usize) -> Vec<Case> {
    let mut targets = Vec::new();
    for npages in [1, 2, 16, 64, 256, 513, 1_100] {
        targets.push(Target::Vfio { npages });
    }
    for shape in shapes(&[1, 2, 4, 8, 16, 64]) {
        targets.push(Target::Btrfs { shape });
    }
    for (have, nrpages) in [(0, 1), (0, 2), (0, 16), (4, 16), (15, 16), (0, 64), (16, 64), (64, 256)] {
        targets.push(Target::Erofs { have, nrpages });
    }
    for page_count in [1, 2, 3, 4, 8, 16, 64] {
        for read_ahead in [false, true] {
            targets.push(Target::Xfs { page_count, read_ahead });
        }
    }
    for pages in [1, 65, 129] {
        targets.push(Target::PagePool { pages });
    }
    for shape in shapes(&[1, 2, 4, 8, 16]) {
        targets.push(Target::Svc { shape });
    }
    for pages in [67, 131, 259] {
        targets.push(Target::Svc { shape: Shape::prefix_of(pages, pages - 1) });
        targets.push(Target::Svc { shape: Shape::full(pages) });
        for request in Request::MIX {
            targets.push(Target::Svc { shape: request.shape(pages) });
        }
    }
    let mut cases = Vec::new();
    for target in targets.into_iter().filter(|t| t.slots() <= largest) {
        for setting in Setting::ALL {
            // Only vfio's requests are charged.
            if setting != Setting::Memcg || matches!(target, Target::Vfio { .. }) {
                cases.push(Case { target: target.clone(), setting });
            }
        }
    }
    cases
}

/// Shapes of an array: empty, full, prefixes, one hole, alternating, holes at both ends, and two random ones.
fn shapes(sizes: &[usize]) -> Vec<Shape> {
    let mut shapes: Vec<Shape> = Vec::new();
    for &n in sizes {
        let mut random = Random::new(n as u64);
        let candidates = [
            Shape::empty(n),
            Shape::full(n),
            Shape::prefix_of(n, n / 2),
            Shape::prefix_of(n, n - 1),
            Shape::new(n, |i| i == 0),
            Shape::new(n, |i| i == n / 2),
            Shape::periodic(n, 2),
            Shape::new(n, |i| i % 2 == 1),
            Shape::new(n, |i| i < n / 4 || i >= n - n / 4),
            Shape::scattered(n, n / 3, &mut random),
            Shape::scattered(n, 2 * n / 3, &mut random),
        ];
        for shape in candidates {
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
    }
    shapes
}

/// What one form of a caller did on one input with one kind of stop, at every index.
#[derive(Clone, Debug)]
pub struct Row {
    /// The caller, its input, the setting.
    pub case: Case,
    /// The form.
    pub form: Form,
    /// The kinds of stop: none, one or two.
    pub stops: Vec<(Branch, Lasting)>,
    /// Runs: the index of each stop, and what came of it.
    pub runs: Vec<(Vec<u64>, Outcome)>,
}

/// All stops of one kind, singly.
fn single_rows(bed: &mut Bed, case: &Case, form: Form, rows: &mut Vec<Row>) -> Result<Vec<Stop>> {
    let clean = bed.run(&case.target, form, Plan::default(), None)?;
    let asked = clean.asked;
    let row = |stops, runs| Row { case: case.clone(), form, stops, runs };
    rows.push(row(Vec::new(), vec![(Vec::new(), clean)]));
    let mut all = Vec::new();
    for branch in Branch::ALL {
        if branch == Branch::Stop && !matches!(case.target, Target::Svc { .. }) {
            continue;
        }
        for lasting in Lasting::ALL {
            let mut runs = Vec::new();
            for index in 0..branch.indices(&asked) {
                let stop = Stop { branch, index, lasting };
                runs.push((vec![index], bed.run(&case.target, form, plan(&[stop]), None)?));
                all.push(stop);
            }
            if !runs.is_empty() {
                rows.push(row(vec![(branch, lasting)], runs));
            }
        }
    }
    Ok(all)
}

/// All pairs of stops at different branches.
fn pair_rows(bed: &mut Bed, case: &Case, form: Form, stops: &[Stop], rows: &mut Vec<Row>) -> Result<()> {
    let mut found: std::collections::BTreeMap<_, Vec<(Vec<u64>, Outcome)>> = std::collections::BTreeMap::new();
    for (i, first) in stops.iter().enumerate() {
        for second in &stops[i + 1..] {
            if second.branch == first.branch || second.branch == Branch::Stop || first.branch == Branch::Stop {
                continue;
            }
            let key = (first.branch, first.lasting, second.branch, second.lasting);
            let outcome = bed.run(&case.target, form, plan(&[*first, *second]), None)?;
            found.entry(key).or_default().push((vec![first.index, second.index], outcome));
        }
    }
    for ((b1, l1, b2, l2), runs) in found {
        rows.push(Row { case: case.clone(), form, stops: vec![(b1, l1), (b2, l2)], runs });
    }
    Ok(())
}

/// What a sweep covers.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Callers, by parts of their names; empty for all.
    pub callers: &'a [String],
    /// Largest array.
    pub largest: usize,
    /// Largest array for which stops are combined in pairs.
    pub pairs_up_to: usize,
    /// Threads.
    pub threads: usize,
}

impl Scope<'_> {
    /// The cases that it covers.
    pub fn cases(&self) -> Vec<Case> {
        let wanted =
            |c: &Case| self.callers.is_empty() || self.callers.iter().any(|w| c.target.caller().contains(&**w));
        cases(self.largest).into_iter().filter(wanted).collect()
    }
}

/// Runs the sweep; `done` is told how many of how many cases are through, and stops everything by returning `false`.
///
/// # Errors
///
/// When a case does not fit its machine.
pub fn sweep(scope: &Scope<'_>, done: &(dyn Fn(usize, usize) -> bool + Sync)) -> Result<Vec<Row>> {
    each_case(scope, done, |case| {
        let mut rows = Vec::new();
        for &form in case.target.forms() {
            let mut bed = Bed::new(case.setting.machine()?);
            let stops = single_rows(&mut bed, case, form, &mut rows)?;
            if case.target.slots() <= scope.pairs_up_to && case.setting == Setting::Plain {
                pair_rows(&mut bed, case, form, &stops, &mut rows)?;
            }
        }
        Ok(rows)
    })
}

/// What became of one slip in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing that matters: what came out is what the right code brings.
    Harmless,
    /// The caller failed, or waited, where the right code does not: somebody notices.
    Visible,
    /// A check of the kernel ended the run: a double free, a NULL pointer, a page of nobody.
    Crash,
    /// The caller never ends.
    Endless,
    /// Pages are lost.
    Leak,
    /// Memory is wrong and nothing reports it: a page with two owners, somebody else's page used or freed, a slot
    /// reported as filled that is not.
    Corruption,
}

impl Verdict {
    /// All of them, from the least bad.
    pub const ALL: [Verdict; 6] =
        [Verdict::Harmless, Verdict::Visible, Verdict::Crash, Verdict::Endless, Verdict::Leak, Verdict::Corruption];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Harmless => "harmless",
            Verdict::Visible => "visible",
            Verdict::Crash => "crash",
            Verdict::Endless => "endless",
            Verdict::Leak => "leak",
            Verdict::Corruption => "corruption",
        }
    }

    /// Of a run with a slip, given the same run without.
    pub fn of(wrong: &Outcome, right: &Outcome) -> Verdict {
        if wrong.corrupt() && !right.corrupt() {
            Verdict::Corruption
        } else if wrong.leaked > right.leaked {
            Verdict::Leak
        } else if wrong.endless && !right.endless {
            Verdict::Endless
        } else if wrong.crash.is_some() {
            Verdict::Crash
        } else if wrong.ret != right.ret || wrong.waits > right.waits || wrong.freed_populated > right.freed_populated {
            Verdict::Visible
        } else {
            Verdict::Harmless
        }
    }
}

/// What became of one slip in one form of one caller, over all inputs and stops.
#[derive(Clone, Debug)]
pub struct Score {
    /// The caller.
    pub caller: &'static str,
    /// The form.
    pub form: Form,
    /// The slip.
    pub slip: Slip,
    /// Runs in which nothing failed, by verdict.
    pub plain: [u64; 6],
    /// Runs with a failure, by verdict.
    pub failing: [u64; 6],
    /// An example of the worst: input, stops.
    pub worst: Option<(Verdict, String, Vec<Stop>)>,
}

impl Score {
    /// The worst verdict of any run.
    pub fn verdict(&self) -> Verdict {
        self.worst.as_ref().map_or(Verdict::Harmless, |w| w.0)
    }

    /// The worst verdict of runs in which nothing failed: what a test without failures can see.
    pub fn plain_verdict(&self) -> Verdict {
        Verdict::ALL.into_iter().rev().find(|&v| self.plain[v as usize] > 0).unwrap_or(Verdict::Harmless)
    }
}

/// The misuse score: every slip that can be written, in every form of every caller, run like the sweep's singles.
///
/// # Errors
///
/// As [`sweep`].
pub fn misuse(scope: &Scope<'_>, done: &(dyn Fn(usize, usize) -> bool + Sync)) -> Result<Vec<Score>> {
    let parts = each_case(scope, done, |case| {
        let mut scores = Vec::new();
        if case.setting == Setting::PageOwner {
            return Ok(scores);
        }
        for &form in case.target.forms() {
            let mut bed = Bed::new(case.setting.machine()?);
            let mut rows = Vec::new();
            single_rows(&mut bed, case, form, &mut rows)?;
            for slip in Slip::ALL.into_iter().filter(|s| s.can_be_written(case.target.caller(), form)) {
                let (caller, worst) = (case.target.caller(), None);
                let mut score = Score { caller, form, slip, plain: [0; 6], failing: [0; 6], worst };
                for row in &rows {
                    for (indices, right) in &row.runs {
                        let stops: Vec<Stop> = row
                            .stops
                            .iter()
                            .zip(indices)
                            .map(|(&(branch, lasting), &index)| Stop { branch, index, lasting })
                            .collect();
                        let wrong = bed.run(&case.target, form, plan(&stops), Some(slip))?;
                        let verdict = Verdict::of(&wrong, right);
                        let tally = if stops.is_empty() { &mut score.plain } else { &mut score.failing };
                        tally[verdict as usize] += 1;
                        if verdict > score.verdict() {
                            score.worst = Some((verdict, case.target.label(), stops));
                        }
                    }
                }
                scores.push(score);
            }
        }
        Ok(scores)
    })?;
    let mut scores: Vec<Score> = Vec::new();
    for part in parts {
        let same = |s: &&mut Score| (s.caller, s.form, s.slip) == (part.caller, part.form, part.slip);
        match scores.iter_mut().find(same) {
            None => scores.push(part),
            Some(score) => {
                for i in 0..Verdict::ALL.len() {
                    score.plain[i] += part.plain[i];
                    score.failing[i] += part.failing[i];
                }
                if part.verdict() > score.verdict() {
                    score.worst = part.worst;
                }
            }
        }
    }
    Ok(scores)
}

/// Does `work` for each case of a scope on several threads; results in the order of the cases.
fn each_case<T: Send>(
    scope: &Scope<'_>,
    done: &(dyn Fn(usize, usize) -> bool + Sync),
    work: impl Fn(&Case) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    let cases = scope.cases();
    let (next, finished, stopped) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let results: Mutex<Vec<(usize, Result<Vec<T>>)>> = Mutex::new(Vec::new());
    // The large cases come last in each caller's list; begin with them, so that no thread is left with one at the end.
    let mut order: Vec<usize> = (0..cases.len()).collect();
    order.sort_by_key(|&i| core::cmp::Reverse(cases[i].target.slots()));
    std::thread::scope(|threads| {
        for _ in 0..scope.threads.max(1) {
            threads.spawn(|| {
                while let Some(&i) = order.get(next.fetch_add(1, Relaxed)) {
                    if stopped.load(Relaxed) {
                        return;
                    }
                    let result = work(&cases[i]);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((i, result));
                    if !done(finished.fetch_add(1, Relaxed) + 1, cases.len()) {
                        stopped.store(true, Relaxed);
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(i, _)| *i);
    let mut all = Vec::new();
    for (_, result) in results {
        all.extend(result?);
    }
    Ok(all)
}
