"""Terms of the kernel and of this program, for readers who are new to them."""

from __future__ import annotations

__all__ = ["GLOSSARY"]

#: Term and meaning, in alphabetical order.
GLOSSARY = (
    ("A/A comparison", "A form timed against itself; any difference found is a false alarm."),
    ("bulk call", "alloc_pages_bulk(): one call that fills many slots of an array with single pages."),
    (
        "cold lists",
        "The per-CPU lists are empty before a fill, so its pages come from the zone, under the zone's lock.",
    ),
    ("compaction", "Moving the pages of an array to its front, so that all NULL slots are at the end."),
    ("emulator time", "The time this program takes to make the same decisions. It is not kernel time."),
    ("fill", "One call of a kernel function that fills an array, from call to return."),
    ("hole", "A NULL slot between slots that hold pages."),
    (
        "interval",
        "The range in which the true difference lies, written [low, high]. The method says how certain it is.",
    ),
    (
        "kernel cycles",
        "Clock cycles the real kernel took. They are valid only for the processor they were measured on.",
    ),
    ("kernel instructions", "Instructions Linux executes for the work: the same on every x86-64 processor."),
    ("mainline", "The call as merged: only NULL slots are filled. The API calls it v1."),
    (
        "measured, predicted",
        "Counted in the real kernel; or the emulated run's counts times what each step costs the kernel.",
    ),
    ("NULL array", "An array that holds no page."),
    ("page owner", "A kernel debugging option; with it, a bulk call returns a single page."),
    ("patched", "The call as proposed in February 2025: the array is pure output. The API calls it v2."),
    ("per-CPU list", "Free pages that a CPU keeps for itself, behind a lock that is only tried, never waited on."),
    ("proposal v3", "The proposal of April 2025, with a second call that refills; not merged."),
    ("slot work", "The number of array slots read, stored or cleared."),
    ("tracked holes", "The caller remembers which slots are empty and passes only those: sunrpc since Linux 7.1."),
    ("trylock", "An attempt to take a lock that gives up if someone else holds it."),
    ("zone lock", "The lock of a memory zone; on SMP, interrupts are off while it is held."),
)
