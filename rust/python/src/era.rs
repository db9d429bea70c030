//! The eras and the rules in which they differ.

use bulkpages_core::era::{Era, Rules};
use pyo3::prelude::*;

use crate::errors::to_py;

type RuleRow = (&'static str, &'static str, Vec<&'static str>, &'static str, &'static str);
type EraRow = (&'static str, &'static str, Vec<(&'static str, bool)>);

/// The series of this name, 6.12 for none, and its rules with these set otherwise.
pub(crate) fn rules_of(kernel: Option<&str>, set: Vec<(String, bool)>) -> PyResult<(Era, Rules)> {
    let era = kernel.map(Era::parse).transpose().map_err(to_py)?.unwrap_or_default();
    let mut rules = era.rules();
    for (name, holds) in set {
        rules = rules.with(&name, holds).map_err(to_py)?;
    }
    Ok((era, rules))
}

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
