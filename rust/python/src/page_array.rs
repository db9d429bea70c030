//! `PageArray`: the `struct page **` that bulk calls fill.

use std::ffi::{c_int, c_void};

use bulkpages_core::Slot;
use pyo3::exceptions::{PyBufferError, PyIndexError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice};

use crate::args::Int;
use crate::errors::invalid;

/// Most slots of one array.
pub(crate) const MAX_SLOTS: usize = 1 << 28;

/// An array of slots, each a frame number or 0 for NULL. `numpy.asarray(array)` is a writable uint64 view of it.
///
/// It has a length that does not change, `array[i]`, `array[i] = pfn`, slices to read, iteration and equality. Who holds the
/// array owns the pages in it: nothing is freed when it goes.
///
/// Args:
///     slots: How many NULL slots, or the frame numbers to begin with.
///
/// Raises:
///     InvalidArgument: More than 2^28 slots, or a frame number of more than 32 bits.
#[pyclass(frozen, module = "bulkpages._core", sequence)]
#[derive(Debug)]
pub struct PageArray {
    slots: Box<[Slot]>,
}

impl PageArray {
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// An array that a caller made.
    pub(crate) fn from_slots(slots: Box<[Slot]>) -> PageArray {
        PageArray { slots }
    }

    fn index(&self, index: &Int) -> PyResult<usize> {
        let n = self.slots.len() as i64;
        let i = index.within("index", i64::MIN..=i64::MAX).unwrap_or(i64::MAX);
        let i = if i < 0 { i.saturating_add(n) } else { i };
        if (0..n).contains(&i) {
            return Ok(i as usize);
        }
        Err(PyIndexError::new_err(format!("slot {} of an array of {n}", index.text())))
    }
}

#[pymethods]
impl PageArray {
    /// An array of `slots` NULL slots, or of the frame numbers of an iterable.
    #[new]
    fn new(slots: &Bound<'_, PyAny>) -> PyResult<PageArray> {
        if let Ok(n) = slots.extract::<Int>() {
            let n = n.within("slots", 0..=MAX_SLOTS as i64)? as usize;
            return Ok(PageArray { slots: Slot::array(n) });
        }
        let mut pages = Vec::new();
        for item in slots.try_iter()? {
            pages.push(u64::from(item?.extract::<Int>()?.pfn("frame number")?));
            if pages.len() > MAX_SLOTS {
                return Err(invalid(format!("an array has at most {MAX_SLOTS} slots")));
            }
        }
        let slots = Slot::array(pages.len());
        for (slot, page) in slots.iter().zip(pages) {
            slot.set_raw(page);
        }
        Ok(PageArray { slots })
    }

    fn __len__(&self) -> usize {
        self.slots.len()
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            let at = slice.indices(self.slots.len() as isize)?;
            let items = (0..at.slicelength as isize).map(|i| self.slots[(at.start + i * at.step) as usize].raw());
            return Ok(PyList::new(py, items.collect::<Vec<_>>())?.into_any());
        }
        let i = self.index(&index.extract()?)?;
        Ok(self.slots[i].raw().into_pyobject(py)?.into_any())
    }

    fn __setitem__(&self, index: Int, page: Int) -> PyResult<()> {
        let page = page.pfn("frame number")?;
        self.slots[self.index(&index)?].set_raw(page.into());
        Ok(())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(PyList::new(py, self.slots.iter().map(Slot::raw).collect::<Vec<_>>())?.try_iter()?.into_any())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other
            .cast::<PageArray>()
            .is_ok_and(|o| self.slots.iter().map(Slot::raw).eq(o.get().slots.iter().map(Slot::raw)))
    }

    fn __repr__(&self) -> String {
        let n = self.slots.len();
        let shown: Vec<String> = self.slots.iter().take(16).map(|s| s.raw().to_string()).collect();
        let more = if n > 16 { format!(", ... {n} slots") } else { String::new() };
        format!("PageArray([{}{more}])", shown.join(", "))
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("bulkpages.draw")?.call_method1("array", (slf,))
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Vec<u64>,))> {
        let pages = self.slots.iter().map(Slot::raw).collect();
        Ok((py.get_type::<PageArray>().into_any(), (pages,)))
    }

    /// The buffer protocol: one dimension of uint64, writable.
    ///
    /// # Safety
    ///
    /// Called by the interpreter with a `Py_buffer` to fill.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let slots = &slf.get().slots;
        let len = slots.len();
        // SAFETY: `view` is the interpreter's and not null. The memory belongs to the array, which never moves or
        // shrinks and which the view keeps alive through `obj`; `shape` and `strides` point into a box that
        // `__releasebuffer__` frees.
        unsafe {
            let layout = Box::into_raw(Box::new([len as isize, 8isize]));
            (*view).buf = slots.as_ptr().cast_mut().cast::<c_void>();
            (*view).len = (len * 8) as isize;
            (*view).readonly = 0;
            (*view).itemsize = 8;
            (*view).format =
                if flags & ffi::PyBUF_FORMAT == 0 { std::ptr::null_mut() } else { c"Q".as_ptr().cast_mut() };
            (*view).ndim = 1;
            (*view).shape = if flags & ffi::PyBUF_ND == 0 { std::ptr::null_mut() } else { layout.cast::<isize>() };
            (*view).strides = if flags & ffi::PyBUF_STRIDES != ffi::PyBUF_STRIDES {
                std::ptr::null_mut()
            } else {
                layout.cast::<isize>().add(1)
            };
            (*view).suboffsets = std::ptr::null_mut();
            (*view).internal = layout.cast::<c_void>();
            (*view).obj = slf.into_any().into_ptr();
        }
        Ok(())
    }

    /// # Safety
    ///
    /// Called by the interpreter with a view that `__getbuffer__` filled.
    unsafe fn __releasebuffer__(&self, view: *mut ffi::Py_buffer) {
        // SAFETY: `internal` is the box that `__getbuffer__` leaked for this view.
        unsafe { drop(Box::from_raw((*view).internal.cast::<[isize; 2]>())) }
    }
}
