//! Kernel: `net/core/page_pool.c`, `__page_pool_alloc_pages_slow()`, `page_pool_alloc_netmems()`,
//! `page_pool_refill_alloc_cache()`, `page_pool_put_unrefed_netmem()`, `page_pool_return_page()` (v6.14), and the three
//! loops of `bench_page_pool_simple`.
//!
//! The patch drops one statement here: the clearing of 64 cache slots before each bulk call. The array is always NULL
//! as far as the call can see, so results are the same in both forms; what differs is 512 bytes of stores, and a NULL
//! test for each slot, every 64 pages.

use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Probe;
use bulkpages_core::{Error, Pfn, Result, Slot};

use super::port::{Array, Flags, Info, Input, Port, Short, all_null};
use crate::env::{Env, World};
use crate::holes::Shape;
use crate::result::{Form, Ret};
use crate::study::misuse::Slip;

/// `PP_ALLOC_CACHE_SIZE`: slots of the cache.
pub const PP_ALLOC_CACHE_SIZE: usize = 128;
/// `PP_ALLOC_CACHE_REFILL`: pages of one refill.
pub const PP_ALLOC_CACHE_REFILL: usize = 64;
/// `GFP_ATOMIC | __GFP_NOWARN`, which the driver-side wrapper and the benchmark pass.
pub const BENCH_GFP: Gfp = Gfp(Gfp::ATOMIC.0 | Gfp::NOWARN.0);

/// Forms of this caller. `v3` makes the same change as `after`.
pub const FORMS: &[Form] = &[Form::Before, Form::After, Form::V3];

/// `struct page_pool_alloc_stats` and `page_pool_recycle_stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    pub fast: u64,
    pub slow: u64,
    pub empty: u64,
    pub refill: u64,
    pub waive: u64,
    pub cached: u64,
    pub cache_full: u64,
    pub ring: u64,
    pub ring_full: u64,
    pub released_refcnt: u64,
}

/// The pointer ring: a slot that is not NULL is taken.
#[derive(Debug)]
struct PtrRing {
    queue: Box<[Pfn]>,
    producer: usize,
    consumer: usize,
}

impl PtrRing {
    #[inline]
    fn produce(&mut self, page: Pfn) -> bool {
        let slot = &mut self.queue[self.producer];
        if !slot.is_null() {
            return false;
        }
        *slot = page;
        self.producer += 1;
        if self.producer == self.queue.len() {
            self.producer = 0;
        }
        true
    }

    #[inline]
    fn consume(&mut self) -> Option<Pfn> {
        let slot = &mut self.queue[self.consumer];
        let page = *slot;
        if page.is_null() {
            return None;
        }
        *slot = Pfn::NULL;
        self.consumer += 1;
        if self.consumer == self.queue.len() {
            self.consumer = 0;
        }
        Some(page)
    }
}

/// A page pool without a device, flags 0.
///
/// # Invariants
///
/// Pages in the cache and in the ring are owned, with one reference, and carry the pool's mark;
/// `hold_cnt - release_cnt` is the number of pages that carry it.
#[derive(Debug)]
pub struct PagePool {
    form: Form,
    gfp: Gfp,
    /// `NUMA_NO_NODE` when `None`.
    nid: Option<usize>,
    /// Mark of the pool's pages, 1 to 255.
    id: u8,
    cache: Box<[Slot]>,
    count: usize,
    ring: PtrRing,
    /// Pages that came into the pool.
    pub hold_cnt: u32,
    /// Pages that left it.
    pub release_cnt: u32,
    /// Counters of `ethtool`'s kind.
    pub stats: PoolStats,
    /// Slots cleared before bulk calls.
    pub slot_clears: u64,
}

