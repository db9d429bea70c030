//! The eras and the rules in which they differ.

use bulkpages_core::era::{Era, Rules};
use pyo3::prelude::*;

type RuleRow = (&'static str, &'static str, Vec<&'static str>, &'static str, &'static str);
type EraRow = (&'static str, &'static str, Vec<(&'static str, bool)>);

/// Every rule: name, text, functions, first release, commit.
#[pyfunction]
pub(crate) fn rules() -> Vec<RuleRow> {
    let row = |rule: &bulkpages_core::era::Rule| {
        (rule.name, rule.text.trim(), rule.functions.to_vec(), rule.since, rule.commit)
    };
    Rules::ALL.iter().map(row).collect()
}

/// Every era: name, recorded release, rules that hold or not.
#[pyfunction]
pub(crate) fn eras() -> Vec<EraRow> {
    Era::ALL.iter().map(|era| (era.name(), era.recorded(), era.rules().all().collect())).collect()
}
