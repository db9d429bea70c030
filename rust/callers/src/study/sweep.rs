//! The failure sweep: every caller in every form on every array shape, with the allocator stopped at every index of
//! every branch, once and for good, alone and in pairs.
//!
//! Cases are independent of each other: each runs on a machine of its own, so the result does not depend on how many
//! threads share the work.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::era::{Era, Rules};
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Result};

use super::harness::{Bed, FailurePlan, Outcome, Target};
use super::stops::{Branch, Lasting, Stop, plan};
use crate::ports::Caller;
use crate::result::Form;

/// Frames of the machine that a case runs on: 64 MiB.
const MACHINE_PAGES: u64 = 16_384;

/// What is switched on for the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Setting {
    Plain,
    /// Memory cgroups account kernel pages.
    Memcg,
    /// Page owner tracking.
    PageOwner,
}

impl Setting {
    pub const ALL: [Setting; 3] = [Setting::Plain, Setting::Memcg, Setting::PageOwner];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Setting::Plain => "plain",
            Setting::Memcg => "memcg",
            Setting::PageOwner => "page owner",
        }
    }

    /// A machine with this setting that works like a kernel of this series with these rules, right after boot.
    ///
    /// # Errors
    ///
    /// None; the size is one that boots.
    pub fn machine(self, era: Era, rules: Rules) -> Result<Machine<Local>> {
        let mut machine = Machine::boot(&BootSpec { era, rules, ..BootSpec::new(MACHINE_PAGES, 1, 1) })?;
        machine.set_memcg(self == Setting::Memcg);
        machine.set_page_owner(self == Setting::PageOwner);
        Ok(machine)
    }
}

/// One caller on one input under one setting.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Case {
    /// What it is asked to do.
    pub target: Target,
    /// What is switched on.
    pub setting: Setting,
}

/// Every input of these callers that the sweep covers. `largest` bounds the slots of an array.
pub fn cases(callers: &[Caller], largest: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for target in callers.iter().flat_map(|&caller| Target::inputs(caller)).filter(|t| t.slots() <= largest) {
        for setting in Setting::ALL {
            // Without charged requests accounting changes nothing.
            if setting != Setting::Memcg || target.caller.info().charged {
                cases.push(Case { target: target.clone(), setting });
            }
        }
    }
    cases
}

/// What one form of a caller did on one input with one kind of stop, at every index.
#[derive(Clone, Debug)]
pub struct Row {
    /// The caller, its input, the setting.
    pub case: Case,
    pub form: Form,
    /// The kinds of stop: none, one or two.
    pub stops: Vec<(Branch, Lasting)>,
    /// Runs: the index of each stop, and what came of it.
    pub runs: Vec<(Vec<u64>, Outcome)>,
}

/// All stops of one kind, singly.
pub(super) fn single_rows(bed: &mut Bed, case: &Case, form: Form, rows: &mut Vec<Row>) -> Result<Vec<Stop>> {
    let clean = bed.run(&case.target, form, FailurePlan::default(), None)?;
    let asked = clean.asked;
    let row = |stops, runs| Row { case: case.clone(), form, stops, runs };
    rows.push(row(Vec::new(), vec![(Vec::new(), clean)]));
    let mut all = Vec::new();
    for branch in Branch::ALL {
        if branch == Branch::Stop && !case.target.caller.info().stops {
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
    pub callers: &'a [Caller],
    pub largest: usize,
    /// Largest array for which stops are combined in pairs.
    pub pairs_up_to: usize,
    pub threads: usize,
    pub era: Era,
    /// How the machines work: its rules, except where one is set otherwise.
    pub rules: Rules,
}

impl Scope<'_> {
    /// The cases that it covers.
    pub fn cases(&self) -> Vec<Case> {
        cases(self.callers, self.largest)
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
            let mut bed = Bed::new(case.setting.machine(scope.era, scope.rules)?);
            let stops = single_rows(&mut bed, case, form, &mut rows)?;
            if case.target.slots() <= scope.pairs_up_to && case.setting == Setting::Plain {
                pair_rows(&mut bed, case, form, &stops, &mut rows)?;
            }
        }
        Ok(rows)
    })
}

/// Does `work` for each case of a scope on several threads; results in the order of the cases.
pub(super) fn each_case<T: Send>(
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
