//! Waits, on a virtual clock.

use bulkpages_core::gfp::Gfp;

use super::{Env, Hooks, World};

impl<W: World> Env<'_, W> {
    /// Nanoseconds of one tick.
    pub fn jiffy_ns(&self) -> u64 {
        1_000_000_000 / self.hz.max(1)
    }

    /// Whether no further wait is granted.
    #[inline]
    pub fn out_of_waits(&self) -> bool {
        self.waits >= self.max_waits
    }

    /// `memalloc_retry_wait()`: one tick for a request that the allocator itself retries, else a 50th of a second.
    #[cold]
    pub fn memalloc_retry_wait(&mut self, gfp: Gfp) {
        let patient = gfp.has(Gfp::DIRECT_RECLAIM) && !gfp.has(Gfp::NORETRY);
        self.schedule_timeout(if patient { 1 } else { self.hz / 50 });
    }

    /// Sleeps for so many ticks.
    #[cold]
    pub fn schedule_timeout(&mut self, jiffies: u64) {
        self.waits += 1;
        self.jiffies += jiffies;
        let ns = jiffies * self.jiffy_ns();
        self.machine.advance(&mut self.cx, ns);
        if W::Hooks::ON {
            self.hooks.wait(self.waits);
        }
    }
}
