//! Time of the core's calls, by criterion: `cargo bench -p bulkpages-core`. Figures with a bound are in `benches/native`.
#![allow(clippy::print_stdout)]
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::gfp::Gfp;
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Slot};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn machine() -> Machine<Local> {
    Machine::boot(&BootSpec::new(1 << 17, 1, 1)).unwrap()
}

/// One call into an empty array; the frees are set-up of the next.
fn fill(c: &mut Criterion) {
    let mut group = c.benchmark_group("fill");
    for n in [1usize, 8, 64, 256] {
        group.throughput(Throughput::Elements(n as u64));
        let slots = Slot::array(n);
        let m = machine();
        let empty = || {
            m.free_bulk(&mut Ctx::on(0), &slots).unwrap();
        };
        group.bench_with_input(BenchmarkId::new("v1", n), &n, |b, _| {
            b.iter_batched(
                empty,
                |()| m.bulk::<NullOnly>(&mut Ctx::on(0), Gfp::KERNEL, 0, &slots),
                BatchSize::PerIteration,
            );
        });
        group.bench_with_input(BenchmarkId::new("v2", n), &n, |b, _| {
            b.iter_batched(
                empty,
                |()| m.bulk::<OutputOnly>(&mut Ctx::on(0), Gfp::KERNEL, 0, &slots),
                BatchSize::PerIteration,
            );
        });
        empty();
    }
    group.finish();
}

/// A single page, allocated and freed.
fn single(c: &mut Criterion) {
    let m = machine();
    c.bench_function("single page and its free", |b| {
        b.iter(|| {
            let page = m.alloc_pages(&mut Ctx::on(0), Gfp::KERNEL, 0, None).unwrap().unwrap();
            m.free_pages(&mut Ctx::on(0), page, 0).unwrap();
        });
    });
}

/// Boot, by size.
fn boot(c: &mut Criterion) {
    let mut group = c.benchmark_group("boot");
    for (name, pages, nodes) in [("1 GiB", 1 << 18, 1), ("64 GiB", 1 << 24, 2), ("1 TiB", 1 << 28, 8)] {
        group.bench_function(name, |b| b.iter(|| Machine::<Local>::boot(&BootSpec::new(pages, 8, nodes)).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, fill, single, boot);
criterion_main!(benches);
