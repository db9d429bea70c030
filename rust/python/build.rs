//! Notes the compiler's version, for the provenance of results.

fn main() {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = std::process::Command::new(rustc).arg("--version").output();
    let version = version.ok().and_then(|o| String::from_utf8(o.stdout).ok()).unwrap_or_default();
    println!("cargo::rustc-env=BULKPAGES_RUSTC={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
