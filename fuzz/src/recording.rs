//! A text is a recording: refused, or replayed on a machine that stays sound.

use bulkpages_core::recording::Recording;
use bulkpages_core::replay::{OpResult, Replay};
use bulkpages_core::sync::Local;
use bulkpages_core::{Ctx, Machine};

/// One input.
pub(crate) fn one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(recording) = Recording::parse(text) else { return };
    // Larger machines are legal; an audit of every frame would only be slow.
    if recording.before.zones.iter().any(|z| z.start.saturating_add(z.spanned) > 1 << 20) {
        return;
    }
    let Ok(machine) = Machine::<Local>::from_snapshot(&recording.before) else { return };
    let (mut replay, mut result) = (Replay::default(), OpResult::default());
    for (raw, _) in &recording.ops {
        let Ok(op) = raw.parse() else { break };
        if replay.check(&machine, &op).is_err() || replay.run(&machine, &mut Ctx::on(0), &op, &mut result).is_err() {
            break;
        }
    }
    machine.audit().expect("a sound machine");
}
