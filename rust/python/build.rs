//! Notes the compiler's version and the commit, for the provenance of results.

use std::process::Command;

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.lines().next()?.trim().to_owned())
}

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = first_line(Command::new(rustc).arg("--version")).unwrap_or_else(|| "unknown".into());
    // Built from a source archive there is no commit to name.
    let commit = first_line(Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]));
    println!("cargo::rustc-env=BULKPAGES_RUSTC={version}");
    println!("cargo::rustc-env=BULKPAGES_COMMIT={}", commit.unwrap_or_else(|| "unknown".into()));
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../.git/HEAD");
    println!("cargo::rerun-if-changed=../../.git/index");
}
