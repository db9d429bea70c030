//! Kernel: `include/linux/gfp_types.h`, `gfp.h` (`gfp_migratetype()`), `mmzone.h` and `mm/internal.h`
//! (`ALLOC_*`) (v6.12).
//!
//! The terms of a request: what the caller allows (`Gfp`), what kind of page it wants ([`Migratetype`]), and how the
//! allocator translates this ([`AllocFlags`]).

use crate::error::{Error, Result};

/// GFP flags of a request (`gfp_t`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Gfp(pub u32);

macro_rules! gfp_bits {
    ($($(#[$doc:meta])* $name:ident = $value:expr;)*) => {
        impl Gfp {
            $($(#[$doc])* pub const $name: Gfp = Gfp($value);)*
        }
    };
}

gfp_bits! {
    /// Highest zone is DMA.
    DMA = 0x1;
    /// With MOVABLE: highest zone is Movable.
    HIGHMEM = 0x2;
    /// Highest zone is DMA32.
    DMA32 = 0x4;
    MOVABLE = 0x8;
    RECLAIMABLE = 0x10;
    /// May use half of the MIN reserve.
    HIGH = 0x20;
    /// Reclaim may start I/O.
    IO = 0x40;
    /// Reclaim may call into filesystems.
    FS = 0x80;
    /// The page is cleared.
    ZERO = 0x100;
    /// `__GFP_ATOMIC` of kernels before v6.3; later ones have no use for the bit.
    ATOMIC_BIT = 0x200;
    /// The caller may block and reclaim.
    DIRECT_RECLAIM = 0x400;
    /// Wakes kswapd when memory is short.
    KSWAPD_RECLAIM = 0x800;
    /// Spreads dirty pages over nodes.
    WRITE = 0x1000;
    /// No failure report.
    NOWARN = 0x2000;
    /// Retries, but never kills.
    RETRY_MAYFAIL = 0x4000;
    /// Never fails if it may reclaim.
    NOFAIL = 0x8000;
    /// One round of reclaim, then failure.
    NORETRY = 0x1_0000;
    /// Ignores watermarks.
    MEMALLOC = 0x2_0000;
    /// Compound page for orders above 0.
    COMP = 0x4_0000;
    /// Never uses reserves.
    NOMEMALLOC = 0x8_0000;
    /// Strict cpuset.
    HARDWALL = 0x10_0000;
    /// Only the given node.
    THISNODE = 0x20_0000;
    /// Charged to the memory cgroup.
    ACCOUNT = 0x40_0000;
    KERNEL = 0xcc0;
    NOFS = 0xc40;
    NOIO = 0xc00;
    ATOMIC = 0x820;
    NOWAIT = 0x2800;
    USER = 0x10_0cc0;
    HIGHUSER_MOVABLE = 0x10_0cca;
    KERNEL_ACCOUNT = 0x40_0cc0;
}

impl core::fmt::Debug for Gfp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "gfp {:#x}", self.0)
    }
}

impl core::ops::BitOr for Gfp {
    type Output = Gfp;
    fn bitor(self, other: Gfp) -> Gfp {
        Gfp(self.0 | other.0)
    }
}

impl core::ops::BitAnd for Gfp {
    type Output = Gfp;
    fn bitand(self, other: Gfp) -> Gfp {
        Gfp(self.0 & other.0)
    }
}

impl Gfp {
    /// Bits that have a meaning on some build: 0 to 27.
    pub const ALL_BITS: u32 = 0x0fff_ffff;

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn has(self, flags: Gfp) -> bool {
        self.0 & flags.0 != 0
    }

    #[inline]
    pub const fn without(self, flags: Gfp) -> Gfp {
        Gfp(self.0 & !flags.0)
    }

    /// Checks a raw value from outside: known bits, a valid zone selector, a valid migratetype.
    pub fn new(raw: u64) -> Result<Gfp> {
        if raw > u64::from(Self::ALL_BITS) {
            return Err(Error::invalid(format!("gfp {raw:#x} has bits above {:#x}", Self::ALL_BITS)));
        }
        let gfp = Gfp(raw as u32);
        // `GFP_ZONE_BAD`: at most one of DMA, HIGHMEM and DMA32.
        if (raw & 0x7).count_ones() > 1 {
            return Err(Error::invalid(format!(
                "gfp {raw:#x} selects no zone: of the low four bits (DMA, HIGHMEM, DMA32, MOVABLE) it sets {:#x}",
                raw & 0xf
            )));
        }
        if gfp.0 & 0x18 == 0x18 {
            return Err(Error::invalid(format!("gfp {raw:#x} sets both MOVABLE 0x8 and RECLAIMABLE 0x10")));
        }
        Ok(gfp)
    }

    /// `gfp_migratetype()`: the type of page that is wanted, mobility grouping being on.
    #[inline]
    pub fn migratetype(self) -> Migratetype {
        // Bits 3 and 4 as a number; both set was refused by `new`.
        const BY_BITS: [Migratetype; 4] =
            [Migratetype::Unmovable, Migratetype::Movable, Migratetype::Reclaimable, Migratetype::Reclaimable];
        BY_BITS[(self.0 >> 3 & 3) as usize]
    }
}

/// Migratetypes that are modelled. Memory isolation is not.
pub const MIGRATE_TYPES: usize = 5;
/// `MIGRATE_TYPES` of a build without CMA and memory isolation.
pub const MIGRATE_TYPES_WITHOUT_CMA: usize = 4;
/// Types that have per-CPU lists.
pub const MIGRATE_PCPTYPES: usize = 3;

/// What a pageblock is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Migratetype {
    /// Kernel pages that stay where they are.
    Unmovable = 0,
    /// Pages that can be moved.
    Movable = 1,
    /// Kernel pages that can be dropped.
    Reclaimable = 2,
    /// Reserve for atomic requests of higher order.
    HighAtomic = 3,
    /// Lent to movable pages until somebody wants the whole area: no other page gets here, and no block of it changes type.
    Cma = 4,
}

