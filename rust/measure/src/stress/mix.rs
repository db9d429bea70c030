//! What the workers of a stress run do, and how often.

use bulkpages_core::{Error, Result};

/// One thing that a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `alloc_pages()` of one page.
    Single,
    /// `alloc_pages()` of order 1 to 3.
    Order,
    /// v1 on an array with holes.
    V1,
    /// v2 on the NULL rest of an array.
    V2,
    /// v3 on an array with holes.
    V3,
    /// Frees up to 64 blocks that the worker owns.
    Free,
    /// Passes up to 64 blocks to another worker, who frees them or uses them.
    Pass,
    /// `drain_local_pages()`.
    Local,
    /// `drain_all_pages()`: takes the locks of all CPUs.
    Drain,
}

impl Op {
    /// All of them, in the order of their numbers.
    pub const ALL: [Op; 9] = [Op::Single, Op::Order, Op::V1, Op::V2, Op::V3, Op::Free, Op::Pass, Op::Local, Op::Drain];

    /// Name in a mix.
    pub const fn name(self) -> &'static str {
        match self {
            Op::Single => "single",
            Op::Order => "order",
            Op::V1 => "v1",
            Op::V2 => "v2",
            Op::V3 => "v3",
            Op::Free => "free",
            Op::Pass => "pass",
            Op::Local => "local",
            Op::Drain => "drain",
        }
    }
}

/// How often each [`Op`] comes, relative to the others.
pub type Mix = [u32; Op::ALL.len()];

/// Mixes that have names, with what they are for.
pub const PRESETS: [(&str, Mix); 4] = [
    // Everything at once.
    ("default", [40, 5, 10, 10, 5, 40, 20, 2, 1]),
    // Bulk calls and frees, hardly anything else.
    ("bulk", [2, 0, 20, 20, 10, 10, 10, 0, 0]),
    // Bulk calls against drains that hold their locks.
    ("drain", [10, 0, 10, 10, 5, 10, 5, 2, 10]),
    // Pages travel: nearly each is freed on another CPU.
    ("remote-free", [40, 5, 5, 5, 2, 4, 60, 1, 1]),
];

/// A mix from its text: a preset, weights as `bulk=4,single=2,drain=1`, or a preset and then weights that differ.
/// `bulk` sets the weights of all three bulk calls.
///
/// # Errors
///
/// For a name that is none, a weight that is none or above 1000000, or a mix that never allocates.
pub fn parse_mix(text: &str) -> Result<Mix> {
    let mut mix = [0; Op::ALL.len()];
    for (i, part) in text.split(',').map(str::trim).enumerate() {
        if i == 0
            && let Some((_, preset)) = PRESETS.iter().find(|(name, _)| *name == part)
        {
            mix = *preset;
            continue;
        }
        let Some((name, weight)) = part.split_once('=') else {
            let presets = PRESETS.map(|(name, _)| name).join(", ");
            return Err(Error::invalid(format!("mix {part:?} is neither a weight (name=number) nor one of {presets}")));
        };
        let weight: u32 = match weight.trim().parse() {
            Ok(weight) if weight <= 1_000_000 => weight,
            _ => return Err(Error::invalid(format!("mix: weight {weight:?} of {name} is outside 0 to 1000000"))),
        };
        match name.trim() {
            "bulk" => [Op::V1, Op::V2, Op::V3].iter().for_each(|op| mix[*op as usize] = weight),
            name => match Op::ALL.iter().find(|op| op.name() == name) {
                Some(op) => mix[*op as usize] = weight,
                None => {
                    let names = Op::ALL.map(Op::name).join(", ");
                    return Err(Error::invalid(format!("mix: {name:?} is not one of bulk, {names}")));
                }
            },
        }
    }
    if mix[..Op::Free as usize].iter().all(|&w| w == 0) {
        return Err(Error::invalid(format!("mix {text:?} allocates nothing")));
    }
    Ok(mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_a_preset_or_weights_or_both() {
        let mix = parse_mix("bulk=4,single=2,drain=1").unwrap();
        assert_eq!(mix, [2, 0, 4, 4, 4, 0, 0, 0, 1]);
        assert_eq!(parse_mix("default,drain=9").unwrap()[Op::Drain as usize], 9);
        for bad in ["", "fast", "single=-1", "single=1000001", "speed=1", "drain=1,free=2", "single=1,default"] {
            assert!(parse_mix(bad).is_err(), "{bad:?}");
        }
    }
}
