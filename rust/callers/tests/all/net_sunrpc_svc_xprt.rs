//! `net/sunrpc/svc_xprt.c`: the diff makes `svc_alloc_arg()` compact its array and count its pages itself.

use crate::common::*;
use bulkpages_callers::holes::{Request, Shape};
use bulkpages_callers::ports::Input;
use bulkpages_callers::ports::run_on;
use bulkpages_callers::ports::svc::{RPCSVC_MAXPAGES, Rqst, SvcAllocArg, svc_init_buffer, svc_pages};
use bulkpages_callers::{CallerResult, Env, Form, Ret};
use bulkpages_core::probe::SingleReason;
use bulkpages_core::{Ctx, Machine, Result, Slot};

fn filled(env: &mut TestEnv<'_>, rqst: &mut Rqst<'_>, form: Form) -> Result<CallerResult> {
    let input = Input::of(rqst.pages);
    run_on::<SvcAllocArg, _>(env, rqst, &input, form)
}

fn alloc_arg(env: &mut TestEnv<'_>, slots: &[Slot], form: Form) -> CallerResult {
    filled(env, &mut Rqst::new(slots, slots.len()), form).unwrap()
}

/// Spec 5.10, line by line: what each form asks of the API, and what comes back.
#[test]
fn micro_example() {
    type Row = (&'static str, Option<i64>, &'static [(usize, i64)], &'static [(usize, i64)]);
    let rows: [Row; 8] = [
        ("........", None, &[(8, 8)], &[(8, 8)]),
        ("xxxxxxxx", None, &[(8, 8)], &[]),
        ("xxxxxxx.", None, &[(8, 8)], &[(1, 1)]),
        (".xxxxxxx", None, &[(8, 8)], &[(1, 1)]),
        ("x.x.x.x.", None, &[(8, 8)], &[(4, 4)]),
        ("x.x.x.x.", Some(2), &[(8, 5), (8, 5)], &[(4, 2), (2, 0)]),
        (".x", None, &[(2, 2)], &[(1, 1)]),
        ("x.", None, &[(2, 2)], &[(1, 1)]),
    ];
    for (shape, budget, before, after) in rows {
        for (form, want) in [(Form::Before, before), (Form::After, after)] {
            let m = machine();
            let slots = array(&m, shape);
            let mut env = env_with(&m, budget);
            env.max_waits = 0;
            let r = alloc_arg(&mut env, &slots, form);
            assert_eq!(r.calls(), want, "{shape} {form:?}");
            assert_eq!(r.gave_up(), budget.is_some());
            if budget.is_none() {
                assert_eq!((r.ret, picture(&slots)), (Ret::Bool(true), "x".repeat(shape.len())));
            }
        }
    }
}

#[test]
fn micro_example_under_failing_branches() {
    let m = machine();
    for (form, calls, at) in [(Form::Before, (8, 2), 1), (Form::After, (4, 1), 4)] {
        let slots = array(&m, "x.x.x.x.");
        let mut env = env(&m);
        env.cx.fault.trylock = true.into();
        let r = alloc_arg(&mut env, &slots, form);
        assert_eq!((r.calls()[0], r.bulk_calls[0].base), (calls, if form == Form::Before { 0 } else { 4 }));
        assert_eq!(singles(&env)[0], SingleReason::Trylock);
        assert!(slots[at].raw() != 0);
    }
    for plan in ["take and single", "prepare"] {
        for (form, first) in [(Form::Before, 1), (Form::After, 0)] {
            let slots = array(&m, "x.x.x.x.");
            let mut env = env_with(&m, (plan == "take and single").then_some(0));
            env.cx.fault.single = (plan == "take and single").into();
            env.cx.fault.prepare = (plan == "prepare").into();
            env.max_waits = 0;
            assert_eq!(alloc_arg(&mut env, &slots, form).calls()[0].1, first, "{plan} {form:?}");
        }
    }
}

/// Differences 23, 24 and 25: the steady state of small RPCs.
#[test]
fn small_rpc_keeps_places_before_and_moves_everything_after() {
    let shape = Request::SmallRpc.shape(RPCSVC_MAXPAGES);
    assert_eq!((shape.prefix(), shape.holes(), shape.moved()), (1, 1, 257));

    let m = machine();
    let slots = shape.fill(&m, 0).unwrap();
    let old = pages(&slots);
    let mut env1 = env(&m);
    let r = alloc_arg(&mut env1, &slots, Form::Before);
    assert_eq!((r.slot_tests, r.slot_writes), (2 + 258, 1));
    assert_eq!((page_alloc_events(&env1), singles(&env1).len()), (0, 0), "one hole in the middle is no single page");
    let new = pages(&slots);
    assert!((0..259).all(|i| i == 1 || new[i] == old[i]));

    let m = machine();
    let slots = shape.fill(&m, 0).unwrap();
    let old = pages(&slots);
    let mut env2 = env(&m);
    let r = alloc_arg(&mut env2, &slots, Form::After);
    assert_eq!((r.slot_tests, r.slot_writes), (259, 258 + 257 + 1));
    assert_eq!((page_alloc_events(&env2), singles(&env2)), (1, vec![SingleReason::OnePage]));
    let new = pages(&slots);
    assert_eq!(new[0], old[0]);
    assert_eq!(new[1..258], old[2..259]);
    assert!(!old.contains(&new[258]));

    let m = machine();
    let slots = shape.fill(&m, 0).unwrap();
    let r = alloc_arg(&mut env(&m), &slots, Form::Tracked);
    assert_eq!((r.slot_tests, r.slot_writes, r.calls(), r.bulk_calls[0].base), (1, 1, vec![(1, 1)], 1));

    let m = machine();
    let slots = shape.fill(&m, 0).unwrap();
    let r = alloc_arg(&mut env(&m), &slots, Form::V3);
    assert_eq!((r.slot_tests, r.slot_writes, r.calls()), (259, 2 * 258 + 1, vec![(259, 0)]));
    assert_eq!(r.ret, Ret::Bool(true));
}

/// Difference 24: a full array.
#[test]
fn full_array() {
    let counts = |form| {
        let m = machine();
        let slots = Shape::full(259).fill(&m, 0).unwrap();
        let r = alloc_arg(&mut env(&m), &slots, form);
        (r.slot_tests, r.slot_writes, r.calls())
    };
    assert_eq!(counts(Form::Before), (259, 0, vec![(259, 259)]));
    assert_eq!(counts(Form::After), (259, 259, vec![]));
    assert_eq!(counts(Form::Tracked), (0, 0, vec![]));
    assert_eq!(counts(Form::V3), (259, 518, vec![(259, 0)]));
}

/// Differences 26 and 28: what a first failure looks like, and what the trace line says.
#[test]
fn failure_with_a_populated_prefix() {
    let lines = |form| {
        let m = machine();
        let slots = array(&m, "xx.xx...");
        let mut env = env_with(&m, Some(0));
        env.max_waits = 3;
        let r = alloc_arg(&mut env, &slots, form);
        assert_eq!((r.ret, r.waits, r.jiffies, r.trace.len()), (Ret::GaveUp, 3, 3, 3));
        (r.calls().len(), r.trace[0].clone())
    };
    assert_eq!(lines(Form::Before), (5, "svc_alloc_arg_err: requested=8 allocated=2".into()));
    assert_eq!(lines(Form::After), (4, "svc_alloc_arg_err: requested=8 allocated=4".into()));
    assert_eq!(lines(Form::V3), (4, "svc_alloc_arg_err: requested=8 ret=-12".into()));
    assert_eq!(lines(Form::Tracked), (4, "svc_alloc_arg_err: requested=6 allocated=0".into()));
}

/// Difference 29 (and 8): the extra call that allocates nothing.
#[test]
fn termination_after_a_single_page() {
    let calls = |form| {
        let m = machine();
        let slots = array(&m, "x.xx");
        let mut env = env(&m);
        env.cx.fault.trylock = true.into();
        let r = alloc_arg(&mut env, &slots, form);
        assert_eq!(r.ret, Ret::Bool(true));
        r.calls()
    };
    assert_eq!(calls(Form::Before), [(4, 2), (4, 4)]);
    assert_eq!(calls(Form::After), [(1, 1)]);
}

/// Difference 30: the last page of a fill in several calls takes the single-page path in both forms.
#[test]
fn last_page_is_single_in_both_forms() {
    for form in [Form::Before, Form::After] {
        let m = machine();
        let slots = array(&m, "....");
        let mut env = env(&m);
        env.cx.fault.trylock = true.into();
        let r = alloc_arg(&mut env, &slots, form);
        assert_eq!(r.calls().len(), 4);
        use SingleReason::{OnePage, Trylock};
        assert_eq!(singles(&env), [Trylock, Trylock, Trylock, OnePage]);
    }
}

#[test]
fn stop_request_ends_the_thread_and_leaves_the_pages() {
    for form in [Form::Before, Form::After, Form::Tracked, Form::V3] {
        let m = machine();
        let slots = array(&m, "x..x");
        let before = allocated(&m);
        let mut env = env_with(&m, Some(0));
        env.hooks.stop = bulkpages_core::fault::When::after(2);
        let r = alloc_arg(&mut env, &slots, form);
        assert_eq!((r.ret, r.waits, r.trace.len(), r.freed), (Ret::Bool(false), 2, 2, 0), "{form:?}");
        assert_eq!(allocated(&m), before);
    }
}

#[test]
fn every_form_fills_every_request_without_a_leak() {
    for request in Request::MIX {
        for form in Form::ALL {
            let m = machine();
            let none = allocated(&m);
            let slots = request.shape(RPCSVC_MAXPAGES).fill(&m, 0).unwrap();
            let r = alloc_arg(&mut env(&m), &slots, form);
            assert_eq!((r.ret, r.waits), (Ret::Bool(true), 0), "{request:?} {form:?}");
            assert!(slots.iter().all(|s| s.raw() != 0));
            assert_no_leak(&m, none, &slots, &r);
        }
    }
}

#[test]
fn sizes_and_the_sentinel() {
    assert_eq!([1 << 20, 512 << 10, 256 << 10].map(|p| svc_pages(p + 4096)), [259, 131, 67]);
    assert_eq!((svc_pages(8192), svc_pages(8 << 20)), (4, 259));
    let m = machine();
    let slots = Slot::array(260);
    assert!(svc_init_buffer(&mut env(&m), &slots, (1 << 20) + 4096, Form::Before).unwrap());
    assert_eq!(Shape::of(&slots).prefix(), 258);
    for form in [Form::Before, Form::After] {
        let mut env = env(&m);
        slots[258].set(bulkpages_core::Pfn::NULL);
        let mut rqst = Rqst::new(&slots, 300.min(slots.len()));
        let r = filled(&mut env, &mut rqst, form).unwrap();
        assert_eq!((r.calls().len(), r.stat("capped"), singles(&env)), (1, 1, vec![SingleReason::OnePage]));
        assert_eq!((rqst.rq_page_end, rqst.page_len, slots[259].raw()), (259, 257 * 4096, 0));
    }
    let none = machine();
    let empty = Slot::array(260);
    assert!(!svc_init_buffer(&mut env_with(&none, Some(5)), &empty, (1 << 20) + 4096, Form::After).unwrap());
    assert_eq!(allocated(&none), 0);
}

/// Nobody looks: nothing is recorded, and the result is the same.
#[test]
fn unobserved_runs_record_nothing() {
    for form in Form::ALL {
        let (seen, unseen): (Machine, Machine) = (machine(), machine());
        let shape = Request::SmallRpc.shape(64);
        let (a, b) = (shape.fill(&seen, 0).unwrap(), shape.fill(&unseen, 0).unwrap());
        alloc_arg(&mut env(&seen), &a, form);
        let mut native = Env::new(&unseen, Ctx::on(0), bulkpages_callers::env::NoHooks).unwrap();
        bulkpages_callers::ports::svc::svc_alloc_arg(&mut native, &mut Rqst::new(&b, 64), form).unwrap();
        assert_eq!(pages(&a), pages(&b));
        assert!(native.log.bulk_calls.is_empty() && native.log.trace.is_empty());
    }
}

#[test]
fn bad_arguments_change_nothing() {
    let m = machine();
    let slots = array(&m, "x.");
    let before = pages(&slots);
    let e = filled(&mut env(&m), &mut Rqst::new(&slots, 3), Form::Before).unwrap_err();
    assert_eq!(e.to_string(), "pages 3 is above the 2 slots there are");
    let mut rqst = Rqst { consumed: Some(1..9), ..Rqst::new(&slots, 2) };
    assert!(filled(&mut env(&m), &mut rqst, Form::Tracked).is_err());
    assert_eq!(pages(&slots), before);
}

/// Spec A.7: slots and first pages by message size.
#[test]
fn pages_by_message_size() {
    for (sv_max_mesg, init, pages) in [(1_052_672, 258, 259), (528_384, 130, 131), (266_240, 66, 67), (8_192, 3, 4)] {
        assert_eq!(svc_pages(sv_max_mesg), pages);
        let m = machine();
        let slots = Slot::array(RPCSVC_MAXPAGES + 1);
        assert!(svc_init_buffer(&mut env(&m), &slots, sv_max_mesg, Form::Before).unwrap());
        assert_eq!(slots.iter().filter(|s| s.raw() != 0).count(), init);
    }
}