impl PagePool {
    /// A pool with a ring of `pool_size` slots, whose pages carry mark `id`.
    ///
    /// # Errors
    ///
    /// For a size or a mark out of range.
    pub fn new(form: Form, gfp: Gfp, nid: Option<usize>, pool_size: usize, id: u8) -> Result<PagePool> {
        if !(1..=32_768).contains(&pool_size) {
            return Err(Error::invalid(format!("pool_size {pool_size} is outside 1 to 32768")));
        }
        if id == 0 {
            return Err(Error::invalid("page_pool mark 0 is outside 1 to 255"));
        }
        Ok(PagePool {
            form,
            gfp,
            nid,
            id,
            cache: Slot::array(PP_ALLOC_CACHE_SIZE),
            count: 0,
            ring: PtrRing { queue: vec![Pfn::NULL; pool_size].into(), producer: 0, consumer: 0 },
            hold_cnt: 0,
            release_cnt: 0,
            stats: PoolStats::default(),
            slot_clears: 0,
        })
    }

    /// Pages in the cache.
    pub fn cached(&self) -> usize {
        self.count
    }

    /// Whether a page lies in the cache or in the ring.
    pub fn holds(&self, page: Pfn) -> bool {
        self.cache[..self.count].iter().any(|s| s.get() == page) || self.ring.queue.contains(&page)
    }

    /// The cache array; slots beyond the count may hold what is no longer the pool's.
    pub fn cache(&self) -> &[Slot] {
        &self.cache
    }

    /// `page_pool_inflight()`: pages that came in and did not leave.
    pub fn inflight(&self) -> u32 {
        self.hold_cnt.wrapping_sub(self.release_cnt)
    }

    #[inline]
    fn pop(&mut self) -> Pfn {
        self.count -= 1;
        self.cache[self.count].get()
    }

    /// `page_pool_alloc_pages()`: from the cache, else the ring, else the page allocator.
    #[inline(always)]
    pub fn alloc<W: World>(&mut self, env: &mut Env<'_, W>) -> Result<Option<Pfn>> {
        if self.count > 0 {
            self.stats.fast += 1;
            return Ok(Some(self.pop()));
        }
        self.alloc_uncached(env)
    }

    #[inline(never)]
    fn alloc_uncached<W: World>(&mut self, env: &mut Env<'_, W>) -> Result<Option<Pfn>> {
        match self.refill_alloc_cache(env)? {
            Some(page) => Ok(Some(page)),
            None => self.alloc_pages_slow(env),
        }
    }

    /// `page_pool_refill_alloc_cache()`: up to 64 pages of the preferred node from the ring.
    fn refill_alloc_cache<W: World>(&mut self, env: &mut Env<'_, W>) -> Result<Option<Pfn>> {
        let preferred = env.machine.nearest_node(self.nid, env.cx.cpu)?;
        let mut found = false;
        let one_node = env.machine.nodes() == 1;
        while self.count < PP_ALLOC_CACHE_REFILL {
            let Some(page) = self.ring.consume() else { break };
            found = true;
            if !one_node && env.machine.zone_of(page).is_none_or(|z| z.nid() != preferred) {
                self.return_page(env, page)?;
                self.stats.waive += 1;
                break;
            }
            self.cache[self.count].set(page);
            self.count += 1;
        }
        if !found {
            self.stats.empty += 1;
        }
        if self.count == 0 {
            return Ok(None);
        }
        self.stats.refill += 1;
        Ok(Some(self.pop()))
    }

    /// `__page_pool_alloc_pages_slow()`.
    pub fn alloc_pages_slow<W: World>(&mut self, env: &mut Env<'_, W>) -> Result<Option<Pfn>> {
        if self.count > 0 {
            return Ok(Some(self.pop()));
        }
        let slots = &mut self.cache[..PP_ALLOC_CACHE_REFILL];
        if self.form == Form::Before && !env.slips(Slip::ForgetsClear) {
            Slot::clear(slots);
            self.slot_clears += PP_ALLOC_CACHE_REFILL as u64;
        }
        let nr_pages = env.alloc_pages_bulk_node(self.form, self.gfp, self.nid, slots)?;
        if !nr_pages {
            return Ok(None);
        }
        for i in nr_pages.slots() {
            let page = env.used(self.cache[i].get())?;
            if env.dma_map_fails(page) {
                env.free_page(page)?;
                continue;
            }
            env.machine.pages().set_pool(page, self.id);
            self.cache[self.count].write(&mut env.cx, self.count, page);
            self.count += 1;
            self.hold_cnt = self.hold_cnt.wrapping_add(1);
            if W::Probe::ON {
                self.trace_hold(env, page);
            }
        }
        if self.count == 0 {
            return Ok(None);
        }
        self.stats.slow += 1;
        Ok(Some(self.pop()))
    }

