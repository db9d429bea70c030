//! Events of an observed run as Python dicts.

use bulkpages_core::probe::{DeadEnd, Event, Probe, SingleReason};
use bulkpages_measure::Counts;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Counts, and keeps events, and lines among them, when it is told to.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) on: bool,
    pub(crate) counts: Counts,
    pub(crate) events: Vec<Event>,
    /// Lines of callers, each behind so many events.
    pub(crate) lines: Vec<(usize, String)>,
}

impl Probe for Recorder {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        self.counts.event(event);
        if self.on {
            self.events.push(event);
        }
    }
    fn line(&mut self, text: &str) {
        if self.on {
            self.lines.push((self.events.len(), text.to_owned()));
        }
    }
}

fn reason(reason: SingleReason) -> &'static str {
    match reason {
        SingleReason::Memcg => "memcg",
        SingleReason::OnePage => "one page",
        SingleReason::PageOwner => "page owner",
        SingleReason::Watermark => "watermark",
        SingleReason::RemoteNode => "remote node",
        SingleReason::Trylock => "trylock",
        SingleReason::FirstTake => "first take",
    }
}

fn dead_end(why: DeadEnd) -> &'static str {
    match why {
        DeadEnd::Panic => "panics: nobody is left to kill",
        DeadEnd::NoFs => "retries for ever: may not enter file systems",
        DeadEnd::NoFail => "retries for ever: must not fail",
    }
}

/// An event as a dict with its name under "event".
pub(crate) fn to_dict<'py>(py: Python<'py>, event: &Event) -> PyResult<Bound<'py, PyDict>> {
    let d = PyDict::new(py);
    macro_rules! fill {
        ($name:literal $(, $key:ident = $value:expr)*) => {{
            d.set_item("event", $name)?;
            $(d.set_item(stringify!($key), $value)?;)*
        }};
    }
    match *event {
        Event::SlotTest { index, populated } => fill!("slot_test", index = index, populated = populated),
        Event::SlotWrite { index, page } => fill!("slot_write", index = index, page = page.0),
        Event::PcpTrylock { zone, locked } => fill!("pcp_trylock", zone = zone, locked = locked),
        Event::PcpLock { zone, cpu } => fill!("pcp_lock", zone = zone, cpu = cpu),
        Event::PcpUnlock { zone } => fill!("pcp_unlock", zone = zone),
        Event::ZoneLock { zone } => fill!("zone_lock", zone = zone),
        Event::ZoneUnlock { zone, pages } => fill!("zone_unlock", zone = zone, pages = pages),
        Event::ListTake { zone, page, order } => fill!("list_take", zone = zone, page = page.0, order = order),
        Event::Refill { zone, want, got } => fill!("refill", zone = zone, want = want, got = got),
        Event::PageAlloc { page, order, migratetype, gfp } => {
            fill!("mm_page_alloc", page = page.0, order = order, migratetype = migratetype as u8, gfp = gfp.0);
        }
        Event::ZoneLocked { page, order, migratetype, percpu_refill } => {
            fill!(
                "mm_page_alloc_zone_locked",
                page = page.0,
                order = order,
                migratetype = migratetype as u8,
                percpu_refill = percpu_refill
            );
        }
        Event::Split { zone, low, high } => fill!("split", zone = zone, low = low, high = high),
        Event::Extfrag {
            page,
            alloc_order,
            fallback_order,
            alloc_migratetype,
            fallback_migratetype,
            change_ownership,
        } => {
            fill!(
                "mm_page_alloc_extfrag",
                page = page.0,
                alloc_order = alloc_order,
                fallback_order = fallback_order,
                alloc_migratetype = alloc_migratetype as u8,
                fallback_migratetype = fallback_migratetype as u8,
                change_ownership = change_ownership
            );
        }
        Event::PageFree { page, order } => fill!("mm_page_free", page = page.0, order = order),
        Event::PageFreeBatched { page } => fill!("mm_page_free_batched", page = page.0),
        Event::PcpuDrain { page, order, migratetype } => {
            fill!("mm_page_pcpu_drain", page = page.0, order = order, migratetype = migratetype as u8);
        }
        Event::BulkCall { base, nr_pages } => fill!("bulk_call", base = base, nr_pages = nr_pages),
        Event::Slice { base } => fill!("slice", base = base),
        Event::BulkReturn { ret } => fill!("bulk_return", ret = ret),
        Event::BulkZone { zone } => fill!("bulk_zone", zone = zone),
        Event::BulkSingle { reason: why } => fill!("bulk_single", reason = reason(why)),
        Event::WakeKswapd { nid } => fill!("wake_kswapd", nid = nid),
        Event::DirectReclaim { progress } => fill!("direct_reclaim", progress = progress),
        Event::KswapdRun { nid, reclaimed } => fill!("kswapd_run", nid = nid, reclaimed = reclaimed),
        Event::OomKill { pages } => fill!("oom_kill", pages = pages),
        Event::DeadEnd { why } => fill!("dead_end", why = dead_end(why)),
        Event::FailureReport { order, gfp } => fill!("failure_report", order = order, gfp = gfp.0),
        _ => fill!("other"),
    }
    Ok(d)
}
