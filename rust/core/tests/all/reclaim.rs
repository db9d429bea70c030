//! The slow path with something to reclaim: what each flag makes of it, and that no page is lost.

use crate::kit::{count, watched};
use bulkpages_core::boot::BootSpec;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{DeadEnd, Event};
use bulkpages_core::reclaim::{ReclaimModel, SWAP_CLUSTER_MAX};
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Pfn};

/// A machine of 32 MiB with this model.
fn machine(model: ReclaimModel) -> Machine<Local> {
    let m = Machine::boot(&BootSpec::new(8_192, 1, 1)).unwrap();
    m.set_reclaim(&mut watched(), model).unwrap();
    m
}

/// Takes pages with `gfp` until there are none, without touching what could be reclaimed.
fn use_up(m: &Machine<Local>) -> Vec<Pfn> {
    let gfp = Gfp(Gfp::KERNEL.0 & !(Gfp::DIRECT_RECLAIM.0 | Gfp::KSWAPD_RECLAIM.0) | Gfp::MEMALLOC.0 | Gfp::NOWARN.0);
    let mut pages = Vec::new();
    while let Some(page) = m.alloc_pages(&mut watched(), gfp, 0, None).unwrap() {
        pages.push(page);
    }
    pages
}

fn no_kswapd(file_pages: u64) -> ReclaimModel {
    ReclaimModel { file_pages, kswapd_delay_ns: None, ..ReclaimModel::default() }
}

#[test]
fn direct_reclaim_frees_a_cluster_and_counts_it() {
    let m = machine(ReclaimModel { efficiency: 50, latency_ns: 1_000, ..no_kswapd(1_000) });
    use_up(&m);
    let mut cx = watched();
    let page = m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap();
    let info = m.reclaim_info();
    assert!(page.is_some());
    let runs = count(&cx.probe, |e| matches!(e, Event::DirectReclaim { .. })) as u64;
    assert!(runs > 0);
    assert_eq!(info.events.pgsteal_direct, runs * SWAP_CLUSTER_MAX);
    assert_eq!(info.events.pgscan_direct, 2 * info.events.pgsteal_direct, "half of what is scanned is reclaimed");
    assert_eq!(info.file_pages, 1_000 - info.events.pgsteal_direct);
    assert_eq!(info.now_ns, runs * 1_000);
    assert_eq!(m.vm_events().allocstall[2], runs, "one stall for each run that freed something");
    m.audit().unwrap();
}

#[test]
fn a_request_that_may_not_reclaim_fails_with_page_cache_at_hand() {
    for gfp in [Gfp::NOWAIT, Gfp::ATOMIC] {
        let m = machine(no_kswapd(1_000));
        use_up(&m);
        let mut cx = watched();
        assert_eq!(m.alloc_pages(&mut cx, gfp, 0, None).unwrap(), None);
        assert_eq!(count(&cx.probe, |e| matches!(e, Event::WakeKswapd { .. })), 2, "{gfp:?} wakes kswapd twice");
        assert_eq!(m.reclaim_info().events.pgsteal_direct, 0);
    }
}

/// NORETRY reclaims once; a request that may retry goes on until nothing is left to reclaim.
#[test]
fn noretry_tries_once() {
    let tries = |gfp: Gfp| {
        let m = machine(no_kswapd(0));
        use_up(&m);
        let mut cx = watched();
        assert_eq!(m.alloc_pages(&mut cx, gfp, 0, None).unwrap(), None);
        count(&cx.probe, |e| matches!(e, Event::DirectReclaim { .. }))
    };
    assert_eq!(tries(Gfp::KERNEL | Gfp::NORETRY), 1);
    assert!(tries(Gfp::KERNEL) >= 1);
}

/// What the kernel would not let fail ends here, and says why.
#[test]
fn dead_ends_are_named() {
    for (gfp, why) in [
        (Gfp::KERNEL, Some(DeadEnd::Panic)),
        (Gfp::NOFS, Some(DeadEnd::NoFs)),
        (Gfp::KERNEL | Gfp::NOFAIL, Some(DeadEnd::NoFail)),
        (Gfp::KERNEL | Gfp::RETRY_MAYFAIL, None),
        (Gfp::KERNEL | Gfp::NORETRY, None),
    ] {
        let m = machine(no_kswapd(0));
        use_up(&m);
        let mut cx = watched();
        assert_eq!(m.alloc_pages(&mut cx, gfp, 0, None).unwrap(), None, "{gfp:?}");
        let got = cx.probe.iter().find_map(|e| match e {
            Event::DeadEnd { why } => Some(*why),
            _ => None,
        });
        assert_eq!(got, why, "{gfp:?}");
        let reports = u64::from(why.is_none());
        assert_eq!(m.reclaim_info().failure_reports, reports, "{gfp:?}: only a request that fails is reported");
    }
}

