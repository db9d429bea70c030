//! A caller that is written elsewhere, timed: its steps were recorded once and run here again and again, so that nothing
//! of the language that it is written in is inside the clock. The caller's own arithmetic is not in the recording; each
//! step costs one dispatch more than compiled code does.

use std::collections::HashSet;

use bulkpages_callers::holes::Shape;
use bulkpages_callers::own::OwnStep;
use bulkpages_core::fault::NoFault;
use bulkpages_core::gfp::Gfp;
use bulkpages_core::probe::{NoProbe, Probe};
use bulkpages_core::sync::Locking;
use bulkpages_core::{Context, Ctx, Error, Machine, PageState, Pfn, Result, Slot};

use crate::clock;
use crate::counts::Counts;
use crate::fill::MAX_SLOTS;
use crate::trial::Sample;

/// Most steps of a stream.
pub const MAX_STEPS: usize = 1 << 20;

/// The steps of a caller on one array.
///
/// # Invariants
///
/// Every step names arrays, slots and registers that there are.
#[derive(Clone, Debug)]
pub struct Stream {
    shape: Shape,
    /// Slots of the arrays that the caller makes; they are numbers 1 and up.
    made: Vec<usize>,
    registers: usize,
    steps: Vec<(OwnStep, i64)>,
}

impl Stream {
    /// Steps with what each of them gave, on an array of this shape, which is number 0.
    ///
    /// # Errors
    ///
    /// For a step outside its array, a register that was not written before, and for too much of anything.
    pub fn new(shape: Shape, made: Vec<usize>, steps: Vec<(OwnStep, i64)>) -> Result<Stream> {
        let slots = made.iter().try_fold(shape.len(), |sum, &n| sum.checked_add(n)).unwrap_or(usize::MAX);
        if slots > MAX_SLOTS || steps.len() > MAX_STEPS {
            return Err(Error::invalid(format!(
                "a stream of {} steps on {slots} slots is above {MAX_STEPS} steps or {MAX_SLOTS} slots",
                steps.len()
            )));
        }
        let mut written = Vec::new();
        for (i, (step, _)) in steps.iter().enumerate() {
            if let Some((array, base, n)) = step.slots() {
                let len = if array == 0 { Some(shape.len()) } else { made.get(array - 1).copied() };
                if len.is_none_or(|len| base > len || n > len - base) {
                    return Err(Error::invalid(format!("step {i} is outside its array: {step:?}")));
                }
            }
            let (writes, reads) = step.registers();
            if reads.is_some_and(|r| !written.get(r).copied().unwrap_or(false)) {
                return Err(Error::invalid(format!("step {i} reads a register that no step wrote: {step:?}")));
            }
            if let Some(r) = writes {
                if r >= steps.len() {
                    return Err(Error::invalid(format!("step {i}: register {r} is above {}", steps.len())));
                }
                if written.len() <= r {
                    written.resize(r + 1, false);
                }
                written[r] = true;
            }
        }
        Ok(Stream { shape, made, registers: written.len(), steps: merge(steps) })
    }

    /// Steps that run in a fill, reads of neighbours whose pages nobody uses counted as one.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the steps `iterations` times on CPU 0 and times them. What they allocated is free again afterwards.
    ///
    /// # Errors
    ///
    /// When a step gives something else than it gave when it was recorded, and when there are not enough pages.
    pub fn run<L: Locking>(&self, machine: &Machine<L>, iterations: u64, cold: bool) -> Result<Sample> {
        self.run_with(machine, &mut NoProbe, iterations, cold)
    }

    /// Exact counts over `iterations` runs, frees between them not among them, and the pages that were allocated.
    ///
    /// # Errors
    ///
    /// As [`Stream::run`].
    pub fn count<L: Locking>(&self, machine: &Machine<L>, iterations: u64, cold: bool) -> Result<(Counts, u64)> {
        let mut counts = Counts::default();
        let sample = self.run_with(machine, &mut counts, iterations, cold)?;
        for (step, _) in &self.steps {
            match *step {
                OwnStep::Bulk { .. } | OwnStep::Refill { .. } => counts.bulk_calls += iterations,
                OwnStep::Clear { n, .. } => counts.slot_clears += n as u64 * iterations,
                _ => {}
            }
        }
        Ok((counts, sample.pages))
    }

