//! What is known about a port, a kernel function that calls the bulk API.

use bulkpages_core::{Error, Result, Slot};

use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// Whose array a caller fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Array {
    /// Somebody's, with pages and holes anywhere.
    Given,
    /// Its own; pages that it has already stand in front.
    Prefix,
    /// Its own, all NULL.
    Own,
}

impl Array {
    /// Name for the Python face.
    pub const fn name(self) -> &'static str {
        match self {
            Array::Given => "given",
            Array::Prefix => "prefix",
            Array::Own => "own",
        }
    }
}

/// What a caller does when a bulk call brings fewer pages than it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// It calls again as long as pages come, or takes the rest one by one.
    Retries,
    /// It works with what came.
    Accepts,
    /// It gives everything back and fails.
    Fails,
}

impl Short {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Short::Retries => "retries",
            Short::Accepts => "accepts",
            Short::Fails => "fails",
        }
    }
}

/// Something that a caller can be told to do differently.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    pub name: &'static str,
    pub help: &'static str,
}

/// Which of a port's flags are set; bit by bit, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    pub const NONE: Flags = Flags(0);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn has(self, flags: Flags) -> bool {
        self.0 & flags.0 == flags.0
    }
}

/// What is known about a caller.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The kernel function.
    pub name: &'static str,
    /// The kernel file.
    pub file: &'static str,
    pub forms: &'static [Form],
    /// Whose array it fills.
    pub array: Array,
    /// What it does with a short result.
    pub short: Short,
    /// What it can be told.
    pub flags: &'static [Flag],
    /// Whether the patch of 28 February 2025 changes it.
    pub patched: bool,
    /// Whether it calls the bulk API in 7.3.
    pub today: bool,
    /// Whether its requests are charged to a memory cgroup.
    pub charged: bool,
    /// Whether it can be told to stop while it waits.
    pub stops: bool,
    /// The one number of pages that it allocates, if that is a constant.
    pub pages: Option<usize>,
    /// What the function calls the number of pages.
    pub counted: &'static str,
    /// A small array for it: `x` a page, `.` a hole.
    pub example: &'static str,
}

impl Info {
    /// A caller of 7.3, in the form that it has there and in the one that it would have on v2.
    pub const fn of_today(name: &'static str, file: &'static str, array: Array, short: Short) -> Info {
        Info {
            name,
            file,
            forms: &[Form::Before, Form::After],
            array,
            short,
            flags: &[],
            patched: false,
            today: true,
            charged: false,
            stops: false,
            pages: None,
            counted: "pages",
            example: match array {
                Array::Given => "x..x.x",
                Array::Prefix => "x....",
                Array::Own => "....",
            },
        }
    }

    /// A caller that the patch changes.
    pub const fn of_patch(
        name: &'static str,
        file: &'static str,
        forms: &'static [Form],
        array: Array,
        short: Short,
    ) -> Info {
        Info { forms, patched: true, ..Info::of_today(name, file, array, short) }
    }

    /// The flags of these names.
    ///
    /// # Errors
    ///
    /// For a flag that this caller does not have.
    pub fn flags<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<Flags> {
        names.into_iter().try_fold(Flags::NONE, |flags, name| {
            match self.flags.iter().position(|flag| flag.name == name) {
                Some(bit) => Ok(Flags(flags.0 | 1 << bit)),
                None if self.flags.is_empty() => {
                    Err(Error::invalid(format!("flag {name:?} does not exist: {} has none", self.name)))
                }
                None => {
                    let known: Vec<_> = self.flags.iter().map(|flag| flag.name).collect();
                    Err(Error::invalid(format!("flag {name:?} does not exist: {} has {}", self.name, known.join(", "))))
                }
            }
        })
    }

    /// Refuses an array that this caller cannot get.
    ///
    /// # Errors
    ///
    /// For such an array.
    pub fn check(&self, shape: &Shape) -> Result<()> {
        let name = self.name;
        if let Some(pages) = self.pages.filter(|&pages| pages != shape.len()) {
            return Err(Error::invalid(format!("{name} allocates {pages} pages, not {}", shape.len())));
        }
        match self.array {
            Array::Prefix if shape.moved() != 0 => {
                Err(Error::invalid(format!("{name} has its pages in front of all holes")))
            }
            Array::Own if shape.holes() != shape.len() => {
                Err(Error::invalid(format!("{name} brings an array that is all NULL")))
            }
            _ => Ok(()),
        }
    }
}

/// What a caller is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Slots that hold pages in the end.
    pub pages: usize,
    /// What it is told.
    pub flags: Flags,
}

impl Input {
    /// So many pages, no flag.
    pub const fn of(pages: usize) -> Input {
        Input { pages, flags: Flags::NONE }
    }
}

/// A kernel function that calls the bulk API, as studies, fills and bindings run it: [`Port::work`] makes what the
/// function is given, [`Port::run`] is the call, [`Port::end`] yields the array that it made.
pub trait Port {
    /// What is known about it.
    const INFO: Info;

    /// What it works on.
    type Work<'a>;

    /// What the function is given: an array of somebody, or one that brings its own and has the pages of `slots`.
    ///
    /// # Errors
    ///
    /// For an array that this caller cannot get.
    fn work<'a>(slots: &'a [Slot], input: &Input) -> Result<Self::Work<'a>>;

    /// The function itself.
    ///
    /// # Errors
    ///
    /// When a check of the kernel ends it, and for a form that it does not have.
    fn run<W: World>(env: &mut Env<'_, W>, work: &mut Self::Work<'_>, input: &Input, form: Form) -> Result<Ret>;

    /// The array of a caller that brings its own.
    ///
    /// # Errors
    ///
    /// When what it made cannot be taken apart.
    fn end<W: World>(env: &mut Env<'_, W>, work: Self::Work<'_>) -> Result<Option<Box<[Slot]>>>;

    /// The inputs that a failure sweep covers.
    fn inputs() -> Vec<(Shape, Flags)>;

    /// The wrong lines that can be written in a form.
    fn slips(form: Form) -> &'static [Slip];
}

/// The part of somebody's array that a caller is given.
pub(crate) fn given<'a>(slots: &'a [Slot], input: &Input) -> Result<&'a [Slot]> {
    slots
        .get(..input.pages)
        .ok_or_else(|| Error::invalid(format!("pages {} is above the {} slots there are", input.pages, slots.len())))
}

/// An array with the same content.
pub(crate) fn copy(slots: &[Slot]) -> Box<[Slot]> {
    let copy = Slot::array(slots.len());
    for (to, from) in copy.iter().zip(slots) {
        to.set_raw(from.raw());
    }
    copy
}

/// Arrays that are all NULL, of these sizes.
pub(crate) fn all_null(sizes: &[usize]) -> Vec<(Shape, Flags)> {
    sizes.iter().map(|&n| (Shape::empty(n), Flags::NONE)).collect()
}
