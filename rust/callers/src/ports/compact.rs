//! The compaction that the patch adds to `btrfs_alloc_page_array()` and `svc_alloc_arg()`, once for both.

use bulkpages_core::{Context, Pfn, Slot};

/// Moves the pages of an array to its front, in order, and leaves NULL behind them. Returns how many pages there are.
/// As in the patch, a page that stays where it is gets stored all the same.
#[inline]
pub fn compact(cx: &mut impl Context, slots: &[Slot]) -> usize {
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
        let n = move_run(cx, slots, filled, i);
        filled += n;
        i += n + 1;
    }
    filled
}

/// Moves the pages from slot `from` on, up to the next NULL slot, to slot `to` and behind it. Returns how many.
#[inline]
fn move_run(cx: &mut impl Context, slots: &[Slot], to: usize, from: usize) -> usize {
    let mut n = 0;
    let mut step = |target: &Slot, source: &Slot| {
        let Some(page) = source.look(cx, from + n) else { return false };
        target.write(cx, to + n, page);
        source.write(cx, from + n, Pfn::NULL);
        n += 1;
        true
    };
    // Four at a time, as in `Slot::skip_populated`: the end of the array is asked for once in four slots.
    let (sources, last) = slots[from..].as_chunks::<4>();
    let (targets, _) = slots[to..].as_chunks::<4>();
    let moved = targets.iter().zip(sources).all(|(t, s)| (0..4).all(|k| step(&t[k], &s[k])));
    if moved {
        let done = 4 * sources.len();
        let _ = slots[to + done..].iter().zip(last).all(|(t, s)| step(t, s));
    }
    n
}
