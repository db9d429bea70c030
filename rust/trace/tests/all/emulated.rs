//! Traces made by emulation: bulk calls leave no line of their own, and what was done is known.

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::NullOnly;
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::Event;
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine, Pfn, Slot};
use bulkpages_trace::follow::{Follower, Report};
use bulkpages_trace::text::Parser;
use bulkpages_trace::write;

/// A small generator with a stable stream.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// What a workload consists of.
#[derive(Clone, Copy)]
struct Mix {
    memory_pages: u64,
    cpus: usize,
    nodes: usize,
    /// One operation in so many is a bulk call.
    bulk_every: u64,
    /// One allocation in so many names another node.
    remote_every: u64,
    /// Bulk calls always come before the same kind of request, as a caller's do.
    habitual: bool,
}

struct Run {
    trace: String,
    before: bulkpages_core::snapshot::Snapshot,
    after: bulkpages_core::snapshot::Snapshot,
    hidden_pages: u64,
}

const GFPS: [(u64, u8); 5] = [(0x100cca, 0), (0x140dca, 0), (0x400cc0, 0), (0xcd0, 1), (0x42cc0, 3)];

fn run(seed: u64, mix: Mix, operations: usize) -> Run {
    let mut rng = Rng(seed | 1);
    let machine = Machine::<Local>::boot(&BootSpec::new(mix.memory_pages, mix.cpus, mix.nodes)).unwrap();
    let mut cx = Ctx { cpu: 0, probe: Vec::<Event>::new(), fault: NoFault };
    let mut owned: Vec<(Pfn, u8)> = Vec::new();
    let (mut trace, mut time, mut hidden_pages) = (String::new(), 0, 0);
    // A warm-up whose lines are thrown away: some pages are owned when the trace begins.
    let mut before = None;
    for i in 0..operations {
        if i == operations / 4 {
            before = Some(machine.snapshot());
            trace.clear();
            hidden_pages = 0;
        }
        cx.cpu = rng.below(mix.cpus as u64) as usize;
        cx.probe.clear();
        let growing = (i / 1500) % 2 == 0;
        let single = |cx: &mut Ctx<Vec<Event>, NoFault>, rng: &mut Rng, owned: &mut Vec<(Pfn, u8)>, kind: usize| {
            let (gfp, order) = GFPS[kind];
            let nid = (rng.below(mix.remote_every) == 0).then(|| rng.below(mix.nodes as u64) as usize);
            owned.extend(machine.alloc_pages(cx, Gfp::new(gfp).unwrap(), order, nid).unwrap().map(|p| (p, order)));
        };
        if rng.below(mix.bulk_every) == 0 {
            let slots = Slot::array(if mix.habitual { 4 } else { 2 + rng.below(90) as usize });
            machine.alloc_pages_bulk::<NullOnly>(&mut cx, Gfp::new(0xcc0).unwrap(), None, &slots).unwrap();
            let pages: Vec<Pfn> = slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect();
            hidden_pages += pages.len() as u64;
            owned.extend(pages.iter().map(|&p| (p, 0)));
            if mix.habitual {
                single(&mut cx, &mut rng, &mut owned, 2);
            }
        } else if rng.below(10) < if growing { 7 } else { 3 } || owned.is_empty() {
            for _ in 0..=rng.below(40) {
                let kind = if mix.habitual { [0, 1, 3, 4][rng.below(4) as usize] } else { rng.below(5) as usize };
                single(&mut cx, &mut rng, &mut owned, kind);
            }
        } else {
            for _ in 0..=rng.below(60) {
                if owned.is_empty() {
                    break;
                }
                let (pfn, order) = owned.swap_remove(rng.below(owned.len() as u64) as usize);
                machine.free_pages(&mut cx, pfn, order).unwrap();
            }
        }
        for event in &cx.probe {
            time += 700;
            write::line(&mut trace, "worker", 100 + cx.cpu as i32, cx.cpu, time, event).unwrap();
        }
    }
    Run { trace, before: before.unwrap(), after: machine.snapshot(), hidden_pages }
}