#[test]
fn the_oom_killer_takes_the_largest_task_and_only_for_requests_with_file_systems() {
    let model = || ReclaimModel { tasks: vec![500, 3_000, 1_000], ..no_kswapd(0) };
    let m = machine(model());
    use_up(&m);
    let mut cx = watched();
    assert!(m.alloc_pages(&mut cx, Gfp::KERNEL, 0, None).unwrap().is_some());
    let killed: Vec<u64> = cx
        .probe
        .iter()
        .filter_map(|e| match e {
            Event::OomKill { pages } => Some(*pages),
            _ => None,
        })
        .collect();
    assert_eq!(killed.first(), Some(&3_000));
    assert_eq!(m.reclaim_info().tasks, 3 - killed.len());
    m.audit().unwrap();

    let m = machine(model());
    use_up(&m);
    assert_eq!(m.alloc_pages(&mut watched(), Gfp::NOFS, 0, None).unwrap(), None);
    assert_eq!(m.reclaim_info().tasks, 3);
}

#[test]
fn kswapd_runs_when_its_delay_is_over_and_stops_when_balanced() {
    let m = machine(ReclaimModel { file_pages: 3_000, kswapd_delay_ns: Some(5_000), ..ReclaimModel::default() });
    let taken = use_up(&m);
    let mut cx = watched();
    assert_eq!(m.alloc_pages(&mut cx, Gfp::ATOMIC, 0, None).unwrap(), None);
    assert_eq!(m.reclaim_info().kswapd_pending, 1);
    m.advance(&mut cx, 4_999);
    assert_eq!(m.reclaim_info().events.pageoutrun, 0);
    m.advance(&mut cx, 1);
    let info = m.reclaim_info();
    assert_eq!((info.events.pageoutrun, info.kswapd_pending), (1, 0));
    assert!(info.events.pgsteal_kswapd > 0 && info.file_pages > 0, "it stopped before everything was gone: {info:?}");
    assert!(m.alloc_pages(&mut cx, Gfp::ATOMIC, 0, None).unwrap().is_some());
    for page in taken {
        m.free_pages(&mut cx, page, 0).unwrap();
    }
    m.audit().unwrap();
}

#[test]
fn kswapd_gives_up_after_sixteen_fruitless_runs() {
    let m = machine(ReclaimModel::default());
    use_up(&m);
    let mut cx = watched();
    for _ in 0..20 {
        assert_eq!(m.alloc_pages(&mut cx, Gfp::ATOMIC, 0, None).unwrap(), None);
    }
    let info = m.reclaim_info();
    assert_eq!((info.events.pageoutrun, info.unreclaimable_nodes), (16, 1));
}

#[test]
fn what_the_model_owns_comes_back() {
    let m = machine(ReclaimModel { tasks: vec![50], ..no_kswapd(500) });
    assert_eq!(m.audit().unwrap().allocated, 550);
    m.clear_reclaim(&mut watched()).unwrap();
    assert_eq!(m.audit().unwrap().allocated, 0);
    let asked = m.set_reclaim(&mut watched(), no_kswapd(1_000_000));
    assert!(asked.unwrap_err().to_string().contains("1000000"));
    assert_eq!(m.audit().unwrap().allocated, 0);
}

/// A batch of frees takes the per-CPU lock once, where single frees take it once each.
#[test]
fn folios_are_freed_in_batches() {
    let m = machine(no_kswapd(0));
    let pages: Vec<Pfn> =
        (0..40).map(|_| m.alloc_pages(&mut watched(), Gfp::KERNEL, 0, None).unwrap().unwrap()).collect();
    let mut cx = watched();
    assert_eq!(m.free_unref_folios(&mut cx, &pages), 40);
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::PcpTrylock { .. })), 2, "31 and 9");
    assert_eq!(count(&cx.probe, |e| matches!(e, Event::PageFreeBatched { .. })), 40);
    assert_eq!(m.free_unref_folios(&mut cx, &pages), 0, "nobody owns them any more");
    m.audit().unwrap();
}
