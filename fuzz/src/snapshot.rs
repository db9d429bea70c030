//! A text is a state: refused, or a machine that stays sound.

use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Slot};

/// One input.
pub(crate) fn one(data: &[u8]) {
    let Ok(snapshot) = serde_json::from_slice::<Snapshot>(data) else { return };
    // Larger machines are legal; an audit of every frame would only be slow.
    if snapshot.zones.iter().any(|z| z.start.saturating_add(z.spanned) > 1 << 20) {
        return;
    }
    let Ok(m) = Machine::<Local>::from_snapshot(&snapshot) else { return };
    let out = m.snapshot();
    let again = Machine::<Local>::from_snapshot(&out).expect("what came out goes in");
    assert_eq!(again.snapshot(), out, "and comes out as it was");
    for cpu in 0..m.cpus().min(4) {
        let cx = &mut Ctx::on(cpu);
        let slots = Slot::array(40);
        m.alloc_pages_bulk::<NullOnly>(cx, Gfp::KERNEL, None, &slots[..20]).expect("a legal request");
        m.alloc_pages_bulk::<OutputOnly>(cx, Gfp::NOWAIT, None, &slots[20..]).expect("a legal request");
        let block = m.alloc_pages(cx, Gfp::KERNEL, 3, None).expect("a legal request");
        m.audit().expect("a sound machine");
        for slot in slots.iter().filter(|s| !s.get().is_null()) {
            m.free_pages(cx, slot.get(), 0).expect("a page that was handed out");
        }
        if let Some(pfn) = block {
            m.free_pages(cx, pfn, 3).expect("a block that was handed out");
        }
        m.drain_local_pages(cx).expect("a CPU of the machine");
        m.audit().expect("a sound machine");
    }
}
