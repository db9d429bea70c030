"""What in a function's text shows which form of a rule a kernel has, for functions whose text is not known.

A marker is a name or an expression on which the rule turns, looked for in the text with one space between tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from bulkpages.eras.functions import Found

__all__ = ["MARKERS", "PATCHED_CALL", "SETTINGS", "Marker"]

BULK = "alloc_pages_bulk_noprof"
COMMIT = "free_frozen_page_commit"


@dataclass(frozen=True)
class Marker:
    """What shows a rule.

    Attributes:
        function: Where it is looked for, by the name in the table of functions.
        newer: Pattern of the newer form.
        older: Pattern of the older form; None where that is the absence of the newer.
        elsewhere: The function that `older` is looked for in, if it is another.
    """

    function: str
    newer: str
    older: str | None = None
    elsewhere: str | None = None

    def holds(self, functions: Mapping[str, Found]) -> bool | None:
        """Whether the rule holds; None when the text shows neither form, or both."""
        found = functions.get(self.function)
        newer = found is not None and re.search(self.newer, found.text) is not None
        if self.older is None:
            return newer if found is not None else None
        other = functions.get(self.elsewhere or self.function)
        older = other is not None and re.search(self.older, other.text) is not None
        return newer if newer != older else None


#: A marker for each rule that a text can show.
MARKERS: Mapping[str, Marker] = {
    "bulk_mark_excludes_prefix": Marker(
        BULK, r"ALLOC_WMARK_MASK \) \+ nr_pages - nr_populated ;", r"ALLOC_WMARK_MASK \) \+ nr_pages ;"
    ),
    "highatomic_at_first_attempt": Marker("__alloc_frozen_pages_noprof", r"\bALLOC_HIGHATOMIC\b"),
    "first_pass_skips_awake_kswapd": Marker("get_page_from_freelist", r"waitqueue_active \( .{0,40} -> kswapd_wait"),
    "below_high_noted": Marker("get_page_from_freelist", r"set_bit \( ZONE_BELOW_HIGH"),
    "slow_path_attempts_once": Marker(
        "__alloc_pages_slowpath",
        r"\A(?:(?!\bget_page_from_freelist \().)*\bget_page_from_freelist \((?:(?!\bget_page_from_freelist \().)*\Z",
        r"\bget_page_from_freelist \(.*\bget_page_from_freelist \(",
    ),
    "gfp_high_sees_through_boost": Marker(
        "zone_watermark_fast",
        r"ALLOC_(?:MIN_RESERVE|HIGH) \) && z -> watermark_boost",
        r"__GFP_ATOMIC \) && z -> watermark_boost",
    ),
    "highatomic_free_counted": Marker(
        "__zone_watermark_unusable_free", r"z -> nr_free_highatomic", r"z -> nr_reserved_highatomic"
    ),
    "pcp_high_tuned": Marker("nr_pcp_high", r"pcp -> high_max", r"READ_ONCE \( pcp -> high \)"),
    "free_high_counts_high_min": Marker(
        COMMIT, r"free_count >= \( batch \+ pcp -> high_min", r"free_count >= batch|pcp -> free_factor"
    ),
    "drain_in_batches": Marker(
        COMMIT, r"free_pcppages_bulk \( zone , to_free_batched", r"free_pcppages_bulk \( zone , nr_pcp_free \("
    ),
    "free_revives_kswapd": Marker(COMMIT, r"kswapd_failures|kswapd_clear_hopeless"),
    "highatomic_refills_no_list": Marker("__rmqueue_pcplist", r"alloc_flags & ALLOC_HIGHATOMIC \) return NULL"),
    "highatomic_reserves_at_min": Marker(
        "rmqueue_buddy",
        r"\breserve_highatomic_pageblock \(",
        r"\breserve_highatomic_pageblock \(",
        elsewhere="get_page_from_freelist",
    ),
    "highatomic_limit_rounded": Marker(
        "reserve_highatomic_pageblock",
        r"ALIGN \( \( zone_managed_pages \( zone \) / 100 \)",
        r"/ 100 \) \+ pageblock_nr_pages",
    ),
    "list_type_is_block_type": Marker(
        "free_pcppages_bulk", r"= get_pfnblock_migratetype \(", r"get_pcppage_migratetype \("
    ),
    "claim_then_steal": Marker("__rmqueue", r"__rmqueue_claim \(", r"__rmqueue_fallback \("),
    "folios_freed_in_batches": Marker("free_unref_folios", r"folios -> folios \[", r"\bSWAP_CLUSTER_MAX\b"),
    "free_past_lists_counted": Marker("free_one_page", r"\bPGFREE\b"),
    "movable_min_capped": Marker("__setup_per_zone_wmarks", r"\bZONE_MOVABLE\b"),
    "free_blocks_counted": Marker("__add_to_free_list", r"\bNR_FREE_PAGES_BLOCKS\b"),
    "up_without_lists": Marker(
        "pcp_spin_trylock", r"#define pcp_spin_trylock \( ptr \) NULL", r"\bpcpu_spin_trylock \("
    ),
}
#: Rules that are not a matter of the source: what decides them.
SETTINGS: Mapping[str, str] = {"defrag_mode": "the sysctl vm.defrag_mode", "smp": "CONFIG_SMP"}

#: Whether the bulk call takes an array that is output only, as the patch of 28 February 2025 makes it: without the test
#: for elements that hold a page.
PATCHED_CALL = Marker(
    BULK, r"\A(?!.*\bpage_array \[ nr_populated \] \)).*\bpage_array \[", r"page_array \[ nr_populated \] \)"
)
