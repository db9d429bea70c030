//! `fs/btrfs/extent_io.c`: the diff makes `btrfs_alloc_page_array()` compact its array and pass the rest.

use crate::common::*;
use bulkpages_callers::holes::BtrfsShape;
use bulkpages_callers::ports::btrfs::{BtrfsAllocPageArray as Btrfs, NOFAIL};
use bulkpages_callers::{CallerResult, Form, Ret};

const FORMS: [Form; 3] = [Form::Before, Form::After, Form::V3];

fn fill(shape: &str, budget: Option<i64>, form: Form) -> (CallerResult, String) {
    let m = machine();
    let slots = array(&m, shape);
    let held = shape.matches('x').count() as u64;
    let r = run::<Btrfs>(&mut env_with(&m, budget), &slots, slots.len(), form).unwrap();
    assert_no_leak(&m, allocated(&m) - picture(&slots).matches('x').count() as u64, &slots, &r);
    if r.ret == Ret::NOMEM {
        let left = picture(&slots).matches('x').count() as u64;
        let got = budget.unwrap_or(0) as u64;
        assert_eq!(left + r.freed, held + got, "every page is in the array or freed");
    }
    (r, picture(&slots))
}

#[test]
fn shapes_that_occur_fill_in_all_forms() {
    for shape in [BtrfsShape::AllNull, BtrfsShape::Full, BtrfsShape::Prefix(5)] {
        for form in FORMS {
            let (r, after) = fill(&shape.shape(16).to_string(), None, form);
            assert_eq!((r.ret, after), (Ret::OK, "x".repeat(16)), "{shape:?} {form:?}");
        }
    }
    for form in FORMS {
        assert_eq!(fill("", None, form).0.ret, Ret::OK);
    }
}

/// The same number of calls for an array without pages, and the same pages freed.
#[test]
fn failure_of_an_empty_array_is_the_same() {
    for (form, calls) in
        [(Form::Before, [(8, 5), (8, 5)]), (Form::After, [(8, 5), (3, 0)]), (Form::V3, [(8, -11), (8, -12)])]
    {
        let (r, after) = fill("........", Some(5), form);
        assert_eq!((r.ret, r.freed, r.calls(), after.as_str()), (Ret::NOMEM, 5, calls.to_vec(), "........"));
        let (r, _) = fill("........", Some(0), form);
        assert_eq!((r.ret, r.freed, r.calls().len()), (Ret::NOMEM, 0, 1));
    }
}

/// Difference 26: the prefix passes for progress once. Difference 27: only the prefix is freed.
#[test]
fn failure_of_a_populated_array() {
    let (r, after) = fill("xx......", Some(0), Form::Before);
    assert_eq!((r.calls(), r.freed, after.as_str()), (vec![(8, 2), (8, 2)], 2, "........"));
    let (r, after) = fill("xx......", Some(0), Form::After);
    assert_eq!((r.calls(), r.freed, after.as_str()), (vec![(6, 0)], 2, "........"));

    let (r, after) = fill("xx.x.x..", Some(0), Form::Before);
    assert_eq!((r.freed, after.as_str()), (2, "...x.x.."));
    for form in [Form::After, Form::V3] {
        let (r, after) = fill("xx.x.x..", Some(0), form);
        assert_eq!((r.freed, after.as_str()), (4, "........"));
    }
}

/// Difference 23: raid56 reads a slot's number as an offset.
#[test]
fn interior_holes_move_pages_after_the_patch() {
    for (form, stays) in [(Form::Before, true), (Form::After, false), (Form::V3, false)] {
        let m = machine();
        let slots = array(&m, "x.xx");
        let old = pages(&slots);
        run_told::<Btrfs>(&mut env(&m), &slots, slots.len(), NOFAIL, form).unwrap();
        let new = pages(&slots);
        assert_eq!(new[2..] == old[2..], stays);
        assert_eq!(new[..3] == [old[0], old[2], old[3]], !stays);
    }
}
