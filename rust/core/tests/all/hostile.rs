//! Arrays that somebody writes to while a call works on them: odd results, and nothing worse.

use crate::kit::booted;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{Event, Probe};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, PageState, Pfn, Slot};

/// Writes `garbage` to every slot whenever the allocator tells something.
struct Scribbler<'a> {
    slots: &'a [Slot],
    garbage: u64,
}

impl Probe for Scribbler<'_> {
    const ON: bool = true;
    fn event(&mut self, _: Event) {
        self.slots.iter().for_each(|slot| slot.set_raw(self.garbage));
    }
}

fn scribbled<'a>(slots: &'a [Slot], garbage: u64) -> Ctx<Scribbler<'a>, bulkpages_core::fault::NoFault> {
    Ctx { cpu: 0, probe: Scribbler { slots, garbage }, fault: bulkpages_core::fault::NoFault }
}

fn filled(m: &Machine<Local>, n: usize) -> (Box<[Slot]>, Vec<Pfn>) {
    let slots = Slot::array(n);
    m.alloc_pages_bulk::<OutputOnly>(&mut Ctx::on(0), Gfp::KERNEL, None, &slots).unwrap();
    let pages = slots.iter().map(Slot::get).collect();
    (slots, pages)
}

/// The pages that are freed are those that were claimed, in an array on the stack (4) and in a longer one (300).
#[test]
fn free_bulk_frees_what_it_claimed() {
    for n in [4, 300] {
        let m = booted(64, |_| {});
        let other = m.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap().unwrap();
        for garbage in [0, 1, u64::from(other.0), u64::from(u32::MAX), u64::MAX] {
            let (slots, pages) = filled(&m, n);
            let before = m.audit().unwrap().allocated;
            assert_eq!(m.free_bulk(&mut scribbled(&slots, garbage), &slots).unwrap(), n);
            assert_eq!(m.audit().unwrap().allocated, before - n as u64, "garbage {garbage}");
            assert!(pages.iter().all(|&page| !matches!(m.page_state(page), PageState::Allocated(_))));
            assert_eq!(m.page_state(other), PageState::Allocated(0), "nobody named it when the call began");
        }
    }
}

/// What a call that allocates took is owned, whatever the slots say.
#[test]
fn bulk_calls_survive_a_scribbled_array() {
    for garbage in [0, 7, u64::MAX] {
        let m = booted(64, |_| {});
        let slots = Slot::array(40);
        let cx = &mut scribbled(&slots, garbage);
        let nid = None;
        let got = m.alloc_pages_bulk::<NullOnly>(cx, Gfp::KERNEL, nid, &slots).unwrap();
        assert!(got <= 40);
        m.audit().unwrap();
        let got = m.alloc_pages_bulk::<OutputOnly>(cx, Gfp::KERNEL, nid, &slots).unwrap();
        assert_eq!(got, 40);
        m.audit().unwrap();
        m.alloc_pages_bulk_refill(cx, Gfp::KERNEL, &slots).unwrap();
        m.audit().unwrap();
    }
}
