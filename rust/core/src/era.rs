//! Kernel: what changed in `mm/page_alloc.c` between v6.1, v6.12 and v7.3, rule by rule, and which kernel has which rules.
//!
//! A kernel function that changed has its forms side by side in its own file, and asks a rule here which one applies. An
//! era is a table of rules, listing only the differences from the era before. Stable kernels are mosaics because fixes
//! are backported, so each rule can also be set alone.

use crate::error::{Error, Result};

/// A kernel series whose recordings are replayed to the last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Era {
    /// Recorded as 6.1.192.
    V6_1,
    /// Recorded as 6.12.117.
    #[default]
    V6_12,
    /// Recorded as 7.3.4.
    V7_3,
}

impl Era {
    /// Every era, oldest first.
    pub const ALL: [Era; 3] = [Era::V6_1, Era::V6_12, Era::V7_3];

    /// Its name: the kernel's version without the last number.
    pub const fn name(self) -> &'static str {
        match self {
            Era::V6_1 => "6.1",
            Era::V6_12 => "6.12",
            Era::V7_3 => "7.3",
        }
    }

    /// The release whose behaviour was recorded.
    pub const fn recorded(self) -> &'static str {
        match self {
            Era::V6_1 => "6.1.192",
            Era::V6_12 => "6.12.117",
            Era::V7_3 => "7.3.4",
        }
    }

    /// The era of this name.
    ///
    /// # Errors
    ///
    /// For a name that is none of [`Era::ALL`].
    pub fn parse(name: &str) -> Result<Era> {
        Era::ALL.into_iter().find(|era| era.name() == name).ok_or_else(|| {
            let known = Era::ALL.map(Era::name).join(", ");
            Error::invalid(format!("kernel {name:?} is not one of {known}"))
        })
    }

    /// What holds in it.
    pub const fn rules(self) -> Rules {
        match self {
            Era::V6_1 => V6_1,
            Era::V6_12 => V6_12,
            Era::V7_3 => V7_3,
        }
    }
}

/// A rule: what it says, and when the kernel took it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name: a field of [`Rules`].
    pub name: &'static str,
    /// The first release with it, where that is known.
    pub since: &'static str,
    /// Hash and subject of the commit that brought it, each where it is known.
    pub commit: &'static str,
    /// The kernel functions that changed.
    pub functions: &'static [&'static str],
    /// What holds where it is on.
    pub text: &'static str,
}

