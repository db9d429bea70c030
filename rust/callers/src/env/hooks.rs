//! What can fail beside the page allocator, and what can be wrong in a caller's code.

use bulkpages_core::Pfn;
use bulkpages_core::fault::When;

use super::values::{Seen, Told};
use crate::study::misuse::Slip;

/// What can fail, or come from outside, apart from the page allocator.
pub trait Hooks {
    /// Whether anything can happen at all; `false` removes the questions at compile time.
    const ON: bool;
    /// What the value of a bulk call knows of a wrong line in the caller.
    type Seen: Seen;
    /// Whether allocating a pointer array of `slots` slots fails.
    fn array_fails(&self, slots: usize) -> bool;
    /// Whether appending `pages` pages to a scatter table fails.
    fn append_fails(&self, pages: usize) -> bool;
    fn vmap_fails(&self, pages: usize) -> bool;
    fn dma_map_fails(&self, page: Pfn) -> bool;
    /// `kthread_should_stop()`, and in sunrpc `svc_thread_should_stop()`.
    fn should_stop(&self) -> bool;
    /// The caller sleeps for the `nth` time, from 1: the rest of the world may act.
    fn wait(&self, nth: u64);
    /// What is wrong with the caller's code; nothing, unless misuse is studied.
    fn slip(&self) -> Option<Slip> {
        None
    }
    /// The same, for the value of a call that was asked for `asked`, returned `ret`, and before that `before`.
    fn seen(&self, ret: usize, asked: usize, before: usize) -> Self::Seen;
    /// What slot `index` of an array holds that nobody cleared.
    fn garbage(&self, _index: usize) -> Pfn {
        Pfn::NULL
    }
}

/// Nothing fails, nobody asks to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    const ON: bool = false;
    type Seen = ();
    #[inline(always)]
    fn seen(&self, _ret: usize, _asked: usize, _before: usize) {}
    #[inline(always)]
    fn array_fails(&self, _slots: usize) -> bool {
        false
    }
    #[inline(always)]
    fn append_fails(&self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn vmap_fails(&self, _pages: usize) -> bool {
        false
    }
    #[inline(always)]
    fn dma_map_fails(&self, _page: Pfn) -> bool {
        false
    }
    #[inline(always)]
    fn should_stop(&self) -> bool {
        false
    }
    #[inline(always)]
    fn wait(&self, _nth: u64) {}
}

/// Failures that a test or a user states, and a slip in the caller's code.
#[derive(Debug, Default)]
pub struct HookPlan {
    /// Pointer arrays.
    pub arrays: When,
    /// Appends to the scatter table.
    pub appends: When,
    pub vmaps: When,
    pub dma_maps: When,
    /// Which checks whether the thread is to stop answer yes.
    pub stop: When,
    /// What is wrong with the caller's code.
    pub slip: Option<Slip>,
    /// What an array that nobody cleared holds; repeated over its slots.
    pub garbage: Vec<Pfn>,
}

impl Hooks for HookPlan {
    const ON: bool = true;
    type Seen = Option<Told>;
    fn seen(&self, ret: usize, asked: usize, before: usize) -> Option<Told> {
        self.slip.map(|slip| Told { slip, ret, asked, before })
    }
    fn array_fails(&self, _slots: usize) -> bool {
        self.arrays.fails()
    }
    fn append_fails(&self, _pages: usize) -> bool {
        self.appends.fails()
    }
    fn vmap_fails(&self, _pages: usize) -> bool {
        self.vmaps.fails()
    }
    fn dma_map_fails(&self, _page: Pfn) -> bool {
        self.dma_maps.fails()
    }
    fn should_stop(&self) -> bool {
        self.stop.fails()
    }
    fn wait(&self, _nth: u64) {}
    fn slip(&self) -> Option<Slip> {
        self.slip
    }
    fn garbage(&self, index: usize) -> Pfn {
        if self.garbage.is_empty() { Pfn::NULL } else { self.garbage[index % self.garbage.len()] }
    }
}

impl<H: Hooks> Hooks for &H {
    const ON: bool = H::ON;
    type Seen = H::Seen;
    #[inline(always)]
    fn seen(&self, ret: usize, asked: usize, before: usize) -> H::Seen {
        (**self).seen(ret, asked, before)
    }
    #[inline(always)]
    fn array_fails(&self, slots: usize) -> bool {
        (**self).array_fails(slots)
    }
    #[inline(always)]
    fn append_fails(&self, pages: usize) -> bool {
        (**self).append_fails(pages)
    }
    #[inline(always)]
    fn vmap_fails(&self, pages: usize) -> bool {
        (**self).vmap_fails(pages)
    }
    #[inline(always)]
    fn dma_map_fails(&self, page: Pfn) -> bool {
        (**self).dma_map_fails(page)
    }
    #[inline(always)]
    fn should_stop(&self) -> bool {
        (**self).should_stop()
    }
    #[inline(always)]
    fn wait(&self, nth: u64) {
        (**self).wait(nth);
    }
    #[inline(always)]
    fn slip(&self) -> Option<Slip> {
        (**self).slip()
    }
    #[inline(always)]
    fn garbage(&self, index: usize) -> Pfn {
        (**self).garbage(index)
    }
}
