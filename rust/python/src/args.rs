//! Arguments from Python: integers of any size become a value in range or a clear error.

use bulkpages_core::gfp::Gfp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::errors::{invalid, to_py};

/// An integer argument that was given, whatever its size.
pub(crate) struct Int(Option<i64>, String);

impl Int {
    /// The value as an index below `limit`.
    pub(crate) fn below(&self, what: &str, limit: usize) -> PyResult<usize> {
        match self.0.and_then(|v| usize::try_from(v).ok()).filter(|v| *v < limit) {
            Some(v) => Ok(v),
            None => Err(invalid(format!("{what} {} is outside 0..{limit}", self.text()))),
        }
    }

    /// The value within `range`.
    pub(crate) fn within(&self, what: &str, range: std::ops::RangeInclusive<i64>) -> PyResult<i64> {
        match self.0.filter(|v| range.contains(v)) {
            Some(v) => Ok(v),
            None => Err(invalid(format!("{what} {} is outside {}..={}", self.text(), range.start(), range.end()))),
        }
    }

    /// The value as digits.
    pub(crate) fn text(&self) -> String {
        match self.0 {
            Some(v) => v.to_string(),
            None => self.1.clone(),
        }
    }

    /// A gfp value.
    pub(crate) fn gfp(&self) -> PyResult<Gfp> {
        match self.0.and_then(|v| u64::try_from(v).ok()) {
            Some(raw) => Gfp::new(raw).map_err(to_py),
            None => Err(invalid(format!("gfp {} is outside 0..={}", self.text(), Gfp::ALL_BITS))),
        }
    }

    /// A frame number.
    pub(crate) fn pfn(&self, what: &str) -> PyResult<u32> {
        self.within(what, 0..=i64::from(u32::MAX)).map(|v| v as u32)
    }
}

impl From<i64> for Int {
    fn from(value: i64) -> Int {
        Int(Some(value), String::new())
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Int {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Int> {
        if let Ok(v) = ob.extract::<i64>() {
            return Ok(Int(Some(v), String::new()));
        }
        // Too large for 64 bits, or something that counts as an integer (NumPy's), or no integer at all.
        if let Ok(int) = ob.cast::<PyInt>() {
            let text = int.str()?.to_string();
            let text = if text.len() > 40 { format!("{}... ({} digits)", &text[..20], text.len()) } else { text };
            return Ok(Int(None, text));
        }
        Err(PyTypeError::new_err(format!("an integer is needed, not {}", ob.get_type().name()?)))
    }
}
