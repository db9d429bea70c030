//! Random machines and random operations: what must hold of all of them.

use crate::kit::MIB;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::bulk::{NullOnly, OutputOnly};
use bulkpages_core::fault::FaultPlan;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::snapshot::Snapshot;
use bulkpages_core::sync::{Atomic, Local, Locking};
use bulkpages_core::{Ctx, Machine, Pfn, Slot};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Alloc { gfp: u32, order: u8, nid: Option<usize> },
    Bulk { v1: bool, gfp: u32, nr: usize, holes: usize },
    Free { which: usize },
    FreeSome { every: usize },
    Drain,
    Hold { zone: usize },
    Faulty { v1: bool, pages: i64, trylock: bool, nr: usize },
}

const GFPS: [u32; 12] =
    [0xcc0, 0xc40, 0x820, 0x2800, 0x10_0cca, 0x2810, 0x2801, 0x2804, 0x20_2800, 0x4_2820, 0x2_2800, 0x8_2820];

fn ops() -> impl Strategy<Value = Vec<(usize, Op)>> {
    let gfp = proptest::sample::select(&GFPS[..]);
    let op = prop_oneof![
        4 => (gfp.clone(), 0u8..11, proptest::option::of(0usize..3))
            .prop_map(|(gfp, order, nid)| Op::Alloc { gfp, order, nid }),
        4 => (any::<bool>(), gfp, 0usize..400, 1usize..9)
            .prop_map(|(v1, gfp, nr, holes)| Op::Bulk { v1, gfp, nr, holes }),
        4 => any::<usize>().prop_map(|which| Op::Free { which }),
        2 => (1usize..5).prop_map(|every| Op::FreeSome { every }),
        1 => Just(Op::Drain),
        1 => any::<usize>().prop_map(|zone| Op::Hold { zone }),
        2 => (any::<bool>(), 0i64..5, any::<bool>(), 0usize..20)
            .prop_map(|(v1, pages, trylock, nr)| Op::Faulty { v1, pages, trylock, nr }),
    ];
    proptest::collection::vec((0usize..4, op), 1..60)
}

prop_compose! {
    fn machines()(mib in 8u64..48, cpus in 1usize..4, nodes in 1usize..4, low in 1i64..400, batch in 1i32..64,
        high in 4i32..600, movable in proptest::option::of(4u64..8), boost in proptest::sample::select(&[0u64, 15_000]))
        -> Snapshot {
        let mut spec = BootSpec::new((mib + 16) * MIB, cpus, nodes);
        spec.movablecore_pages = movable.map(|m| m * MIB);
        let mut snapshot = Machine::<Local>::boot(&spec).unwrap().snapshot();
        snapshot.facts.watermark_boost_factor = Some(boost);
        for zone in &mut snapshot.zones {
            (zone.min, zone.low, zone.high, zone.promo) = (low, low + low / 4, low + low / 2, low + low);
            crate::kit::set_pcp(zone, batch, high, high * 4);
        }
        snapshot
    }
}

/// A machine and what was handed out of it.
struct World<L: Locking> {
    m: Machine<L>,
    owned: Vec<(Pfn, u8)>,
}

impl<L: Locking> World<L> {
    fn new(snapshot: &Snapshot) -> Self {
        World { m: Machine::from_snapshot(snapshot).unwrap(), owned: Vec::new() }
    }

    fn bulk(&mut self, v1: bool, gfp: u32, nr: usize, holes: usize, cpu: usize) {
        let slots = Slot::array(nr);
        // Some slots hold pages that were handed out before.
        let kept: Vec<(Pfn, u8)> = self.owned.iter().copied().filter(|b| b.1 == 0).take(nr / holes).collect();
        for (i, block) in kept.iter().enumerate() {
            slots[i * holes].set(block.0);
        }
        let cx = &mut Ctx::on(cpu);
        let before: Vec<Pfn> = slots.iter().map(Slot::get).collect();
        let n = if v1 {
            self.m.alloc_pages_bulk::<NullOnly>(cx, Gfp(gfp), None, &slots).unwrap()
        } else {
            self.m.alloc_pages_bulk::<OutputOnly>(cx, Gfp(gfp), None, &slots).unwrap()
        };
        let fresh: Vec<Pfn> = slots.iter().zip(&before).filter(|(s, b)| s.get() != **b).map(|(s, _)| s.get()).collect();
        if v1 {
            for (slot, old) in slots.iter().zip(&before).filter(|(_, b)| !b.is_null()) {
                assert_eq!(slot.get(), *old, "v1 keeps every page in its slot");
            }
            assert!(slots[..n].iter().all(|s| !s.get().is_null()), "what v1 returns is a populated prefix");
        } else {
            assert_eq!(n, fresh.len(), "v2 returns the number of new pages");
        }
        self.owned.extend(fresh.into_iter().map(|p| (p, 0)));
    }

