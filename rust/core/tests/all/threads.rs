//! What several threads may do to one machine at once.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use bulkpages_core::boot::BootSpec;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::Atomic;
use bulkpages_core::{Ctx, Machine};

/// Threads take and drop references of one page: it is freed exactly once, by the last of them.
#[test]
fn references_are_counted_exactly() {
    const THREADS: usize = 4;
    let machine = Machine::<Atomic>::boot(&BootSpec::new(16384, THREADS, 1)).unwrap();
    let before = machine.audit().unwrap().allocated;
    for _ in 0..200 {
        let page = machine.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap().unwrap();
        for _ in 1..THREADS {
            machine.get_page(page).unwrap();
        }
        let freed = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for cpu in 0..THREADS {
                let (machine, freed) = (&machine, &freed);
                scope.spawn(move || {
                    for _ in 0..50 {
                        machine.get_page(page).unwrap();
                        assert!(!machine.put_page(&mut Ctx::on(cpu), page).unwrap());
                    }
                    freed.fetch_add(u32::from(machine.put_page(&mut Ctx::on(cpu), page).unwrap()), Relaxed);
                });
            }
        });
        assert_eq!(freed.load(Relaxed), 1);
        assert_eq!(machine.pages().ref_count(page), 0);
    }
    assert_eq!(machine.audit().unwrap().allocated, before);
}
