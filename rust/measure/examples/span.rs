//! Allocates and frees all memory of a machine page by page: `span GIB...` prints cycles per page of two rounds.
#![allow(clippy::print_stdout)]
use bulkpages_core::boot::BootSpec;
use bulkpages_core::fault::Ctx;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::Local;
use bulkpages_core::{Machine, Pfn};
use bulkpages_measure::clock;

fn main() {
    for arg in std::env::args().skip(1) {
        let gib: u64 = arg.parse().unwrap();
        let machine = Machine::<Local>::boot(&BootSpec::new(gib << 18, 1, 1)).unwrap();
        let cx = &mut Ctx::on(0);
        let mut pages: Vec<Pfn> = vec![Pfn(0); (gib << 18) as usize];
        pages.iter_mut().for_each(|p| *p = Pfn(1));
        for round in 1..=2 {
            let start = clock::now();
            let mut n = 0;
            while let Some(page) = machine.alloc_pages(cx, Gfp::ATOMIC | Gfp::MEMALLOC | Gfp::NOWARN, 0, None).unwrap() {
                pages[n] = page;
                n += 1;
            }
            let middle = clock::now();
            for &page in &pages[..n] {
                machine.free_pages(cx, page, 0).unwrap();
            }
            let end = clock::now();
            machine.drain_local_pages(cx).unwrap();
            let per = |t: u64| t as f64 / n as f64;
            println!("{gib} GiB round {round}: {n} pages, alloc {:.1}, free {:.1}, both {:.1}", per(middle - start), per(end - middle), per(end - start));
        }
    }
}
