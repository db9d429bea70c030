//! The page allocator of Linux 6.12, emulated page for page.
//!
//! Loaded with the state of a real kernel, a [`Machine`] hands out the same page frames, moves the same counters and
//! takes the same branches as that kernel did. Both versions of `alloc_pages_bulk()` live in it side by side.
//!
//! A request flows one way: [`bulk`] chooses a zone (`watermark`), tries the lock of a per-CPU list (`pcp`), takes from
//! it, refills it from the buddy lists (`buddy`, with `fallback` inside), and counts (`vmstat`).
//!
//! A reader who knows `mm/page_alloc.c` finds each function under its kernel name. Leading underscores and the suffix
//! `_noprof` are dropped, unless two functions would have one name then: `__free_one_page` (under the zone lock) and
//! `free_one_page` (takes it) are two functions there and here.
//!
//! The state is generic over three small traits that cost nothing when unused: [`sync::Locking`] (no locks for one
//! thread, atomics for several), [`probe::Probe`] (observers), [`fault::Fault`] (injected failures).
//!
//! This crate knows no Python, no clock and no files, prints nothing and keeps no global state.

mod alloc;
mod audit;
mod buddy;
mod context;
mod error;
mod fallback;
mod free;
mod highatomic;
mod inspect;
mod kswapd;
mod list;
mod machine;
mod page;
mod slot;
mod steal_suitable;

pub mod boot;
pub mod bulk;
pub mod era;
pub mod errno;
pub mod fault;
pub mod gfp;
pub mod math;
pub mod pcp;
pub mod pfn;
pub mod probe;
pub mod reclaim;
pub mod recording;
pub mod replay;
pub mod saved;
pub mod slowpath;
pub mod snapshot;
pub mod step;
pub mod sync;
pub mod vmstat;
pub mod watermark;
pub mod zone;
pub mod zone_type;
pub mod zonelist;

pub use audit::Audit;
pub use context::{Context, Ctx};
pub use error::{Error, Result};
pub use inspect::{PcpInfo, ZoneInfo};
pub use machine::Machine;
pub use page::{PageMap, PageState};
pub use pfn::Pfn;
pub use slot::Slot;