    fn step(&mut self, cpu: usize, op: &Op) {
        let cpu = cpu % self.m.cpus();
        match *op {
            Op::Alloc { gfp, order, nid } => {
                let nid = nid.map(|n| n % self.m.nodes());
                let page = self.m.alloc_pages(&mut Ctx::on(cpu), Gfp(gfp), order, nid).unwrap();
                self.owned.extend(page.map(|p| (p, order)));
            }
            Op::Bulk { v1, gfp, nr, holes } => self.bulk(v1, gfp, nr, holes, cpu),
            Op::Free { which } => {
                if !self.owned.is_empty() {
                    let (pfn, order) = self.owned.swap_remove(which % self.owned.len());
                    self.m.free_pages(&mut Ctx::on(cpu), pfn, order).unwrap();
                }
            }
            Op::FreeSome { every } => {
                let mut i = 0;
                let m = &self.m;
                self.owned.retain(|&(pfn, order)| {
                    i += 1;
                    if i % every != 0 {
                        return true;
                    }
                    m.free_pages(&mut Ctx::on(cpu), pfn, order).unwrap();
                    false
                });
            }
            Op::Drain => self.m.drain_local_pages(&mut Ctx::on(cpu)).unwrap(),
            Op::Hold { zone } => {
                let zone = &self.m.zones()[zone % self.m.zones().len()];
                let (nid, idx) = (zone.nid(), usize::from(zone.idx()));
                self.m.hold_pcp_lock(nid, idx, cpu, true).unwrap();
                let page = self.m.alloc_pages(&mut Ctx::on(cpu), Gfp::NOWAIT, 0, Some(nid)).unwrap();
                self.m.hold_pcp_lock(nid, idx, cpu, false).unwrap();
                self.owned.extend(page.map(|p| (p, 0)));
            }
            Op::Faulty { v1, pages, trylock, nr } => {
                let fault = FaultPlan { pages: Some(pages.into()), trylock: trylock.into(), ..FaultPlan::default() };
                let cx = &mut Ctx { cpu, probe: bulkpages_core::probe::NoProbe, fault };
                let slots = Slot::array(nr);
                if v1 {
                    self.m.alloc_pages_bulk::<NullOnly>(cx, Gfp::KERNEL, None, &slots).unwrap();
                } else {
                    self.m.alloc_pages_bulk::<OutputOnly>(cx, Gfp::KERNEL, None, &slots).unwrap();
                }
                let got: Vec<_> = slots.iter().map(Slot::get).filter(|p| !p.is_null()).collect();
                assert!(got.len() as i64 <= pages, "{} pages of a budget of {pages}", got.len());
                self.owned.extend(got.into_iter().map(|p| (p, 0)));
            }
        }
    }

    /// Nothing overlaps, nothing is lost.
    fn check(&self) {
        let audit = self.m.audit().unwrap();
        assert_eq!(audit.allocated, self.owned.iter().map(|b| 1u64 << b.1).sum::<u64>());
        let mut blocks = self.owned.clone();
        blocks.sort_unstable();
        assert!(blocks.windows(2).all(|w| w[0].0.0 + (1 << w[0].1) <= w[1].0.0), "a page was handed out twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_step_is_sound_and_what_is_freed_comes_back(snapshot in machines(), ops in ops()) {
        let mut world = World::<Local>::new(&snapshot);
        for (cpu, op) in &ops {
            world.step(*cpu, op);
            world.check();
        }
        for (pfn, order) in std::mem::take(&mut world.owned) {
            world.m.free_pages(&mut Ctx::on(0), pfn, order).unwrap();
        }
        for cpu in 0..world.m.cpus() {
            world.m.drain_local_pages(&mut Ctx::on(cpu)).unwrap();
        }
        let audit = world.m.audit().unwrap();
        prop_assert_eq!(audit.free, audit.managed);
        let events = world.m.vm_events();
        prop_assert_eq!(events.pgalloc.iter().sum::<u64>(), events.pgfree);
    }

    #[test]
    fn the_same_operations_give_the_same_pages_with_any_locks(snapshot in machines(), ops in ops()) {
        let (mut a, mut b, mut c) =
            (World::<Local>::new(&snapshot), World::<Local>::new(&snapshot), World::<Atomic>::new(&snapshot));
        for (cpu, op) in &ops {
            a.step(*cpu, op);
            b.step(*cpu, op);
            c.step(*cpu, op);
        }
        prop_assert_eq!(&a.owned, &b.owned);
        prop_assert_eq!(&a.owned, &c.owned);
        let state = a.m.snapshot();
        prop_assert_eq!(&state, &b.m.snapshot());
        prop_assert_eq!(&state, &c.m.snapshot());
        // What came out goes in.
        prop_assert_eq!(a.m.vm_events(), c.m.vm_events());
    }

    #[test]
    fn on_null_arrays_v1_and_v2_cannot_be_told_apart(
        snapshot in machines(),
        before in ops(),
        calls in proptest::collection::vec((0usize..4, 0usize..400, proptest::sample::select(&GFPS[..])), 1..12),
    ) {
        let (mut a, mut b) = (World::<Local>::new(&snapshot), World::<Local>::new(&snapshot));
        for (cpu, op) in &before {
            a.step(*cpu, op);
            b.step(*cpu, op);
        }
        for (cpu, nr, gfp) in calls {
            let (s1, s2) = (Slot::array(nr), Slot::array(nr));
            let cpu = cpu % a.m.cpus();
            let (mut one, mut two) = (crate::kit::watched(), crate::kit::watched());
            (one.cpu, two.cpu) = (cpu, cpu);
            let n1 = a.m.alloc_pages_bulk::<NullOnly>(&mut one, Gfp(gfp), None, &s1).unwrap();
            let n2 = b.m.alloc_pages_bulk::<OutputOnly>(&mut two, Gfp(gfp), None, &s2).unwrap();
            prop_assert_eq!(n1, n2);
            prop_assert!(s1.iter().map(Slot::get).eq(s2.iter().map(Slot::get)));
            one.probe.retain(|e| !matches!(e, bulkpages_core::probe::Event::SlotTest { .. }));
            prop_assert_eq!(one.probe, two.probe);
        }
        prop_assert_eq!(a.m.snapshot(), b.m.snapshot());
        prop_assert_eq!(a.m.vm_events(), b.m.vm_events());
    }
}
