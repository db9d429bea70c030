//! Arrays that callers are given: which slots hold a page and which are NULL.
//!
//! Random shapes come from xoshiro256++ seeded with one number, so that a seed names the same shape everywhere.

use core::fmt;
use core::ops::Range;

use bulkpages_core::gfp::Gfp;
use bulkpages_core::pfn::PAGE_SIZE;
use bulkpages_core::sync::Locking;
use bulkpages_core::{Ctx, Error, Machine, Result, Slot};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

/// A source of random shapes.
#[derive(Clone, Debug)]
pub struct Random(Xoshiro256PlusPlus);

impl Random {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Random {
        Random(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A number below `n`, which is not 0.
    fn below(&mut self, n: usize) -> usize {
        // The high half of a product is uniform up to n / 2^64.
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }
}

/// Which slots are NULL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Shape {
    holes: Box<[bool]>,
}

impl fmt::Display for Shape {
    /// As in the specification's pictures: `x` a page, `.` a hole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.holes.iter().try_for_each(|&hole| f.write_str(if hole { "." } else { "x" }))
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Shape {
    /// `n` slots; `hole` says which are NULL.
    pub fn new(n: usize, hole: impl FnMut(usize) -> bool) -> Shape {
        Shape { holes: (0..n).map(hole).collect() }
    }

    /// From a picture: `x` a page, `.` a hole.
    ///
    /// # Errors
    ///
    /// For any other character.
    pub fn parse(picture: &str) -> Result<Shape> {
        let holes = picture.chars().enumerate().map(|(i, c)| match c {
            'x' => Ok(false),
            '.' => Ok(true),
            _ => Err(Error::invalid(format!("slot {i} of a shape is {c:?}, neither 'x' nor '.'"))),
        });
        Ok(Shape { holes: holes.collect::<Result<_>>()? })
    }

    /// All NULL.
    pub fn empty(n: usize) -> Shape {
        Shape::new(n, |_| true)
    }

    /// No hole.
    pub fn full(n: usize) -> Shape {
        Shape::new(n, |_| false)
    }

    /// Pages in the first `prefix` slots.
    pub fn prefix_of(n: usize, prefix: usize) -> Shape {
        Shape::new(n, |i| i >= prefix)
    }

    /// Holes at `ranges`; what lies beyond the end is left out.
    pub fn with_holes(n: usize, ranges: &[Range<usize>]) -> Shape {
        Shape::new(n, |i| ranges.iter().any(|r| r.contains(&i)))
    }

    /// Every `period`-th slot is a hole, from the first on; none with period 0.
    pub fn periodic(n: usize, period: usize) -> Shape {
        Shape::new(n, |i| period != 0 && i % period == 0)
    }

    /// `holes` holes anywhere, every choice equally likely; `n` at most.
    pub fn scattered(n: usize, holes: usize, random: &mut Random) -> Shape {
        let mut order: Vec<usize> = (0..n).collect();
        let holes = holes.min(n);
        for i in 0..holes {
            let other = i + random.below(n - i);
            order.swap(i, other);
        }
        let mut shape = Shape::full(n);
        for &i in &order[..holes] {
            shape.holes[i] = true;
        }
        shape
    }

    /// The nearest number of holes to this fraction of the slots, anywhere.
    ///
    /// # Errors
    ///
    /// For a fraction outside 0 to 1.
    pub fn fraction(n: usize, fraction: f64, random: &mut Random) -> Result<Shape> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(Error::invalid(format!("fraction {fraction} of holes is outside 0 to 1")));
        }
        Ok(Shape::scattered(n, (n as f64 * fraction).round() as usize, random))
    }

    /// `holes` holes in `runs` runs that do not touch each other.
    ///
    /// # Errors
    ///
    /// When they don't fit.
    pub fn clustered(n: usize, holes: usize, runs: usize, random: &mut Random) -> Result<Shape> {
        let fits = if holes == 0 { runs == 0 && holes <= n } else { runs >= 1 && runs <= holes };
        if !fits || holes > n || runs > n - holes + 1 {
            return Err(Error::invalid(format!("{holes} holes in {runs} runs do not fit {n} slots")));
        }
        if holes == 0 {
            return Ok(Shape::full(n));
        }
        // Run lengths: cut the holes at runs - 1 of the gaps between them; places: choose runs of the gaps around pages.
        let cuts = Shape::scattered(holes - 1, runs - 1, random);
        let places = Shape::scattered(n - holes + 1, runs, random);
        let mut lengths = Vec::with_capacity(runs);
        let mut length = 1;
        for &cut in &cuts.holes {
            if cut {
                lengths.push(length);
                length = 0;
            }
            length += 1;
        }
        lengths.push(length);
        let mut lengths = lengths.into_iter();
        let mut shape = Vec::with_capacity(n);
        for (i, &place) in places.holes.iter().enumerate() {
            if place {
                shape.extend(core::iter::repeat_n(true, lengths.next().unwrap_or(0)));
            }
            if i < n - holes {
                shape.push(false);
            }
        }
        Ok(Shape { holes: shape.into() })
    }