impl Migratetype {
    /// All types, by number.
    pub const ALL: [Migratetype; MIGRATE_TYPES] = [
        Migratetype::Unmovable,
        Migratetype::Movable,
        Migratetype::Reclaimable,
        Migratetype::HighAtomic,
        Migratetype::Cma,
    ];

    /// By number; the low three bits count.
    #[inline]
    pub const fn from_bits(bits: u16) -> Migratetype {
        match bits & 7 {
            0 => Migratetype::Unmovable,
            1 => Migratetype::Movable,
            2 => Migratetype::Reclaimable,
            3 => Migratetype::HighAtomic,
            _ => Migratetype::Cma,
        }
    }

    /// Types below `MIGRATE_PCPTYPES` have fallbacks and may merge with each other.
    #[inline]
    pub const fn is_mergeable(self) -> bool {
        (self as u8) < MIGRATE_PCPTYPES as u8
    }

    /// The type of the per-CPU list that keeps a page of this block type.
    #[inline]
    pub const fn pcp_type(self) -> Migratetype {
        if self.is_mergeable() { self } else { Migratetype::Movable }
    }

    /// Name as in `/proc/pagetypeinfo`.
    pub const fn name(self) -> &'static str {
        ["Unmovable", "Movable", "Reclaimable", "HighAtomic", "CMA"][self as usize]
    }
}

/// `ALLOC_*`: how far into the reserves an attempt may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct AllocFlags(pub u32);

impl AllocFlags {
    pub const WMARK_MIN: AllocFlags = AllocFlags(0);
    pub const WMARK_LOW: AllocFlags = AllocFlags(1);
    pub const WMARK_HIGH: AllocFlags = AllocFlags(2);
    /// Mask of the watermark index.
    pub const WMARK_MASK: u32 = 3;
    /// No watermark test at all.
    pub const NO_WATERMARKS: AllocFlags = AllocFlags(0x4);
    /// An OOM victim.
    pub const OOM: AllocFlags = AllocFlags(0x8);
    /// Cannot block.
    pub const NON_BLOCK: AllocFlags = AllocFlags(0x10);
    /// May use half of MIN.
    pub const MIN_RESERVE: AllocFlags = AllocFlags(0x20);
    /// Stays in its cpuset.
    pub const CPUSET: AllocFlags = AllocFlags(0x40);
    /// May use CMA blocks. Set only where a zone has few pages or lists are empty: see `Zone::with_cma`.
    pub const CMA: AllocFlags = AllocFlags(0x80);
    /// Avoids mixing types in a pageblock.
    pub const NOFRAGMENT: AllocFlags = AllocFlags(0x100);
    /// May use high-atomic blocks.
    pub const HIGHATOMIC: AllocFlags = AllocFlags(0x200);
    /// May wake kswapd.
    pub const KSWAPD: AllocFlags = AllocFlags(0x800);
    /// Ours: a request with `__GFP_ATOMIC`, which kernels before v6.3 ask for where later ones ask for MIN_RESERVE.
    pub const ATOMIC: AllocFlags = AllocFlags(0x1000);
    /// Ours: an attempt for movable pages that may not use CMA blocks all the same.
    pub const NO_CMA: AllocFlags = AllocFlags(0x2000);
    /// Flags that give access to reserves.
    pub const RESERVES: AllocFlags = AllocFlags(0x10 | 0x20 | 0x200 | 0x8);

    /// Flags with which the short watermark test of order 0 is not enough.
    pub(crate) const NOT_PLAIN: AllocFlags = AllocFlags(Self::RESERVES.0 | Self::ATOMIC.0 | Self::CMA.0);

    /// Whether any of `flags` is set.
    #[inline]
    pub const fn has(self, flags: AllocFlags) -> bool {
        self.0 & flags.0 != 0
    }

    /// Those that are also in `flags`.
    #[inline]
    pub const fn and(self, flags: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 & flags.0)
    }

    #[inline]
    pub const fn with(self, flags: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 | flags.0)
    }

    #[inline]
    pub const fn without(self, flags: AllocFlags) -> AllocFlags {
        AllocFlags(self.0 & !flags.0)
    }

    /// Index of the watermark to test against.
    #[inline]
    pub const fn wmark(self) -> usize {
        (self.0 & Self::WMARK_MASK) as usize
    }
}