    fn run_with<L: Locking, P: Probe>(
        &self,
        machine: &Machine<L>,
        probe: &mut P,
        iterations: u64,
        cold: bool,
    ) -> Result<Sample> {
        let nid = machine.nearest_node(None, 0)?;
        let mut arrays = vec![self.shape.fill(machine, 0)?];
        arrays.extend(self.made.iter().map(|&n| Slot::array(n)));
        let mut registers = vec![Pfn::NULL; self.registers];
        let mut cx = Ctx { cpu: 0, probe, fault: NoFault };
        let mut sample = Sample::default();
        let done = (0..iterations).try_for_each(|_| {
            if cold {
                machine.drain_local_pages(&mut Ctx::on(0))?;
            }
            let start = clock::now();
            let went = self.once(machine, &mut cx, nid, &arrays, &mut registers);
            sample.alloc += clock::now() - start;
            if let Some(i) = went? {
                let (step, was) = &self.steps[i];
                return Err(Error::invalid(format!(
                    "step {i} gave {was} when it was recorded and gives something else on this machine: {step:?}"
                )));
            }
            sample.pages += self.restore(machine, &arrays)?;
            Ok(())
        });
        forget_copies(machine, &arrays);
        for slots in &arrays {
            machine.free_bulk(&mut Ctx::on(0), slots)?;
        }
        done.map(|()| sample)
    }

