//! Errors of the core as exceptions of `bulkpages.errors`.

use bulkpages_core::Error;
use pyo3::{PyErr, Python};

pyo3::import_exception!(bulkpages.errors, InvalidArgument);
pyo3::import_exception!(bulkpages.errors, ApiMisuse);
pyo3::import_exception!(bulkpages.errors, SnapshotError);
pyo3::import_exception!(bulkpages.errors, AuditError);
pyo3::import_exception!(bulkpages.errors, BulkpagesError);

/// The exception for an error of the core.
pub(crate) fn to_py(error: Error) -> PyErr {
    match error {
        Error::InvalidArgument(text) => InvalidArgument::new_err(text),
        Error::ApiMisuse(text) => ApiMisuse::new_err(text),
        Error::Snapshot(text) => SnapshotError::new_err(text),
        Error::Audit(text) => AuditError::new_err(text),
        other => BulkpagesError::new_err(other.to_string()),
    }
}

/// An `InvalidArgument` with this text.
pub(crate) fn invalid(text: impl Into<String>) -> PyErr {
    InvalidArgument::new_err(text.into())
}

/// Whether to go on, asked in the middle of long work: what a signal's handler raised is kept, and means no.
pub(crate) fn go_on(raised: &mut Option<PyErr>) -> bool {
    if let Err(error) = Python::attach(|py| py.check_signals()) {
        raised.get_or_insert(error);
    }
    raised.is_none()
}