    /// `page_pool_put_page()`: back into the cache when `allow_direct`, else into the ring; out of the pool when
    /// somebody else still holds a reference or there is no room.
    ///
    /// # Errors
    ///
    /// For a page that does not carry the pool's mark.
    #[inline(always)]
    pub fn put_page<W: World>(&mut self, env: &mut Env<'_, W>, page: Pfn, allow_direct: bool) -> Result<()> {
        if env.machine.pages().pool(page) != self.id {
            return Err(not_of_this_pool(page));
        }
        if !env.machine.pages().has_one_ref(page) {
            self.stats.released_refcnt += 1;
            return self.return_page(env, page);
        }
        if allow_direct {
            if self.count < PP_ALLOC_CACHE_SIZE {
                self.cache[self.count].set(page);
                self.count += 1;
                self.stats.cached += 1;
                return Ok(());
            }
            self.stats.cache_full += 1;
        }
        if self.ring.produce(page) {
            self.stats.ring += 1;
            return Ok(());
        }
        self.stats.ring_full += 1;
        self.return_page(env, page)
    }

    /// `page_pool_return_page()`: the page leaves the pool, and the pool's reference is dropped.
    #[inline]
    fn return_page<W: World>(&mut self, env: &mut Env<'_, W>, page: Pfn) -> Result<()> {
        self.release_cnt = self.release_cnt.wrapping_add(1);
        if W::Probe::ON {
            self.trace_release(env, page);
        }
        env.machine.pages().set_pool(page, 0);
        env.machine.put_page(&mut env.cx, page).map(|_| ())
    }

    #[cold]
    fn trace_hold<W: World>(&self, env: &mut Env<'_, W>, page: Pfn) {
        let (id, hold) = (self.id, self.hold_cnt);
        env.trace(|| {
            format!(
                "page_pool_state_hold: page_pool={id:016x} netmem={:016x} is_net_iov=0, pfn=0x{:x} hold={hold}",
                page_pointer(page),
                page.0
            )
        });
    }

    #[cold]
    fn trace_release<W: World>(&self, env: &mut Env<'_, W>, page: Pfn) {
        let (id, release) = (self.id, self.release_cnt);
        env.trace(|| {
            format!(
                "page_pool_state_release: page_pool={id:016x} netmem={:016x} is_net_iov=0 pfn=0x{:x} release={release}",
                page_pointer(page),
                page.0
            )
        });
    }

    /// `page_pool_destroy()`: everything in cache and ring leaves the pool.
    ///
    /// # Errors
    ///
    /// When a page of the pool was freed behind its back.
    pub fn destroy<W: World>(&mut self, env: &mut Env<'_, W>) -> Result<()> {
        while self.count > 0 {
            let page = self.pop();
            self.return_page(env, page)?;
        }
        while let Some(page) = self.ring.consume() {
            self.return_page(env, page)?;
        }
        Ok(())
    }
}

/// Address of a page's descriptor in the kernel's map with 64 bytes each, without randomisation.
fn page_pointer(page: Pfn) -> u64 {
    0xffff_ea00_0000_0000 + u64::from(page.0) * 64
}

#[cold]
fn not_of_this_pool(page: Pfn) -> Error {
    Error::misuse(format!("pfn {page} is not a page of this pool"))
}

/// Which loop of `bench_page_pool_simple`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bench {
    /// 01: alloc, then recycle directly into the cache.
    FastPath,
    /// 02: alloc, then put into the ring.
    PtrRing,
    /// 03: alloc, one more reference, put (which releases the page), then the last reference: a real free.
    Slow,
}

