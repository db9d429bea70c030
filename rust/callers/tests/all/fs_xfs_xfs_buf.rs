//! `fs/xfs/xfs_buf.c`: the diff makes `xfs_buf_alloc_pages()` pass the rest of its array after each call.

use crate::common::*;
use bulkpages_callers::ports::Flags;
use bulkpages_callers::ports::xfs::{READ_AHEAD, XfsBufAllocPages as Xfs, ZEROED, gfp};
use bulkpages_callers::{Form, Ret};
use bulkpages_core::gfp::Gfp;

const READ: Flags = Flags::NONE;

#[test]
fn flags() {
    assert_eq!(gfp(READ), Gfp(0x2cc0));
    assert_eq!(gfp(READ_AHEAD), Gfp(0x1_2cc0));
    assert_eq!(gfp(ZEROED), Gfp(0x2dc0));
}

#[test]
fn success_is_the_same() {
    let mut got = Vec::new();
    for form in [Form::Before, Form::After] {
        let m = machine();
        let r = run_told::<Xfs>(&mut env(&m), &[], 16, READ, form).unwrap();
        assert_eq!((r.ret, r.calls(), r.stat("xb_page_found")), (Ret::OK, vec![(16, 16)], 1));
        got.push(pages(r.array.as_ref().unwrap()));
    }
    assert_eq!(got[0], got[1], "the same pages in the same slots");
}

#[test]
fn partial_progress_changes_what_is_passed_next() {
    for (form, calls) in [
        (Form::Before, vec![(16, 5), (16, 5), (16, 5), (16, 5)]),
        (Form::After, vec![(16, 5), (11, 0), (11, 0), (11, 0)]),
    ] {
        let m = machine();
        let mut e = env_with(&m, Some(5));
        e.max_waits = 2;
        let r = run_told::<Xfs>(&mut e, &[], 16, READ, form).unwrap();
        assert_eq!((r.ret, r.calls(), r.waits, r.jiffies), (Ret::GaveUp, calls, 2, 2));
        assert_eq!((r.stat("xb_page_retries"), r.stat("xb_page_found"), r.freed), (2, 0, 0));
        assert_no_leak(&m, 0, r.array.as_ref().unwrap(), &r);
    }
}

#[test]
fn read_ahead_gives_up_and_frees() {
    for form in [Form::Before, Form::After] {
        let m = machine();
        let r = run_told::<Xfs>(&mut env_with(&m, Some(5)), &[], 16, READ_AHEAD, form).unwrap();
        assert_eq!((r.ret, r.waits, r.freed, r.stat("reclaimed_pages")), (Ret::NOMEM, 0, 5, 16));
        assert_eq!((r.stat("xb_page_retries"), allocated(&m)), (0, 0));
    }
}

#[test]
fn forms_and_pointer_arrays() {
    let m = machine();
    let e = run_told::<Xfs>(&mut env(&m), &[], 4, READ, Form::V3).unwrap_err();
    assert_eq!(e.to_string(), "form \"v3\" does not exist: this caller has before, after");
    for (count, ret) in [(2, Ret::OK), (3, Ret::NOMEM)] {
        let mut env = env(&m);
        env.hooks.arrays = bulkpages_core::fault::When::after(0);
        assert_eq!(
            run_told::<Xfs>(&mut env, &[], count, READ, Form::After).unwrap().ret,
            ret,
            "small arrays are inline"
        );
    }
}
