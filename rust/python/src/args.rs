//! Arguments from Python: integers of any size become a value in range or a clear error; so do gfp flags in words, and
//! what is no array.

use bulkpages_core::gfp::Gfp;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString};

use crate::errors::{invalid, to_py};
use crate::page_array::PageArray;

/// An integer argument that was given, whatever its size.
pub(crate) struct Int(Option<i64>, String);

impl Int {
    /// The value as an index below `limit`.
    pub(crate) fn below(&self, what: &str, limit: usize) -> PyResult<usize> {
        match self.0.and_then(|v| usize::try_from(v).ok()).filter(|v| *v < limit) {
            Some(v) => Ok(v),
            None if limit == 0 => Err(invalid(format!("{what} {}: there is none", self.text()))),
            None => Err(invalid(format!("{what} {} is outside 0 to {}", self.text(), limit - 1))),
        }
    }

    /// The value within `range`.
    pub(crate) fn within(&self, what: &str, range: std::ops::RangeInclusive<i64>) -> PyResult<i64> {
        match self.0.filter(|v| range.contains(v)) {
            Some(v) => Ok(v),
            None => Err(invalid(format!("{what} {} is outside {} to {}", self.text(), range.start(), range.end()))),
        }
    }

    /// The value as digits.
    pub(crate) fn text(&self) -> String {
        match self.0 {
            Some(v) => v.to_string(),
            None => self.1.clone(),
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

/// gfp flags: a number, or their names as the kernel writes them, such as `GFP_KERNEL|__GFP_ZERO`.
pub(crate) struct Flags(Int);

impl Flags {
    /// The flags.
    pub(crate) fn gfp(&self) -> PyResult<Gfp> {
        match self.0.0.and_then(|v| u64::try_from(v).ok()) {
            Some(raw) => Gfp::new(raw).map_err(to_py),
            None => Err(invalid(format!("gfp {} is outside 0 to {}", self.0.text(), Gfp::ALL_BITS))),
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Flags {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Flags> {
        match ob.extract::<Int>() {
            Ok(number) => Ok(Flags(number)),
            Err(error) => {
                let Ok(text) = ob.cast::<PyString>() else { return Err(error) };
                let text = text.to_cow()?;
                // A number in quotes is a mistake, not a name.
                if text.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(PyTypeError::new_err(format!(
                        "gfp {text:?} is a text: give the number without quotes"
                    )));
                }
                crate::trace::gfp_value(&text).map(|gfp| Flags(i64::from(gfp).into()))
            }
        }
    }
}

/// A `PageArray`; what looks like one is refused with a word about how it becomes one.
pub(crate) struct Array<'py>(pub(crate) Bound<'py, PageArray>);

impl<'a, 'py> FromPyObject<'a, 'py> for Array<'py> {
    type Error = PyErr;

    fn extract(ob: Borrowed<'a, 'py, PyAny>) -> PyResult<Array<'py>> {
        match ob.cast::<PageArray>() {
            Ok(array) => Ok(Array(array.to_owned())),
            Err(_) => Err(PyTypeError::new_err(format!(
                "a PageArray is needed, not {}: PageArray(pages) makes one of a list or an ndarray, and np.asarray() \
                 of it is a view of its slots",
                ob.get_type().name()?
            ))),
        }
    }
}
