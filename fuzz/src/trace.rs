//! Bytes are a trace: read in chunks, followed with and without learning, on a small machine.

use bulkpages_core::Machine;
use bulkpages_core::boot::BootSpec;
use bulkpages_core::sync::Local;
use bulkpages_trace::follow::Follower;
use bulkpages_trace::lines::Lines;
use bulkpages_trace::text::Parser;

/// One input.
pub(crate) fn one(data: &[u8]) {
    for learn in [false, true] {
        let machine = Machine::<Local>::boot(&BootSpec::new(32 * 256, 2, 1)).expect("a legal machine");
        let (mut follower, mut parser, mut lines) =
            (Follower::new(machine, learn), Parser::default(), Lines::default());
        let mut follow = |number: u64, line: &[u8]| follower.line(number, &parser.line(line));
        for chunk in data.chunks(1000) {
            lines.feed(chunk, &mut follow);
        }
        lines.finish(&mut follow);
        let (_, machine) = follower.finish();
        machine.audit().expect("a sound machine");
    }
}