fn follow(run: &Run, learn: bool) -> (Report, bulkpages_core::snapshot::Snapshot) {
    let mut follower = Follower::new(Machine::from_snapshot(&run.before).unwrap(), learn);
    let mut parser = Parser::default();
    for (i, line) in run.trace.lines().enumerate() {
        follower.line(i as u64 + 1, &parser.line(line.as_bytes()));
    }
    let (report, machine) = follower.finish();
    (report, machine.snapshot())
}

fn show(name: &str, r: &Report) -> String {
    format!(
        "{name}: {} of {} ({:.2} %), refilled {}/{}, sizes {}/{}, drained {}/{}, hidden {} pages in {}, {:?}",
        r.predicted,
        r.allocations,
        100.0 * r.predicted as f64 / r.allocations as f64,
        r.refilled_predicted,
        r.refilled,
        r.refill_sizes_predicted,
        r.refills,
        r.drained_predicted,
        r.drained,
        r.hidden_pages,
        r.hidden_takes,
        r.reasons
    )
}

const UMA: Mix =
    Mix { memory_pages: 65536, cpus: 2, nodes: 1, bulk_every: 100, remote_every: u64::MAX, habitual: false };

/// Without bulk calls nothing is hidden: every line is predicted, on one node and on two.
#[test]
fn without_bulk_calls_every_line_is_predicted() {
    for (nodes, seed) in [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5)] {
        let mix = Mix { nodes, cpus: 4, memory_pages: 49152 * nodes as u64, bulk_every: u64::MAX, ..UMA };
        let run = run(seed, mix, 3000);
        for learn in [false, true] {
            let (r, after) = follow(&run, learn);
            let text = show(&format!("nodes {nodes} seed {seed}"), &r);
            assert!(r.allocations > 10_000, "{text}");
            assert_eq!(
                (r.predicted, r.refilled_predicted, r.drained_predicted),
                (r.allocations, r.refilled, r.drained),
                "{text}"
            );
            assert_eq!(r.unsound, None);
            for (ours, theirs) in after.zones.iter().zip(&run.after.zones) {
                assert_eq!(ours.free, theirs.free, "{text}");
                for cpu in 0..4 {
                    assert_eq!(ours.pcp[&cpu].lists, theirs.pcp[&cpu].lists, "{text} cpu {cpu}");
                }
            }
        }
    }
}

/// A bulk call costs one line at most: the one that shows that pages are gone.
#[test]
fn a_bulk_call_costs_one_line_at_most() {
    for (nodes, seed) in [(1, 11), (1, 12), (2, 13), (2, 14), (3, 15)] {
        let mix = Mix { nodes, cpus: 4, memory_pages: 49152 * nodes as u64, ..UMA };
        let run = run(seed, mix, 4000);
        let (r, _) = follow(&run, false);
        let text = show(&format!("nodes {nodes} seed {seed}, {} hidden", run.hidden_pages), &r);
        assert_eq!(r.unsound, None, "{text}");
        assert!(r.predicted * 1000 >= r.allocations * 990, "{text}");
    }
}

/// Requests for other nodes than the CPU's own.
#[test]
fn other_nodes_are_found() {
    for seed in [21, 22] {
        let mix = Mix { nodes: 2, cpus: 4, memory_pages: 98304, remote_every: 300, ..UMA };
        let run = run(seed, mix, 4000);
        let (r, _) = follow(&run, false);
        let text = show(&format!("remote seed {seed}"), &r);
        assert_eq!(r.unsound, None, "{text}");
        assert!(r.predicted * 1000 >= r.allocations * 985, "{text}");
    }
}

/// A caller's habit is learnt: its bulk calls are expected.
#[test]
fn habits_are_learnt() {
    let mix = Mix { nodes: 2, cpus: 4, memory_pages: 98304, bulk_every: 12, habitual: true, ..UMA };
    let run = run(31, mix, 4000);
    let (plain, _) = follow(&run, false);
    let (learnt, _) = follow(&run, true);
    assert!(learnt.predicted > plain.predicted, "{} {}", show("plain", &plain), show("learnt", &learnt));
    assert!(learnt.hidden_predicted > learnt.false_hidden);
}
