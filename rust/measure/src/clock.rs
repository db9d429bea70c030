//! The time stamp counter, read as `bench.c` beside the recordings reads it: serialised on both sides, so that what is
//! timed neither starts early nor ends late.

/// Whether [`now`] counts cycles of the time stamp counter (x86-64) or nanoseconds.
pub const COUNTS_CYCLES: bool = cfg!(target_arch = "x86_64");

#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn now() -> u64 {
    use core::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86-64 processor has both instructions; neither touches memory that Rust owns.
    unsafe {
        _mm_lfence();
        let cycles = _rdtsc();
        _mm_lfence();
        cycles
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub fn now() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// What a reading costs, in its own counts: the median of many pairs.
pub fn cost() -> u64 {
    let mut gaps: Vec<u64> = (0..1001)
        .map(|_| {
            let first = now();
            now() - first
        })
        .collect();
    gaps.sort_unstable();
    gaps[500]
}

/// Nanoseconds per reading, measured over about 20 ms.
pub fn ns_per_count() -> f64 {
    use std::time::{Duration, Instant};
    if !COUNTS_CYCLES {
        return 1.0;
    }
    let (start, first) = (Instant::now(), now());
    while start.elapsed() < Duration::from_millis(20) {
        core::hint::spin_loop();
    }
    let (elapsed, last) = (start.elapsed(), now());
    elapsed.as_nanos() as f64 / (last - first) as f64
}
