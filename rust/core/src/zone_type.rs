//! Kernel: `enum zone_type` (`include/linux/mmzone.h`), `GFP_ZONE_TABLE` (`include/linux/gfp.h`), `zone_names[]`
//! (`mm/page_alloc.c`) (v6.12).
//!
//! Which zones a kernel was built with, and which of them a request may use. Every kernel has Normal and Movable; DMA,
//! DMA32, HighMem and Device depend on the architecture and its configuration, and a zone's index in its node counts only
//! those that are there.

use crate::error::{Error, Result};
use crate::gfp::Gfp;

/// Most zones that a node has, whatever the build.
pub const MAX_NR_ZONES: usize = 6;

/// A zone of any kernel, in the kernel's order: a request may fall back to what stands before its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ZoneType {
    /// Memory that old devices reach, 16 MiB on a PC.
    Dma,
    /// Memory below 4 GiB, where there is more.
    Dma32,
    /// Memory that the kernel maps.
    Normal,
    /// Memory that a 32-bit kernel maps only when it uses it.
    HighMem,
    /// Memory for pages that can be moved.
    Movable,
    /// Memory of devices, which no request is served from.
    Device,
}

impl ZoneType {
    /// All of them, lowest first.
    pub const ALL: [ZoneType; MAX_NR_ZONES] =
        [ZoneType::Dma, ZoneType::Dma32, ZoneType::Normal, ZoneType::HighMem, ZoneType::Movable, ZoneType::Device];

    /// The kernel's name, as in `/proc/zoneinfo`.
    pub const fn name(self) -> &'static str {
        ["DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"][self as usize]
    }

    /// The name in `/proc/vmstat` of the pages that were allocated from it.
    pub const fn pgalloc(self) -> &'static str {
        ["pgalloc_dma", "pgalloc_dma32", "pgalloc_normal", "pgalloc_high", "pgalloc_movable", "pgalloc_device"]
            [self as usize]
    }

    /// The name in `/proc/vmstat` of the requests for it that reclaimed.
    pub const fn allocstall(self) -> &'static str {
        [
            "allocstall_dma",
            "allocstall_dma32",
            "allocstall_normal",
            "allocstall_high",
            "allocstall_movable",
            "allocstall_device",
        ][self as usize]
    }

    /// Whether the kernel maps it all the time.
    pub const fn is_lowmem(self) -> bool {
        self as u8 <= ZoneType::Normal as u8
    }

    /// `sysctl_lowmem_reserve_ratio`: which part of the memory above it a zone keeps from requests for that; 0: none.
    pub const fn lowmem_reserve_ratio(self) -> u64 {
        [256, 256, 32, 0, 0, 0][self as usize]
    }
}

/// The zones of a build.
///
/// # Invariants
///
/// They stand in the order of [`ZoneType`], and Normal is among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneTypes {
    /// By index. A machine that was written with gaps between its zones has them.
    by_index: [Option<ZoneType>; MAX_NR_ZONES],
    len: u8,
    normal: u8,
}

impl Default for ZoneTypes {
    fn default() -> ZoneTypes {
        ZoneTypes::PC
    }
}

impl ZoneTypes {
    /// A 64-bit PC: DMA, DMA32, Normal, Movable.
    pub const PC: ZoneTypes = ZoneTypes {
        by_index: [
            Some(ZoneType::Dma),
            Some(ZoneType::Dma32),
            Some(ZoneType::Normal),
            Some(ZoneType::Movable),
            None,
            None,
        ],
        len: 4,
        normal: 2,
    };

    /// From the kernel's names by index; an empty name is an index that no zone has.
    ///
    /// # Errors
    ///
    /// For a name that no kernel has, one that stands twice or out of order, and when Normal is missing.
    pub fn from_names<S: AsRef<str>>(names: &[S]) -> Result<ZoneTypes> {
        let known = || ZoneType::ALL.map(ZoneType::name).join(", ");
        if names.len() > MAX_NR_ZONES {
            return Err(Error::invalid(format!("{} zones; a kernel has at most {MAX_NR_ZONES}", names.len())));
        }
        let mut types = ZoneTypes { by_index: [None; MAX_NR_ZONES], len: names.len() as u8, normal: 0 };
        let mut before = None;
        for (index, name) in names.iter().map(AsRef::as_ref).enumerate().filter(|(_, name)| !name.is_empty()) {
            let Some(found) = ZoneType::ALL.into_iter().find(|zone| zone.name() == name) else {
                return Err(Error::invalid(format!("zone {name:?} is not one of {}", known())));
            };
            if before.is_some_and(|before| before >= found) {
                return Err(Error::invalid(format!("zone {name} is out of order: a kernel has {}", known())));
            }
            before = Some(found);
            types.by_index[index] = before;
        }
        match types.index(ZoneType::Normal) {
            Some(normal) => Ok(ZoneTypes { normal, ..types }),
            None => Err(Error::invalid("every kernel has a zone Normal, this one has none")),
        }
    }

    /// Indices that a zone can have, one more than the highest.
    #[inline]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Never: Normal is there.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn get(&self, index: usize) -> Option<ZoneType> {
        self.by_index.get(index).copied().flatten()
    }

    /// The name of the zone at an index, empty where there is none.
    pub fn name(&self, index: usize) -> &'static str {
        self.get(index).map_or("", ZoneType::name)
    }

    /// Names by index.
    pub fn names(&self) -> Vec<&'static str> {
        (0..self.len()).map(|index| self.name(index)).collect()
    }

    /// The index of a zone, `None` where the build has no such zone.
    pub fn index(&self, zone: ZoneType) -> Option<u8> {
        self.by_index.iter().position(|&found| found == Some(zone)).map(|index| index as u8)
    }

    /// `ZONE_NORMAL`.
    #[inline]
    pub const fn normal(&self) -> u8 {
        self.normal
    }

    /// `ZONE_MOVABLE`: the highest zone that serves requests.
    pub fn movable(&self) -> u8 {
        let serves = |zone: &Option<ZoneType>| zone.is_some_and(|zone| zone != ZoneType::Device);
        self.by_index.iter().rposition(serves).map_or(self.normal, |index| index as u8)
    }

    /// `gfp_zone()`: index of the highest zone that may serve the request. A zone that the build lacks is Normal.
    pub fn gfp_zone(&self, gfp: Gfp) -> u8 {
        let or_normal = |zone| self.index(zone).unwrap_or(self.normal);
        let both = gfp.has(Gfp::HIGHMEM) && gfp.has(Gfp::MOVABLE);
        match gfp {
            gfp if gfp.has(Gfp::DMA) => or_normal(ZoneType::Dma),
            gfp if gfp.has(Gfp::DMA32) => or_normal(ZoneType::Dma32),
            _ if both => self.movable(),
            gfp if gfp.has(Gfp::HIGHMEM) => or_normal(ZoneType::HighMem),
            _ => self.normal,
        }
    }
}
