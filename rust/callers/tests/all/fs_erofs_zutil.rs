//! `fs/erofs/zutil.c`: the diff makes `z_erofs_gbuf_growsize()` pass the rest of its array; nothing else changes.

use crate::common::*;
use bulkpages_callers::ports::erofs::{Gbufs, ZErofsGbufGrowsize as Erofs, z_erofs_gbuf_growsize};
use bulkpages_callers::{Form, Ret};

const FORMS: [Form; 3] = [Form::Before, Form::After, Form::V3];

#[test]
fn growth_is_the_same_and_the_mark_is_lower() {
    for (form, call) in [(Form::Before, (64, 64)), (Form::After, (48, 48)), (Form::V3, (64, 0))] {
        let m = machine();
        let r = run::<Erofs>(&mut env(&m), &array(&m, &"x".repeat(16)), 64, form).unwrap();
        assert_eq!((r.ret, r.calls()), (Ret::OK, vec![call]));
        assert_no_leak(&m, 0, r.array.as_ref().unwrap(), &r);
        assert_eq!(picture(r.array.as_ref().unwrap()), "x".repeat(64));
    }
}

#[test]
fn failures_free_what_is_new_and_keep_what_was_there() {
    for form in FORMS {
        for budget in [0, 1, 7, 47] {
            let m = machine();
            let r = run::<Erofs>(&mut env_with(&m, Some(budget)), &array(&m, &"x".repeat(16)), 64, form).unwrap();
            assert_eq!((r.ret, r.freed), (Ret::NOMEM, budget as u64), "{form:?}");
            assert_eq!(r.calls().len(), if budget == 0 { 1 } else { 2 }, "one attempt when the first brings nothing");
            assert_eq!(r.array.as_ref().unwrap().len(), 16);
            assert_eq!(allocated(&m), 16);
        }
        let m = machine();
        let mut e = env(&m);
        e.hooks.vmaps = bulkpages_core::fault::When::after(0);
        let r = run::<Erofs>(&mut e, &array(&m, &"x".repeat(16)), 64, form).unwrap();
        assert_eq!((r.ret, r.freed, allocated(&m)), (Ret::NOMEM, 48, 16));
        e.hooks.vmaps = false.into();
        e.hooks.arrays = bulkpages_core::fault::When::after(0);
        let r = run::<Erofs>(&mut e, &[], 64, form).unwrap();
        assert_eq!((r.ret, r.freed, r.calls()), (Ret::NOMEM, 0, vec![]));
    }
}

#[test]
fn buffers_grown_before_a_failure_stay_and_nothing_shrinks() {
    for form in FORMS {
        let m = machine();
        let mut gbufs = Gbufs::new(3);
        let mut e = env_with(&m, Some(20));
        assert_eq!(z_erofs_gbuf_growsize(&mut e, &mut gbufs, 8, form).unwrap(), Ret::NOMEM);
        assert_eq!((gbufs.nrpages, allocated(&m)), (0, 16));
        assert_eq!(gbufs.bufs.iter().map(|b| b.len()).collect::<Vec<_>>(), [8, 8, 0]);
        let mut e = env(&m);
        assert_eq!(z_erofs_gbuf_growsize(&mut e, &mut gbufs, 8, form).unwrap(), Ret::OK);
        assert_eq!((e.log.bulk_calls.len(), gbufs.nrpages, allocated(&m)), (1, 8, 24));
        assert_eq!(z_erofs_gbuf_growsize(&mut e, &mut gbufs, 4, form).unwrap(), Ret::OK);
        assert_eq!((e.log.bulk_calls.len(), gbufs.nrpages), (1, 8));
    }
}
