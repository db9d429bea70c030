//! Fills arrays for an instruction counter that looks at `measured` alone: `instr KERNEL LOCKS API NR_PAGES HOLE_PERIOD
//! ITERATIONS`. Frees, clearing and everything else stay outside; v2's compaction is inside.
#![allow(clippy::print_stdout)]
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::era::Era;
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::NoProbe;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Machine, Slot};

type Plain = Ctx<NoProbe, NoFault>;

#[inline(never)]
fn measured<L: Locking>(machine: &Machine<L>, cx: &mut Plain, api: &str, slots: &[Slot], holes: bool) -> usize {
    match api {
        "single" => {
            for slot in slots.iter().filter(|s| s.raw() == 0) {
                if let Ok(Some(page)) = machine.alloc_pages(cx, Gfp::KERNEL, 0, Some(0)) {
                    slot.set(page);
                }
            }
            slots.len()
        }
        "v1" => machine.bulk::<NullOnly>(cx, Gfp::KERNEL, 0, slots),
        _ => {
            let filled = if holes { bulkpages_callers::ports::compact::compact(cx, slots) } else { 0 };
            machine.bulk::<OutputOnly>(cx, Gfp::KERNEL, 0, &slots[filled..])
        }
    }
}

fn run<L: Locking>(era: Era, api: &str, n: usize, period: usize, iterations: u64) {
    let spec = BootSpec { era, rules: era.rules(), ..BootSpec::new(1 << 17, 1, 1) };
    let machine = Machine::<L>::boot(&spec).unwrap();
    let cx = &mut Ctx::on(0);
    let slots = Slot::array(n);
    measured(&machine, cx, "v1", &slots, false);
    let mut pages = 0;
    for _ in 0..iterations {
        for slot in slots.iter().step_by(period.max(1)) {
            machine.put_page(cx, slot.get()).unwrap();
            slot.set_raw(0);
            pages += 1;
        }
        assert_eq!(measured(&machine, cx, api, &slots, period > 0), measured_whole(api, &slots, period));
    }
    println!("{pages} pages");
}

/// What a call that fills everything returns.
fn measured_whole(api: &str, slots: &[Slot], period: usize) -> usize {
    if api == "v2" { slots.len().div_ceil(period.max(1)) } else { slots.len() }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |i: usize| args[i].parse::<usize>().unwrap();
    let (api, n, period, iterations) = (&args[2], number(3), number(4), number(5) as u64);
    let era = Era::parse(&args[0]).unwrap();
    match args[1].as_str() {
        Atomic::NAME => run::<Atomic>(era, api, n, period, iterations),
        Local::NAME => run::<Local>(era, api, n, period, iterations),
        other => panic!("locks {other:?} are neither {} nor {}", Local::NAME, Atomic::NAME),
    }
}