impl Bench {
    /// All three, in the benchmark's order.
    pub const ALL: [Bench; 3] = [Bench::FastPath, Bench::PtrRing, Bench::Slow];

    /// Name as in `timings.json`.
    pub const fn name(self) -> &'static str {
        match self {
            Bench::FastPath => "page_pool01_fast_path",
            Bench::PtrRing => "page_pool02_ptr_ring",
            Bench::Slow => "page_pool03_slow",
        }
    }
}

/// One iteration of a loop; `false` when no page was to be had.
///
/// # Errors
///
/// None in a sound pool; an error would mean that somebody else freed its pages.
#[inline(always)]
pub fn bench_step<W: World>(bench: Bench, pool: &mut PagePool, env: &mut Env<'_, W>) -> Result<bool> {
    let Some(page) = pool.alloc(env)? else { return Ok(false) };
    match bench {
        Bench::FastPath => pool.put_page(env, page, true)?,
        Bench::PtrRing => pool.put_page(env, page, false)?,
        Bench::Slow => {
            env.machine.get_page(page)?;
            pool.put_page(env, page, false)?;
            env.machine.put_page(&mut env.cx, page)?;
        }
    }
    Ok(true)
}

/// `pp_fill_ptr_ring()`: what every loop does first, so that 64 pages wait in the ring.
///
/// # Errors
///
/// As [`bench_step`].
pub fn fill_ptr_ring<W: World>(pool: &mut PagePool, env: &mut Env<'_, W>) -> Result<usize> {
    let mut pages = Vec::with_capacity(PP_ALLOC_CACHE_REFILL);
    while pages.len() < PP_ALLOC_CACHE_REFILL {
        let Some(page) = pool.alloc(env)? else { break };
        pages.push(page);
    }
    for &page in &pages {
        pool.put_page(env, page, false)?;
    }
    Ok(pages.len())
}

/// The port: so many pages from a new pool, which ends afterwards. Its array is what the pool handed out.
#[derive(Debug)]
pub struct PagePoolAllocPagesSlow;

/// A pool, and the pages that it handed out.
#[derive(Debug, Default)]
pub struct Served {
    pool: Option<PagePool>,
    handed_out: Vec<Pfn>,
}

impl Port for PagePoolAllocPagesSlow {
    const INFO: Info = Info {
        example: "...",
        ..Info::of_patch("__page_pool_alloc_pages_slow", "net/core/page_pool.c", FORMS, Array::Own, Short::Accepts)
    };
    type Work<'a> = Served;

    fn work(_: &[Slot], _: &Input) -> Result<Served> {
        Ok(Served::default())
    }

    fn run<W: World>(env: &mut Env<'_, W>, served: &mut Served, input: &Input, form: Form) -> Result<Ret> {
        let pool = served.pool.insert(PagePool::new(form, BENCH_GFP, None, 1024, 1)?);
        while served.handed_out.len() < input.pages {
            match pool.alloc(env)? {
                Some(page) => served.handed_out.push(page),
                None => return Ok(Ret::NOMEM),
            }
        }
        Ok(Ret::OK)
    }

    fn end<W: World>(env: &mut Env<'_, W>, served: Served) -> Result<Option<Box<[Slot]>>> {
        if let Some(mut pool) = served.pool {
            pool.destroy(env)?;
        }
        let array = Slot::array(served.handed_out.len());
        for (slot, &page) in array.iter().zip(&served.handed_out) {
            // The pool is gone, and its mark with it.
            env.machine.pages().set_pool(page, 0);
            slot.set(page);
        }
        Ok(Some(array))
    }

    fn inputs() -> Vec<(Shape, Flags)> {
        all_null(&[1, 65, 129])
    }

    fn slips(form: Form) -> &'static [Slip] {
        use Slip::{ForgetsClear, IgnoresShort, OtherApi, PartialIsFailure};
        // The cache is passed whole and no number is kept; the clearing is what the patch takes out.
        match form {
            Form::Before => &[ForgetsClear, PartialIsFailure, IgnoresShort, OtherApi],
            _ => &[PartialIsFailure, IgnoresShort, OtherApi],
        }
    }
}
