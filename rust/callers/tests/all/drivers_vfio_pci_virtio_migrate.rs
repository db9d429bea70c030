//! `drivers/vfio/pci/virtio/migrate.c`: the diff drops the clearing of the page list between rounds.

use crate::common::*;
use bulkpages_callers::ports::virtio_migrate::VirtiovfAddMigrationPages as Vfio;
use bulkpages_callers::{Form, Ret};
use bulkpages_core::Slot;
use bulkpages_core::probe::{Event, SingleReason};

const FORMS: [Form; 3] = [Form::Before, Form::After, Form::V3];

#[test]
fn only_the_clearing_goes() {
    let mut got = Vec::new();
    for form in FORMS {
        let m = machine();
        let r = run::<Vfio>(&mut env(&m), &[], 1300, form).unwrap();
        assert_eq!((r.ret, r.calls()), (Ret::OK, vec![(512, 512), (512, 512), (276, 276)]));
        assert_eq!(r.slot_clears, if form == Form::Before { 1300 } else { 0 });
        assert_eq!(r.slot_tests, if form == Form::Before { 1300 + 3 } else { 0 });
        assert_eq!((r.slot_writes, r.stat("allocated_length")), (1300, 1300 * 4096));
        assert_no_leak(&m, 0, r.array.as_ref().unwrap(), &r);
        got.push(pages(r.array.as_ref().unwrap()));
    }
    assert_eq!((&got[0], &got[0]), (&got[1], &got[2]), "the same pages in the same order");
}

#[test]
fn failures() {
    for form in FORMS {
        let m = machine();
        let r = run::<Vfio>(&mut env(&m), &[], 0, form).unwrap();
        assert_eq!((r.ret, r.calls()), (Ret::NOMEM, vec![(0, 0)]));

        let r = run::<Vfio>(&mut env_with(&m, Some(600)), &[], 1300, form).unwrap();
        assert_eq!(
            (r.ret, r.freed, r.array.as_ref().unwrap().len()),
            (Ret::NOMEM, 0, 600),
            "the table keeps its pages"
        );
        assert_eq!(r.calls(), [(512, 512), (512, 88), (512, 0)]);
        m.free_bulk(&mut bulkpages_core::Ctx::on(0), r.array.as_ref().unwrap()).unwrap();

        let mut e = env(&m);
        e.hooks.appends = bulkpages_core::fault::When::after(1);
        let r = run::<Vfio>(&mut e, &[], 1300, form).unwrap();
        assert_eq!((r.ret, r.freed, r.stat("allocated_length")), (Ret::NOMEM, 512, 512 * 4096));
        assert_eq!(allocated(&m), 512);
        let written: Vec<_> =
            e.cx.probe
                .inner
                .iter()
                .filter_map(|e| match e {
                    Event::SlotWrite { page, .. } => Some(*page),
                    _ => None,
                })
                .collect();
        let freed: Vec<_> =
            e.cx.probe
                .inner
                .iter()
                .filter_map(|e| match e {
                    Event::PageFree { page, .. } => Some(*page),
                    _ => None,
                })
                .collect();
        assert!(freed.iter().eq(written[512..].iter().rev()), "the last page of the batch goes first");
        m.free_bulk(&mut bulkpages_core::Ctx::on(0), r.array.as_ref().unwrap()).unwrap();
    }
}

#[test]
fn memory_cgroups_make_it_one_page_per_call() {
    for form in FORMS {
        let mut m = machine();
        m.set_memcg(true);
        let mut e = env(&m);
        let r = run::<Vfio>(&mut e, &[], 5, form).unwrap();
        let calls: Vec<_> = (1..=5).rev().map(|n| (n, 1)).collect();
        assert_eq!((r.ret, r.calls()), (Ret::OK, calls));
        assert_eq!(singles(&e), [SingleReason::Memcg; 5]);
        assert!(r.array.as_ref().is_some_and(|a| a.iter().all(|s: &Slot| s.raw() != 0)));
    }
}
