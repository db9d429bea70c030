//! The compaction that the patch adds to `btrfs_alloc_page_array()` and `svc_alloc_arg()`, once for both (spec 8.7).

use bulkpages_core::Slot;
use bulkpages_core::fault::Ctx;
use bulkpages_core::pfn::Pfn;
use bulkpages_core::probe::Probe;

/// Moves the pages of an array to its front, in order, and leaves NULL behind them. Returns how many pages there are.
/// As in the patch, a page that stays where it is gets stored all the same.
#[inline]
pub fn compact<P: Probe, F>(cx: &mut Ctx<P, F>, slots: &[Slot]) -> usize {
    let mut filled = 0;
    // Up to the first hole source and target are one slot; from there on they never are again.
    for (i, slot) in slots.iter().enumerate() {
        let Some(page) = slot.look(cx, i) else { break };
        slot.write(cx, i, page);
        filled = i + 1;
    }
    let mut i = filled + 1;
    while i < slots.len() {
        // The next run of pages moves down by the number of holes in front of it.
        let mut n = 0;
        for (target, source) in slots[filled..].iter().zip(&slots[i..]) {
            let Some(page) = source.look(cx, i + n) else { break };
            target.write(cx, filled + n, page);
            source.write(cx, i + n, Pfn::NULL);
            n += 1;
        }
        filled += n;
        i += n + 1;
    }
    filled
}
