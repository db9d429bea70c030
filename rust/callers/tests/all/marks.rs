//! Spec 8.9: what each caller asks the watermark gate for. Free pages are brought to `LOW + n` or little below, so that a call of
//! n slots is refused and one of less is not.

use crate::common::*;
use bulkpages_callers::Form;
use bulkpages_callers::ports::btrfs::BtrfsAllocPageArray;
use bulkpages_callers::ports::erofs;
use bulkpages_callers::ports::svc::SvcAllocArg;
use bulkpages_callers::ports::virtio_migrate::VirtiovfAddMigrationPages;
use bulkpages_callers::ports::xfs::XfsBufAllocPages;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::SingleReason::{self, OnePage, Watermark};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Slot};

/// Zone indices.
const ZONE_DMA: u8 = 0;
const ZONE_DMA32: u8 = 1;

/// Takes pages from the buddy lists, one by one, until the gate sees at most `LOW + above` free pages in DMA32 and
/// nothing to give in DMA. The gate's counter moves in steps, so how many it sees above LOW is returned.
fn press(m: &Machine<Local>, above: i64) -> i64 {
    let mut seen = 0;
    for (idx, gfp, above) in [(ZONE_DMA, Gfp::KERNEL | Gfp::DMA, 0), (ZONE_DMA32, Gfp::KERNEL, above)] {
        let zone = &m.zones()[m.zone_index(0, usize::from(idx)).unwrap()];
        let low = low(m, idx);
        let counter = || m.snapshot().zones.iter().find(|z| z.idx == idx).map(|z| z.nr_free).unwrap();
        m.hold_pcp_lock(0, usize::from(idx), 0, true).unwrap();
        while m.free_pages_exact(zone) > low + above || counter() > low + above {
            m.alloc_pages(&mut Ctx::on(0), gfp, 0, None).unwrap().unwrap();
        }
        m.hold_pcp_lock(0, usize::from(idx), 0, false).unwrap();
        seen = counter() - low;
    }
    seen
}

/// LOW and its boost.
fn low(m: &Machine<Local>, idx: u8) -> i64 {
    m.snapshot().zones.iter().find(|z| z.idx == idx).map(|z| z.low + z.boost).unwrap()
}

fn first_single(env: &TestEnv<'_>) -> Option<SingleReason> {
    singles(env).first().copied()
}

/// With a populated prefix of half the array: the whole counts before, the rest after.
#[test]
fn btrfs_erofs_and_sunrpc_ask_for_less_after() {
    for (form, want) in [(Form::Before, Some(Watermark)), (Form::After, None), (Form::V3, None)] {
        let m = machine();
        let slots = array(&m, "xxxxxxxx........");
        press(&m, 16);
        let mut e = env(&m);
        run::<BtrfsAllocPageArray>(&mut e, &slots, slots.len(), form).unwrap();
        assert_eq!(first_single(&e), want, "btrfs {form:?}");

        let m = machine();
        let slots = array(&m, "xxxxxxxx........");
        press(&m, 16);
        let mut e = env(&m);
        run::<SvcAllocArg>(&mut e, &slots, 16, form).unwrap();
        assert_eq!(first_single(&e), want, "sunrpc {form:?}");

        let m = machine();
        let mut gbufs = erofs::Gbufs { bufs: vec![array(&m, "xxxxxxxx")], nrpages: 8 };
        press(&m, 16);
        let mut e = env(&m);
        erofs::z_erofs_gbuf_growsize(&mut e, &mut gbufs, 16, form).unwrap();
        assert_eq!(first_single(&e), want, "erofs {form:?}");
    }
}

/// An array that starts all NULL is refused in both forms.
#[test]
fn first_calls_on_empty_arrays_ask_for_the_same() {
    for form in [Form::Before, Form::After] {
        let m = machine();
        press(&m, 16);
        let mut e = env(&m);
        run::<XfsBufAllocPages>(&mut e, &[], 16, form).unwrap();
        assert_eq!(first_single(&e), Some(Watermark), "xfs {form:?}");
        let m = machine();
        press(&m, 16);
        let mut e = env(&m);
        run::<VirtiovfAddMigrationPages>(&mut e, &[], 16, form).unwrap();
        assert_eq!(first_single(&e), Some(Watermark), "vfio {form:?}");
    }
}

/// Differences 11 to 13: in the band the form before gets one page per call, the form after soon gets the rest at once.
#[test]
fn the_band_above_the_mark() {
    let calls = |form| {
        let m = machine();
        // Pages on the per-CPU list, so that no refill moves the free count meanwhile.
        let pages = array(&m, &"x".repeat(64));
        m.free_bulk(&mut Ctx::on(0), &pages).unwrap();
        let f = press(&m, 10) as usize;
        let slots = Slot::array(16);
        let mut e = env(&m);
        let r = run::<SvcAllocArg>(&mut e, &slots, 16, form).unwrap();
        (f, r.calls().len(), singles(&e))
    };
    let (_, before, reasons) = calls(Form::Before);
    assert_eq!((before, reasons.len(), reasons[15]), (16, 16, OnePage), "n calls");
    let (f, after, reasons) = calls(Form::After);
    assert_eq!((after, reasons.len()), (16 - f + 2, 16 - f + 1), "n - f + 1 singles, then the rest in one call");
}
