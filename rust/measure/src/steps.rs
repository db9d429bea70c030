//! What the kernel's instructions are spent on. Kernel: `mm/page_alloc.c` (v6.12), `alloc_pages_bulk_noprof()` and what
//! it calls.
//!
//! The same events cost differently by where they happen: a slot read before the zone is chosen, under the per-CPU lock
//! or by the caller itself is another loop each time. So the events are counted by place.

use bulkpages_core::probe::{Event, Probe};

/// Where a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In the caller's own code.
    #[default]
    Caller,
    /// In a bulk call, without the lock of the lists.
    Call,
    /// In its loop, under the lock.
    Loop,
    /// In the single-page path of a bulk call.
    Single,
}

/// Counts of a run, by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    place: Place,
    /// Bulk calls.
    pub calls: u64,
    /// Bulk calls that looked at a slot before they chose a zone.
    pub looking_calls: u64,
    /// Slots with a page, skipped before the zone is chosen.
    pub skipped_first: u64,
    /// Bulk calls that chose a zone.
    pub gates: u64,
    /// Bulk calls that locked the lists.
    pub batches: u64,
    /// Slots with a page, skipped in the loop under the lock.
    pub skipped_locked: u64,
    /// NULL slots that the loop tested.
    pub tested_locked: u64,
    /// Pages that the loop took.
    pub pages: u64,
    /// Slots with a page that the caller, or a refill call on its behalf, read.
    pub caller_pages: u64,
    /// NULL slots that it read.
    pub caller_nulls: u64,
    /// Pages that it stored.
    pub caller_stores: u64,
    /// Slots that it made NULL.
    pub caller_clears: u64,
    /// Single-page requests that a bulk call ended in.
    pub bulk_singles: u64,
    /// Single-page requests, those included.
    pub singles: u64,
    /// Of these, pages from the per-CPU lists.
    pub singles_listed: u64,
    /// Trylocks that failed.
    pub lost: u64,
    /// Refills of a list.
    pub refills: u64,
    /// Blocks that they moved.
    pub refilled: u64,
    /// Blocks that were split.
    pub split_blocks: u64,
    /// Halves that went back.
    pub split_halves: u64,
    /// Blocks of another type that were claimed or stolen from.
    pub fallbacks: u64,
    looked: bool,
}

impl Steps {
    /// Names and values.
    pub fn named(&self) -> [(&'static str, u64); 21] {
        [
            ("calls", self.calls),
            ("looking_calls", self.looking_calls),
            ("skipped_first", self.skipped_first),
            ("gates", self.gates),
            ("batches", self.batches),
            ("skipped_locked", self.skipped_locked),
            ("tested_locked", self.tested_locked),
            ("pages", self.pages),
            ("caller_pages", self.caller_pages),
            ("caller_nulls", self.caller_nulls),
            ("caller_stores", self.caller_stores),
            ("caller_clears", self.caller_clears),
            ("bulk_singles", self.bulk_singles),
            ("singles", self.singles),
            ("singles_listed", self.singles_listed),
            ("lost", self.lost),
            ("refills", self.refills),
            ("refilled", self.refilled),
            ("split_blocks", self.split_blocks),
            ("split_halves", self.split_halves),
            ("fallbacks", self.fallbacks),
        ]
    }
}

impl Probe for Steps {
    const ON: bool = true;
    fn event(&mut self, event: Event) {
        match (event, self.place) {
            (Event::BulkCall { .. }, _) => {
                self.calls += 1;
                self.looked = false;
                self.place = Place::Call;
            }
            (Event::BulkReturn { .. }, _) => self.place = Place::Caller,
            (Event::Slice { .. }, _) => self.place = Place::Call,
            (Event::BulkZone { .. }, _) => self.gates += 1,
            (Event::BulkSingle { .. }, place) => {
                self.bulk_singles += 1;
                // A call that nobody announced ends with its page.
                if place != Place::Caller {
                    self.place = Place::Single;
                }
            }
            (Event::PcpTrylock { locked: false, .. }, _) => self.lost += 1,
            (Event::PcpTrylock { locked: true, .. }, Place::Call) => {
                self.batches += 1;
                self.place = Place::Loop;
            }
            (Event::PcpUnlock { .. }, Place::Loop) => self.place = Place::Call,
            (Event::SlotTest { populated, .. }, Place::Call) => {
                self.looking_calls += u64::from(!self.looked);
                self.looked = true;
                self.skipped_first += u64::from(populated);
            }
            (Event::SlotTest { populated: true, .. }, Place::Loop) => self.skipped_locked += 1,
            (Event::SlotTest { populated: false, .. }, Place::Loop) => self.tested_locked += 1,
            (Event::SlotTest { populated: true, .. }, Place::Caller) => self.caller_pages += 1,
            (Event::SlotTest { populated: false, .. }, Place::Caller) => self.caller_nulls += 1,
            (Event::SlotWrite { page, .. }, Place::Caller | Place::Call) => {
                if page.is_null() {
                    self.caller_clears += 1;
                } else {
                    self.caller_stores += 1;
                }
            }
            (Event::ListTake { .. }, Place::Loop) => self.pages += 1,
            (Event::ListTake { .. }, _) => self.singles_listed += 1,
            (Event::PageAlloc { .. }, _) => self.singles += 1,
            (Event::Refill { got, .. }, _) => {
                self.refills += 1;
                self.refilled += u64::from(got);
            }
            (Event::Split { low, high, .. }, _) => {
                self.split_blocks += 1;
                self.split_halves += u64::from(high - low);
            }
            (Event::Extfrag { .. }, _) => self.fallbacks += 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fill;
    use crate::fill::Filler;
    use bulkpages_callers::Form;
    use bulkpages_callers::holes::Shape;
    use bulkpages_core::Machine;
    use bulkpages_core::boot::BootSpec;
    use bulkpages_core::sync::Local;

    fn steps(form: Form, shape: &str, trylock_loss: f64) -> Steps {
        let machine: Machine<Local> = Machine::boot(&BootSpec::new(32768, 1, 1)).unwrap();
        let shape = Shape::parse(shape).unwrap();
        let fill = Fill {
            filler: Filler::Caller(bulkpages_callers::Caller::Svc),
            form,
            shape,
            cold: false,
            trylock_loss,
            seed: 0,
        };
        fill.count(&machine, 1).unwrap().0.steps
    }

    #[test]
    fn the_same_test_of_a_slot_counts_by_its_place() {
        let s = steps(Form::Before, "xx.x..x", 0.0);
        assert_eq!((s.calls, s.looking_calls, s.batches, s.skipped_first), (1, 1, 1, 2));
        assert_eq!((s.skipped_locked, s.tested_locked, s.pages), (2, 3, 3), "the loop goes on to the end");
        let s = steps(Form::After, "xx.x..x", 0.0);
        assert_eq!((s.caller_pages, s.caller_nulls, s.caller_stores, s.caller_clears), (4, 3, 4, 2));
        assert_eq!((s.batches, s.pages, s.tested_locked, s.skipped_first), (1, 3, 0, 0));
    }

    #[test]
    fn a_lost_trylock_makes_a_call_of_each_page() {
        let s = steps(Form::After, "......", 1.0);
        assert_eq!((s.calls, s.batches, s.bulk_singles, s.singles, s.singles_listed), (6, 0, 6, 6, 0));
        // The last page is asked for by itself, so the gate is not passed.
        assert_eq!(s.gates, 5);
    }
}