macro_rules! rules {
    ($($(#[doc = $text:literal])+ $name:ident, $since:literal, $commit:literal, [$($function:literal),*];)*) => {
        /// Which form of each function that changed holds. `false` is the older form everywhere.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct Rules {
            $($(#[doc = $text])+ pub $name: bool,)*
        }

        impl Rules {
            /// Every rule, in the order of the functions that a request walks through.
            pub const ALL: &'static [Rule] = &[$(Rule {
                name: stringify!($name),
                since: $since,
                commit: $commit,
                functions: &[$($function),*],
                text: concat!($($text),+),
            }),*];

            /// No rule at all: the oldest form of everything.
            const OLDEST: Rules = Rules { $($name: false),* };

            /// Whether the rule of this name holds; `None` when there is no such rule.
            pub fn get(&self, name: &str) -> Option<bool> {
                match name {
                    $(stringify!($name) => Some(self.$name),)*
                    _ => None,
                }
            }

            fn field(&mut self, name: &str) -> Option<&mut bool> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

rules! {
    /// The mark of the bulk call's zone gate is LOW plus the pages still wanted; before, plus all slots of the array.
    bulk_mark_excludes_prefix, "7.1", "", ["alloc_pages_bulk"];
    /// A request of an order above 0 that may not block and has `__GFP_HIGH` may use the high-atomic reserve at its
    /// first attempt; before, only in the slow path.
    highatomic_at_first_attempt, "", "mm/page_alloc: use existing highatomic reserves on the buddy fastpath", ["__alloc_pages"];
    /// With several nodes a request first passes over nodes whose kswapd is awake.
    first_pass_skips_awake_kswapd, "", "19c5fb83f2a4 mm: page_alloc: avoid kswapd thrashing due to NUMA restrictions", ["get_page_from_freelist"];
    /// A zone that fails the HIGH mark is noted (`ZONE_BELOW_HIGH`), and its per-CPU limits come down.
    below_high_noted, "6.7", "57c0419c5f0e mm, pcp: decrease PCP high if free pages < high watermark", ["get_page_from_freelist", "free_unref_page_commit"];
    /// The slow path attempts once a round, and again at once only where cpusets were dropped or a reserve was opened;
    /// before, every request attempted twice before it reclaimed.
    slow_path_attempts_once, "", "2c4c3e29897d mm/page_alloc: simplify __alloc_pages_slowpath() flow", ["__alloc_pages_slowpath"];
    /// `__GFP_HIGH` sees through a boost of the MIN mark; before, `__GFP_ATOMIC` did, a flag that is gone since.
    gfp_high_sees_through_boost, "6.3", "2973d8229b78 mm: discard __GFP_ATOMIC", ["zone_watermark_fast"];
    /// Only the free pages of the high-atomic reserve are out of reach of ordinary requests; before, all its pages
    /// counted as if they were free.
    highatomic_free_counted, "", "c928807f6f6b mm/page_alloc: keep track of free highatomic", ["__zone_watermark_unusable_free", "account_freepages"];
    /// `high` of the per-CPU lists moves between two limits, refills grow, and drains follow the frees seen in a row;
    /// before, `high` and refills were fixed and a drain doubled each time.
    pcp_high_tuned, "6.7", "51a755c56dc0 mm: tune PCP high automatically", ["nr_pcp_alloc", "nr_pcp_high", "nr_pcp_free", "free_unref_page_commit"];
    /// Frees of an order above 0 drain when more than a batch and half of `high_min` was freed in a row; before, a batch.
    free_high_counts_high_min, "6.16", "c544a952ba61 mm: pcp: increase pcp->free_count threshold to trigger free_high", ["free_frozen_page_commit"];
    /// A drain on the free path goes in pieces of a batch, and the lists' lock is given back between them.
    drain_in_batches, "6.19", "mm/page_alloc: batch page freeing in free_frozen_page_commit", ["free_frozen_page_commit", "decay_pcp_high"];
    /// A free that finds the zone above HIGH again lets a kswapd that has given up try again.
    free_revives_kswapd, "", "", ["free_frozen_page_commit"];
    /// A high-atomic request does not refill an empty per-CPU list: it goes to the buddy lists, where the reserve is.
    highatomic_refills_no_list, "", "mm/page_alloc: don't increase highatomic reserve after pcp alloc", ["__rmqueue_pcplist"];
    /// A high-atomic block is reserved only for a page from the buddy lists, and only for an attempt at the MIN mark.
    highatomic_reserves_at_min, "", "mm/page_alloc: use existing highatomic reserves on the buddy fastpath", ["get_page_from_freelist", "rmqueue_buddy"];
    /// The high-atomic reserve is at most 1 % of a zone, rounded up to pageblocks, and none where that is less than one;
    /// before, 1 % and one pageblock more.
    highatomic_limit_rounded, "6.8", "9cd20f3fe045 mm: page_alloc: enforce minimum zone size to do high atomic reserves", ["reserve_highatomic_pageblock"];
    /// Pages keep no type of their own: a free block is on the list of its pageblock's type, always, and each block that
    /// moves or merges keeps that true; before, a page carried the type of the list it came from, and went back by it.
    list_type_is_block_type, "6.10", "17edeb5d3f76 mm: page_alloc: remove pcppage migratetype caching", ["__free_one_page", "free_pcppages_bulk", "move_freepages_block", "rmqueue_bulk"];
    /// When a type has no free block, whole pageblocks are claimed as long as that works, then single pages stolen from
    /// the smallest block; before, one function did both, from the largest block on.
    claim_then_steal, "6.15", "90abee6d7895 mm: page_alloc: speed up fallbacks in rmqueue_bulk()", ["__rmqueue", "__rmqueue_claim", "__rmqueue_steal", "try_to_claim_block"];
    /// Pages that are freed together go back in their order, in batches of 31, each under one hold of a list's lock; before, all
    /// at once, the last page first, and the lock let go after every 32.
    folios_freed_in_batches, "6.9", "90491d87dd46 mm: add free_unref_folios()", ["free_unref_folios"];
    /// A free that finds the per-CPU lists locked is counted in `pgfree` like any other.
    free_past_lists_counted, "", "", ["free_one_page"];
    /// The Movable zone has no part in the MIN marks and a small one of its own.
    movable_min_capped, "", "", ["__setup_per_zone_wmarks"];
    /// The kernel counts free pages in whole pageblocks (`nr_free_pages_blocks`).
    free_blocks_counted, "6.15", "a211c6550efc mm: page_alloc: defrag_mode kswapd/kcompactd watermarks", ["__add_to_free_list", "pgdat_balanced"];
    /// `vm.defrag_mode`: no request mixes types in a pageblock as long as it may reclaim, and kswapd is woken for whole
    /// pageblocks.
    defrag_mode, "6.15", "e3aa7df331bc mm: page_alloc: defrag_mode", ["alloc_flags_nofragment", "get_page_from_freelist", "wake_all_kswapds", "pgdat_balanced"];
    /// A build without SMP has no per-CPU lists; before, it had them, with interrupts off in place of a lock.
    up_without_lists, "7.1", "a373f371166d mm/page_alloc: effectively disable pcp with CONFIG_SMP=n", ["pcp_spin_trylock"];
    /// The kernel is built for several processors (`CONFIG_SMP`).
    smp, "", "", ["pcp_spin_trylock"];
}

const V6_1: Rules = Rules { smp: true, ..Rules::OLDEST };

const V6_12: Rules = Rules {
    below_high_noted: true,
    gfp_high_sees_through_boost: true,
    highatomic_free_counted: true,
    pcp_high_tuned: true,
    highatomic_limit_rounded: true,
    list_type_is_block_type: true,
    claim_then_steal: true,
    folios_freed_in_batches: true,
    free_past_lists_counted: true,
    movable_min_capped: true,
    ..V6_1
};

const V7_3: Rules = Rules {
    bulk_mark_excludes_prefix: true,
    highatomic_at_first_attempt: true,
    first_pass_skips_awake_kswapd: true,
    slow_path_attempts_once: true,
    free_high_counts_high_min: true,
    drain_in_batches: true,
    free_revives_kswapd: true,
    highatomic_refills_no_list: true,
    highatomic_reserves_at_min: true,
    free_blocks_counted: true,
    up_without_lists: true,
    ..V6_12
};

impl Default for Rules {
    fn default() -> Rules {
        Era::default().rules()
    }
}

impl Rules {
    /// These rules with one set otherwise.
    ///
    /// # Errors
    ///
    /// When there is no rule of this name.
    pub fn with(mut self, name: &str, holds: bool) -> Result<Rules> {
        match self.field(name) {
            Some(field) => *field = holds,
            None => {
                let known: Vec<_> = Rules::ALL.iter().map(|rule| rule.name).collect();
                return Err(Error::invalid(format!("rule {name:?} is not one of {}", known.join(", "))));
            }
        }
        Ok(self)
    }

    /// Names and values of all rules.
    pub fn all(self) -> impl Iterator<Item = (&'static str, bool)> {
        Rules::ALL.iter().filter_map(move |rule| Some((rule.name, self.get(rule.name)?)))
    }

    /// Names and values of the rules in which these differ from `other`.
    pub fn differences(&self, other: &Rules) -> impl Iterator<Item = (&'static str, bool)> {
        let (mine, other) = (*self, *other);
        Rules::ALL.iter().filter_map(move |rule| {
            let holds = mine.get(rule.name)?;
            (other.get(rule.name) != Some(holds)).then_some((rule.name, holds))
        })
    }

    /// Whether a CPU has page lists of its own.
    pub const fn has_pcp_lists(&self) -> bool {
        self.smp || !self.up_without_lists
    }
}