    /// All steps, in order; the first that gives something else than it did ends them. Not inlined, so that an
    /// instruction counter can be pointed at it.
    #[inline(never)]
    fn once<L: Locking>(
        &self,
        machine: &Machine<L>,
        cx: &mut impl Context,
        nid: usize,
        arrays: &[Box<[Slot]>],
        registers: &mut [Pfn],
    ) -> Result<Option<usize>> {
        for (i, (step, was)) in self.steps.iter().enumerate() {
            if step.run(machine, cx, nid, arrays, registers)? != *was {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// Makes the arrays what they were: holes by freeing what stands in them, pages where there are none any more.
    /// Gives the pages that were freed.
    fn restore<L: Locking>(&self, machine: &Machine<L>, arrays: &[Box<[Slot]>]) -> Result<u64> {
        let cx = &mut Ctx::on(0);
        let mut pages = 0;
        forget_copies(machine, arrays);
        for (number, slots) in arrays.iter().enumerate() {
            for (i, slot) in slots.iter().enumerate() {
                let kept = number == 0 && !self.shape.is_hole(i);
                if kept && slot.raw() == 0 {
                    let page = machine.alloc_pages(cx, Gfp::KERNEL, 0, None)?;
                    slot.set(page.ok_or_else(|| Error::invalid(format!("the machine has no page for slot {i}")))?);
                } else if !kept && slot.raw() != 0 {
                    machine.put_page(cx, slot.get())?;
                    slot.set(Pfn::NULL);
                    pages += 1;
                }
            }
        }
        Ok(pages)
    }
}

/// Leaves each page in one slot. A caller may have copied a page from an array of its own into the one that it fills, or
/// have freed it and forgotten the array: such slots hold nothing that anybody would have to free.
fn forget_copies<L: Locking>(machine: &Machine<L>, arrays: &[Box<[Slot]>]) {
    let mut seen = HashSet::new();
    for slot in arrays.iter().flatten().filter(|slot| slot.raw() != 0) {
        let owned = machine.page_state(slot.get()) == PageState::Allocated(0);
        if !owned || !seen.insert(slot.raw()) {
            slot.set(Pfn::NULL);
        }
    }
}

/// Turns reads whose pages no later step uses into tests, and tests of neighbours into one step.
fn merge(steps: Vec<(OwnStep, i64)>) -> Vec<(OwnStep, i64)> {
    let mut used = std::collections::HashSet::new();
    let mut kept: Vec<(OwnStep, i64)> = Vec::with_capacity(steps.len());
    // From the end, so that a register counts as used until the step that writes it.
    for (step, was) in steps.into_iter().rev() {
        let (writes, reads) = step.registers();
        let wanted = writes.is_some_and(|r| used.remove(&r));
        used.extend(reads);
        match (step, kept.last_mut()) {
            (OwnStep::Read { array, index, .. }, Some((OwnStep::Test { array: a, base, n }, sum)))
                if !wanted && *a == array && *base == index + 1 =>
            {
                *base = index;
                *n += 1;
                *sum += was;
            }
            (OwnStep::Read { array, index, .. }, _) if !wanted => {
                kept.push((OwnStep::Test { array, base: index, n: 1 }, was));
            }
            _ => kept.push((step, was)),
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::replay::Api;
    use bulkpages_core::sync::Local;

    const GFP: Gfp = Gfp::KERNEL;

    fn machine() -> Machine<Local> {
        Machine::boot(&BootSpec::new(16384, 1, 1)).unwrap()
    }

    fn bulk(api: Api, base: usize, n: usize, ret: i64) -> (OwnStep, i64) {
        (OwnStep::Bulk { api, gfp: GFP, array: 0, base, n }, ret)
    }

    #[test]
    fn steps_fill_an_array_again_and_again() {
        let machine = machine();
        let shape = Shape::parse("x.x.").unwrap();
        let stream = Stream::new(shape.clone(), vec![], vec![bulk(Api::V1, 0, 4, 4)]).unwrap();
        let sample = stream.run(&machine, 50, false).unwrap();
        assert_eq!(sample.pages, 100);
        let (counts, pages) = stream.count(&machine, 10, true).unwrap();
        assert_eq!((pages, counts.slot_writes, counts.bulk_calls), (20, 20, 10));
        let compacting = vec![(OwnStep::Compact { array: 0, base: 0, n: 4 }, 2), bulk(Api::V2, 2, 2, 2)];
        let (counts, pages) = Stream::new(shape, vec![], compacting).unwrap().count(&machine, 10, false).unwrap();
        assert_eq!((pages, counts.slot_tests), (20, 40));
        assert_eq!(machine.audit().unwrap().allocated, 0);
    }

    #[test]
    fn a_page_may_stand_in_two_arrays_or_be_freed_and_forgotten() {
        let machine = machine();
        let copy = |index| {
            [
                (OwnStep::Read { array: 1, index, to: index }, 1),
                (OwnStep::Write { array: 0, index, from: Some(index) }, 0),
            ]
        };
        let mut steps = vec![(OwnStep::Bulk { api: Api::V2, gfp: GFP, array: 1, base: 0, n: 3 }, 3)];
        steps.extend(copy(0));
        steps.extend(copy(1));
        steps.extend([(OwnStep::Read { array: 1, index: 2, to: 2 }, 1), (OwnStep::Free { from: 2 }, 0)]);
        let stream = Stream::new(Shape::empty(2), vec![3], steps).unwrap();
        assert_eq!(stream.count(&machine, 10, false).unwrap().1, 20);
        assert_eq!(machine.audit().unwrap().allocated, 0);
    }

    #[test]
    fn what_goes_another_way_is_told_and_leaves_nothing_behind() {
        let machine = machine();
        let stream = Stream::new(Shape::empty(4), vec![], vec![bulk(Api::V2, 0, 4, 3)]).unwrap();
        let error = stream.run(&machine, 1, false).unwrap_err().to_string();
        assert!(error.contains("gave 3 when it was recorded"), "{error}");
        assert_eq!(machine.audit().unwrap().allocated, 0);
    }

    #[test]
    fn reads_of_neighbours_become_one_test_unless_somebody_uses_the_page() {
        let read = |index, to, was| (OwnStep::Read { array: 0, index, to }, was);
        let steps = vec![read(0, 0, 1), read(1, 1, 0), read(2, 2, 1), (OwnStep::Free { from: 2 }, 0)];
        let stream = Stream::new(Shape::parse("x.x").unwrap(), vec![], steps).unwrap();
        assert_eq!(stream.steps[0], (OwnStep::Test { array: 0, base: 0, n: 2 }, 1));
        assert_eq!(stream.len(), 3);
    }

    #[test]
    fn steps_outside_their_arrays_are_refused() {
        for (step, text) in [
            (OwnStep::Clear { array: 0, base: 2, n: 2 }, "outside its array"),
            (OwnStep::Clear { array: 1, base: 0, n: 0 }, "outside its array"),
            (OwnStep::Clear { array: 0, base: usize::MAX, n: 2 }, "outside its array"),
            (OwnStep::Free { from: 0 }, "no step wrote"),
            (OwnStep::Single { gfp: GFP, to: 9 }, "register 9"),
        ] {
            let error = Stream::new(Shape::empty(3), vec![], vec![(step, 0)]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
