//! Allocates all of a machine page by page, then frees it page by page, for machines of several sizes: cycles per page.
#![allow(clippy::print_stdout)]
use bulkpages_core::boot::BootSpec;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Pfn};
use bulkpages_measure::clock;

fn main() {
    for gib in [1u64, 4, 16, 64] {
        let machine = Machine::<Local>::boot(&BootSpec::new(gib << 18, 1, 1)).unwrap();
        let mut cx = Ctx::on(0);
        let mut pages: Vec<Pfn> = Vec::with_capacity(1 << 25);
        let t0 = clock::now();
        while let Some(page) = machine.alloc_pages(&mut cx, Gfp::NOWAIT, 0, None).unwrap() {
            pages.push(page);
        }
        let t1 = clock::now();
        for &page in &pages {
            machine.free_pages(&mut cx, page, 0).unwrap();
        }
        let t2 = clock::now();
        let n = pages.len() as u64;
        machine.audit().unwrap();
        println!(
            "{gib:3} GiB: {n} pages, alloc {:.1}, free {:.1} cycles/page",
            (t1 - t0) as f64 / n as f64,
            (t2 - t1) as f64 / n as f64
        );
    }
}
