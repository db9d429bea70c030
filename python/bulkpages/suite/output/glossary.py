"""Words of the trade and of this program, for who meets them here first."""

from __future__ import annotations

__all__ = ["GLOSSARY"]

#: Term and meaning, in alphabetical order.
GLOSSARY = (
    ("A/A comparison", "A form timed against itself; a difference claimed there is a false alarm."),
    ("bulk call", "alloc_pages_bulk(): one call that fills many slots of an array with single pages."),
    ("cold lists", "The per-CPU lists are empty before a fill, so that pages come from the zone, under its lock."),
    ("compaction", "Moving the pages of an array to its front, so that the NULL slots stand together at the end."),
    ("emulator time", "What this program takes for the same decisions. It is never kernel time."),
    ("fill", "One call of a kernel function that fills an array, from call to return."),
    ("hole", "A NULL slot between slots that hold pages."),
    ("interval", "Where the true difference lies; how surely, the method says. Written [low, high]."),
    ("kernel cycles", "Clock cycles that the real kernel took. They hold for the processor they were measured on."),
    ("kernel instructions", "Instructions that Linux executes for the work: the same on every x86-64 processor."),
    ("mainline", "The call as merged: only NULL slots are filled. Its name in the API of this program is v1."),
    (
        "measured, predicted",
        "Counted in the real kernel; or counts of the emulated run times what each step costs there.",
    ),
    ("NULL array", "An array without any page in it."),
    ("page owner", "A debugging option of the kernel, with which a bulk call brings one page."),
    ("patched", "The call as proposed in February 2025: the array is pure output. Its name in the API is v2."),
    ("per-CPU list", "Free pages that a CPU keeps for itself, behind a lock that is only tried, never waited for."),
    ("proposal v3", "The proposal of April 2025, with a second call that refills; not merged."),
    ("slot work", "Slots of the array that are read, stored or cleared."),
    ("tracked holes", "The caller remembers which slots are empty and passes only those: sunrpc since Linux 7.1."),
    ("trylock", "An attempt to take a lock that gives up when another has it."),
    ("zone lock", "The lock of a memory zone; while it is held on SMP, interrupts are off."),
)