    pub fn len(&self) -> usize {
        self.holes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// Whether slot `i`, which is there, is NULL.
    pub fn is_hole(&self, i: usize) -> bool {
        self.holes[i]
    }

    /// Holes (K in the specification).
    pub fn holes(&self) -> usize {
        self.holes.iter().filter(|&&h| h).count()
    }

    /// Pages before the first hole (P).
    pub fn prefix(&self) -> usize {
        self.holes.iter().position(|&h| h).unwrap_or(self.holes.len())
    }

    /// Pages behind the first hole: those that compaction moves.
    pub fn moved(&self) -> usize {
        self.len() - self.holes() - self.prefix()
    }

    /// The shape of an array.
    pub fn of(slots: &[Slot]) -> Shape {
        Shape::new(slots.len(), |i| slots[i].raw() == 0)
    }

    /// An array of this shape, with pages of the machine taken one by one on `cpu` for `GFP_KERNEL`.
    ///
    /// # Errors
    ///
    /// For a CPU that the machine does not have, and when it has not enough pages; none is kept then.
    pub fn fill<L: Locking>(&self, machine: &Machine<L>, cpu: usize) -> Result<Box<[Slot]>> {
        let mut cx = Ctx::on(cpu);
        let slots = Slot::array(self.len());
        for (i, slot) in slots.iter().enumerate().filter(|&(i, _)| !self.holes[i]) {
            match machine.alloc_pages(&mut cx, Gfp::KERNEL, 0, None)? {
                Some(page) => slot.set(page),
                None => {
                    machine.free_bulk(&mut cx, &slots)?;
                    let want = self.len() - self.holes();
                    return Err(Error::invalid(format!(
                        "the machine has no page for slot {i} of an array that wants {want}"
                    )));
                }
            }
        }
        Ok(slots)
    }

    /// Shapes of arrays of these sizes: empty, full, prefixes, one hole, alternating, holes at both ends, and two random ones.
    pub fn patterns(sizes: &[usize]) -> Vec<Shape> {
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
}

/// What an RPC leaves in `rq_pages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// A call and a reply of one page each.
    SmallRpc,
    /// A READ answered with pages of the page cache. An unaligned one touches one page more.
    ReadSplice {
        /// Bytes read.
        bytes: usize,
        /// Whether it starts inside a page.
        unaligned: bool,
    },
    /// A READ into the thread's own pages.
    ReadIter {
        /// Bytes read.
        bytes: usize,
    },
    /// A WRITE, the data being part of the call.
    Write {
        /// Bytes written.
        bytes: usize,
    },
    /// A TCP record of which only a part has come.
    PartialTcp {
        /// Bytes that have come.
        got: usize,
        /// Bytes of the record.
        total: usize,
    },
    /// A deferred request that is replayed, and its reply.
    Deferred {
        /// Pages of the reply.
        reply: usize,
    },
}

/// Pages that hold so many bytes.
const fn pages_of(bytes: usize) -> usize {
    bytes.div_ceil(PAGE_SIZE as usize)
}

/// Pages of a WRITE's call beside the data: one, with headers.
const CALL_HEADER_PAGES: usize = 1;

impl Request {
    /// A mix of requests, with payloads of 1 MiB.
    pub const MIX: [Request; 6] = [
        Request::SmallRpc,
        Request::ReadSplice { bytes: 1 << 20, unaligned: true },
        Request::ReadIter { bytes: 1 << 20 },
        Request::Write { bytes: 1 << 20 },
        Request::PartialTcp { got: 64 << 10, total: 1 << 20 },
        Request::Deferred { reply: 1 },
    ];

    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Request::SmallRpc => "small RPC",
            Request::ReadSplice { .. } => "READ by splice",
            Request::ReadIter { .. } => "READ by iterator",
            Request::Write { .. } => "WRITE",
            Request::PartialTcp { .. } => "partial TCP record",
            Request::Deferred { .. } => "deferred replay",
        }
    }

    /// Slots that are NULL when the request is done, of an array of `pages` slots.
    pub fn holes(self, pages: usize) -> Vec<Range<usize>> {
        let one = |start: usize, len: usize| [start..start + len, 0..0];
        let ranges = match self {
            Request::SmallRpc => one(1, 1),
            Request::ReadSplice { bytes, unaligned } => one(1, 1 + pages_of(bytes) + usize::from(unaligned)),
            Request::ReadIter { bytes } => one(1, 1 + pages_of(bytes)),
            Request::Write { bytes } => one(CALL_HEADER_PAGES + pages_of(bytes), 1),
            Request::PartialTcp { got, total } => [0..pages_of(got), pages_of(total)..pages_of(total) + 1],
            Request::Deferred { reply } => one(0, reply),
        };
        ranges.into_iter().map(|r| r.start.min(pages)..r.end.min(pages)).filter(|r| !r.is_empty()).collect()
    }

    /// The shape of an array of `pages` slots that was full before the request.
    pub fn shape(self, pages: usize) -> Shape {
        Shape::with_holes(pages, &self.holes(pages))
    }
}

/// Arrays that `btrfs_alloc_page_array()` is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BtrfsShape {
    /// Extent buffers, scrub stripes, encoded reads.
    AllNull,
    /// raid56's cache step after a read-modify-write.
    Full,
    /// raid56 recovery that found its data pages in the cache.
    Prefix(usize),
}

impl BtrfsShape {
    /// The shape of an array of `n` slots.
    pub fn shape(self, n: usize) -> Shape {
        match self {
            BtrfsShape::AllNull => Shape::empty(n),
            BtrfsShape::Full => Shape::full(n),
            BtrfsShape::Prefix(pages) => Shape::prefix_of(n, pages),
        }
    }
}
