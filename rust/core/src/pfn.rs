//! Kernel: `include/linux/pfn.h`, `include/linux/pageblock-flags.h`, `mm/internal.h` (`__find_buddy_pfn()`) (v6.12).
//!
//! Page frame numbers, orders and pageblocks.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Number of orders, 0 to [`MAX_PAGE_ORDER`].
pub const NR_PAGE_ORDERS: usize = 11;
/// Largest order of a buddy block (1024 pages).
pub const MAX_PAGE_ORDER: u8 = 10;
/// Order of a pageblock on x86-64 with huge pages.
pub const PAGEBLOCK_ORDER: u8 = 9;
pub const PAGEBLOCK_NR_PAGES: u32 = 1 << PAGEBLOCK_ORDER;
/// Orders above this one are "costly"; orders up to it have per-CPU lists.
pub const PAGE_ALLOC_COSTLY_ORDER: u8 = 3;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// A page frame number. Frame 0 is never managed, so it stands for NULL.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Pfn(pub u32);

impl Pfn {
    /// The NULL page.
    pub const NULL: Pfn = Pfn(0);

    /// Whether this is the NULL page.
    #[inline]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    /// The frame as an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Head of the buddy of this block of `order`.
    #[inline]
    pub const fn buddy(self, order: u8) -> Pfn {
        Pfn(self.0 ^ (1 << order))
    }

    /// First frame of the pageblock that holds this frame.
    #[inline]
    pub const fn pageblock_start(self) -> Pfn {
        Pfn(self.0 & !(PAGEBLOCK_NR_PAGES - 1))
    }

    /// Whether a block of `order` may start here.
    #[inline]
    pub const fn is_aligned(self, order: u8) -> bool {
        self.0 & ((1 << order) - 1) == 0
    }

    /// This frame moved up by `pages`.
    #[inline]
    pub const fn add(self, pages: u32) -> Pfn {
        Pfn(self.0 + pages)
    }
}

/// An order as the allocator takes it.
#[inline]
pub(crate) fn check_order(order: u64) -> Result<u8> {
    if order > u64::from(MAX_PAGE_ORDER) {
        return Err(Error::invalid(format!("order {order} is above {MAX_PAGE_ORDER}")));
    }
    Ok(order as u8)
}

impl fmt::Display for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {}", self.0)
    }
}
