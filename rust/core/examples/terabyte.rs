//! Boot time and memory of a machine of 1 TiB with 8 nodes.
#![allow(clippy::print_stdout)]
use bulkpages_core::{Machine, boot::BootSpec, sync::Local};

fn main() {
    let start = std::time::Instant::now();
    let machine = Machine::<Local>::boot(&BootSpec::new(1 << 28, 8, 8)).unwrap();
    let took = start.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let rss = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("1 TiB, {} nodes: booted in {took:?}, {rss}", machine.nodes());
}
