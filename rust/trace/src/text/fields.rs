//! Kernel: the `TP_printk` lines of `include/trace/events/kmem.h` (v2.6.33 to v6.18): `key=value` fields.

use super::head::digits;

/// Largest order that a line may name. Kernels are built with largest blocks of order 8 to 15; requests may ask for more.
pub const MAX_ORDER: u64 = 63;
/// Largest migrate type that a line may name; kernels have at most eight.
const MAX_MIGRATETYPE: u64 = 15;

/// The text behind an event's name.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The text of a field.
    ///
    /// # Errors
    ///
    /// There is none of this name.
    pub fn raw(&self, key: &str) -> Result<&'a [u8], String> {
        let mut rest = self.0;
        let key = key.as_bytes();
        loop {
            let Some(at) = rest.windows(key.len()).position(|w| w == key) else {
                return Err(format!("no field {}", String::from_utf8_lossy(key)));
            };
            let value = &rest[at + key.len()..];
            if (at == 0 || rest[at - 1] == b' ') && value.first() == Some(&b'=') {
                let value = &value[1..];
                let end = value.iter().position(|&b| b == b' ' || b == b',').unwrap_or(value.len());
                return Ok(&value[..end]);
            }
            rest = &rest[at + key.len()..];
        }
    }

    /// A number, decimal or with `0x`, up to `limit`.
    ///
    /// # Errors
    ///
    /// No such field, no number, or above the limit.
    pub fn number(&self, key: &str, limit: u64) -> Result<u64, String> {
        let raw = self.raw(key)?;
        let value = match raw {
            [b'0', b'x', hex @ ..] if !hex.is_empty() && hex.len() <= 16 => {
                hex.iter().try_fold(0u64, |v, b| Some(v << 4 | u64::from((*b as char).to_digit(16)?)))
            }
            _ => digits(raw).filter(|d| d.1.is_empty()).map(|d| d.0),
        };
        match value {
            Some(v) if v <= limit => Ok(v),
            Some(v) => Err(format!("{key} {v:#x} is above {limit:#x}")),
            None => Err(format!("{key} {:?} is no number", String::from_utf8_lossy(raw))),
        }
    }

    /// The frame; 0 for none.
    pub(super) fn pfn(&self) -> Result<u64, String> {
        // `-1UL` is how the kernel stores that there is no page; not every tool prints 0 for it.
        self.number("pfn", u64::MAX).map(|v| if v == u64::MAX { 0 } else { v })
    }

    pub(super) fn order(&self, key: &str) -> Result<u8, String> {
        self.number(key, MAX_ORDER).map(|v| v as u8)
    }

    pub(super) fn migratetype(&self, key: &str) -> Result<u8, String> {
        self.number(key, MAX_MIGRATETYPE).map(|v| v as u8)
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, String> {
        self.number(key, 1).map(|v| v == 1)
    }
}
