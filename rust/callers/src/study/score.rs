//! The misuse score: every wrong line in every form of every caller, against the right code under the same failure.

use bulkpages_core::Result;

use super::harness::{Bed, Outcome};
use super::misuse::Slip;
use super::stops::{Stop, plan};
use super::sweep::{Scope, Setting, each_case, single_rows};
use crate::ports::Caller;
use crate::result::Form;

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
        } else if wrong.crash.is_some() && right.crash.is_none() {
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
    pub caller: Caller,
    pub form: Form,
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
            let mut bed = Bed::new(case.setting.machine(scope.era, scope.rules)?);
            let mut rows = Vec::new();
            single_rows(&mut bed, case, form, &mut rows)?;
            for &slip in case.target.slips(form) {
                let (caller, worst) = (case.target.caller, None);
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
