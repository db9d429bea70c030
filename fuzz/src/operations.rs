//! Bytes are a machine and operations on it; nothing may panic, overlap or be lost.

use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::NoProbe;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Machine, Pfn, Slot};

const MIB: u64 = 256;
const GFPS: [u32; 12] =
    [0xcc0, 0xc40, 0x820, 0x2800, 0x10_0cca, 0x2810, 0x2801, 0x2804, 0x20_2800, 0x4_2820, 0x2_2800, 0x8_2820];

struct World<L: Locking> {
    m: Machine<L>,
    owned: Vec<(Pfn, u8)>,
}

impl<L: Locking> World<L> {
    fn step(&mut self, op: [u8; 4]) {
        let [kind, a, b, c] = op;
        let cpu = usize::from(kind >> 4) % self.m.cpus();
        let gfp = Gfp(GFPS[usize::from(a) % GFPS.len()]);
        let nid = (a & 0x80 != 0).then(|| usize::from(a >> 4) % self.m.nodes());
        match kind & 7 {
            0 => {
                let order = b % 11;
                let page = self.m.alloc_pages(&mut Ctx::on(cpu), gfp, order, nid).expect("a legal request");
                self.owned.extend(page.map(|p| (p, order)));
            }
            k @ (1 | 2) => {
                let plan = FaultPlan {
                    pages: (c & 1 != 0).then(|| i64::from(b / 2).into()),
                    trylock: (c & 2 != 0).into(),
                    ..FaultPlan::default()
                };
                self.bulk(k == 1, Ctx { cpu, probe: NoProbe, fault: plan }, gfp, nid, usize::from(b), c);
            }
            3 if !self.owned.is_empty() => {
                let (pfn, order) = self.owned.swap_remove(usize::from(u16::from_le_bytes([b, c])) % self.owned.len());
                self.m.free_pages(&mut Ctx::on(cpu), pfn, order).expect("a page that was handed out");
            }
            4 => {
                // Free many, the newest first or the oldest.
                let n = (usize::from(b) * 4).min(self.owned.len());
                let from = if c & 1 == 0 { 0 } else { self.owned.len() - n };
                for (pfn, order) in self.owned.drain(from..from + n) {
                    self.m.free_pages(&mut Ctx::on(cpu), pfn, order).expect("a page that was handed out");
                }
            }
            5 => self.m.drain_local_pages(&mut Ctx::on(cpu)).expect("a CPU of the machine"),
            6 => {
                let zone = &self.m.zones()[usize::from(b) % self.m.zones().len()];
                let (nid, idx) = (zone.nid(), usize::from(zone.idx()));
                self.m.hold_pcp_lock(nid, idx, cpu, true).expect("a zone of the machine");
                let page = self.m.alloc_pages(&mut Ctx::on(cpu), gfp, 0, Some(nid)).expect("a legal request");
                self.m.hold_pcp_lock(nid, idx, cpu, false).expect("a zone of the machine");
                self.owned.extend(page.map(|p| (p, 0)));
            }
            _ => {}
        }
    }

    /// A bulk call on an array that has pages in some slots: pages owned before.
    fn bulk(&mut self, v1: bool, mut cx: Ctx<NoProbe, FaultPlan>, gfp: Gfp, nid: Option<usize>, nr: usize, shape: u8) {
        let slots = Slot::array(nr);
        let step = usize::from(shape >> 3) + 1;
        let kept = self.owned.iter().filter(|b| b.1 == 0).take(nr / step);
        for (i, block) in kept.enumerate() {
            slots[i * step].set(block.0);
        }
        let before: Vec<Pfn> = slots.iter().map(Slot::get).collect();
        let n = if v1 {
            self.m.alloc_pages_bulk::<NullOnly>(&mut cx, gfp, nid, &slots)
        } else {
            self.m.alloc_pages_bulk::<OutputOnly>(&mut cx, gfp, nid, &slots)
        }
        .expect("a legal request");
        let fresh: Vec<Pfn> =
            slots.iter().zip(&before).map(|(s, b)| (s.get(), *b)).filter(|(s, b)| s != b).map(|x| x.0).collect();
        if v1 {
            assert!(slots.iter().zip(&before).all(|(s, b)| b.is_null() || s.get() == *b), "v1 keeps what is there");
        } else {
            assert_eq!(n, fresh.len(), "v2 returns the number of new pages");
        }
        self.owned.extend(fresh.into_iter().map(|p| (p, 0)));
    }

    fn check(&self) {
        let audit = self.m.audit().expect("a sound machine");
        assert_eq!(audit.allocated, self.owned.iter().map(|b| 1u64 << b.1).sum::<u64>());
        let mut blocks = self.owned.clone();
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|w| w[0].0.0 + (1 << w[0].1) <= w[1].0.0), "a page was handed out twice");
    }
}

fn run<L: Locking>(spec: &BootSpec, ops: &[u8]) {
    let mut w = World::<L> { m: Machine::boot(spec).expect("a legal machine"), owned: Vec::new() };
    for some in ops.chunks(4 * 64) {
        for op in some.as_chunks::<4>().0 {
            w.step(*op);
        }
        w.check();
    }
    for (pfn, order) in std::mem::take(&mut w.owned) {
        w.m.free_pages(&mut Ctx::on(0), pfn, order).expect("a page that was handed out");
    }
    for cpu in 0..w.m.cpus() {
        w.m.drain_local_pages(&mut Ctx::on(cpu)).expect("a CPU of the machine");
    }
    let audit = w.m.audit().expect("a sound machine");
    assert_eq!(audit.free, audit.managed, "what was freed came back");
}

/// One input.
pub(crate) fn one(data: &[u8]) {
    let Some((&[mib, shape], ops)) = data.split_first_chunk::<2>() else { return };
    let (cpus, nodes) = (usize::from(shape & 3) + 1, usize::from(shape >> 2 & 3).min(2) + 1);
    let spec = BootSpec::new((24 + u64::from(mib) / 4) * MIB, cpus, nodes);
    if shape & 0x80 == 0 { run::<Local>(&spec, ops) } else { run::<Atomic>(&spec, ops) }
}
