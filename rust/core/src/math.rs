//! Kernel: `include/linux/math.h`, `minmax.h` and `bitops.h` (v6.12): arithmetic that rounds or saturates in its own way.

/// `mult_frac()`: x * n / d, without the overflow and with the kernel's rounding.
pub(crate) fn mult_frac(x: u64, n: u64, d: u64) -> u64 {
    (x / d) * n + ((x % d) * n) / d
}

/// `fls()`: position of the highest bit, 0 for 0.
pub(crate) fn fls(x: u64) -> u64 {
    u64::from(u64::BITS - x.leading_zeros())
}

/// The kernel's `clamp()`: the upper bound is tested first, which matters where it is below the lower one.
pub fn kernel_clamp<T: PartialOrd>(value: T, low: T, high: T) -> T {
    if value >= high {
        high
    } else if value <= low {
        low
    } else {
        value
    }
}
