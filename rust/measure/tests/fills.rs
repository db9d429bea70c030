//! Fills by callers: what they do is exact, whatever they cost.

use bulkpages_callers::Form;
use bulkpages_callers::holes::{Request, Shape};
use bulkpages_callers::ports::{Array, Caller};
use bulkpages_core::Machine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::sync::Local;
use bulkpages_measure::{Fill, Filler, Windows};

fn machine() -> Machine<Local> {
    Machine::boot(&BootSpec::new(1 << 15, 1, 1)).unwrap()
}

fn fill(filler: Filler, form: Form, shape: Shape) -> Fill {
    Fill { filler, form, shape, cold: false, trylock_loss: 0.0, seed: 0 }
}

#[test]
fn every_caller_in_every_form_fills_and_gives_back() {
    let machine = machine();
    for filler in Filler::all() {
        let shape = match filler {
            Filler::Core => Shape::periodic(40, 4),
            Filler::Caller(caller) => match caller.info().array {
                Array::Given => Shape::periodic(40, 4),
                Array::Prefix => Shape::prefix_of(40, 16),
                Array::Own => Shape::empty(40),
            },
        };
        for &form in filler.forms() {
            let before = machine.audit().unwrap().allocated;
            let sample = fill(filler, form, shape.clone()).run(&machine, 7).unwrap();
            assert_eq!(sample.pages, 7 * shape.holes() as u64, "{} {}", filler.name(), form.name());
            assert_eq!(machine.audit().unwrap().allocated, before, "{} {}", filler.name(), form.name());
        }
    }
}

#[test]
fn counts_of_the_small_rpc() {
    let machine = machine();
    let count =
        |form| fill(Filler::Caller(Caller::Svc), form, Request::SmallRpc.shape(259)).count(&machine, 1).unwrap().0;
    let before = count(Form::Before);
    // Two loads before the lock and 258 under it; one store.
    assert_eq!((before.slot_tests, before.slot_writes, before.bulk_calls), (260, 1, 1));
    let after = count(Form::After);
    // Every slot is read; 258 pages are stored, 257 of them moved, which leaves a NULL each; then the new page.
    assert_eq!((after.slot_tests, after.slot_writes), (259, 258 + 257 + 1));
    let tracked = count(Form::Tracked);
    assert_eq!((tracked.slot_tests, tracked.slot_writes), (1, 1));
}

#[test]
fn page_owner_makes_v1_quadratic() {
    let mut machine = machine();
    machine.set_page_owner(true);
    let tests =
        |form| fill(Filler::Caller(Caller::Svc), form, Shape::empty(259)).count(&machine, 1).unwrap().0.slot_tests;
    assert_eq!(tests(Form::Before), 259 * 260 / 2);
    assert_eq!(tests(Form::After), 259);
}

#[test]
fn lost_trylocks_are_the_share_that_was_asked_for() {
    let machine = machine();
    let mut lossy = fill(Filler::Core, Form::After, Shape::empty(8));
    for (share, low, high) in [(0.0, 0, 0), (0.25, 200, 300), (1.0, 1, u64::MAX)] {
        lossy.trylock_loss = share;
        let (counts, _) = lossy.count(&machine, 1000).unwrap();
        let failed = counts.trylock_failures * 1000 / counts.trylocks;
        assert!((low..=high).contains(&failed), "{share}: {failed} of 1000");
    }
    machine.audit().unwrap();
}

#[test]
fn windows_hold_what_the_form_does_under_the_lock() {
    let machine = machine();
    let windows = |form, shape: Shape| {
        let mut windows = Windows::default();
        fill(Filler::Caller(Caller::Svc), form, shape).observe(&machine, &mut windows, 3).unwrap();
        assert_eq!(windows.fills.len(), 3);
        windows.fills[2]
    };
    // Two holes at the front: v1 walks the rest under the lock, v2 has compacted before.
    let shape = Shape::new(259, |i| i < 2);
    let before = windows(Form::Before, shape.clone());
    assert_eq!((before.pcp_tests, before.pcp_pages, before.tests_outside), (259, 2, 1));
    let after = windows(Form::After, shape);
    assert_eq!((after.pcp_tests, after.pcp_pages, after.tests_outside), (0, 2, 259));
    assert!(before.pcp >= before.pcp_longest && before.up_longest >= before.pcp_longest);
}

#[test]
fn what_does_not_fit_is_refused() {
    let machine = machine();
    let allocated = machine.audit().unwrap().allocated;
    for (filler, form, shape) in [
        (Filler::Caller(Caller::Xfs), Form::V3, Shape::empty(4)),
        (Filler::Caller(Caller::Xfs), Form::Before, Shape::prefix_of(4, 1)),
        (Filler::Caller(Caller::Erofs), Form::Before, Shape::periodic(4, 2)),
        (Filler::Core, Form::Tracked, Shape::empty(4)),
        (Filler::Core, Form::Before, Shape::empty(0)),
        (Filler::Core, Form::Before, Shape::empty(1 << 17)),
    ] {
        assert!(fill(filler, form, shape).run(&machine, 1).is_err());
        assert_eq!(machine.audit().unwrap().allocated, allocated);
    }
}
