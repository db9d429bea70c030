//! Kernel: `include/trace/events/mmflags.h`, `show_gfp_flags()` (v6.12): the text of gfp flags in a trace.

/// Names in the order in which the kernel tries them, each with its bits. The first that is contained wins, its bits are
/// taken out, and so on.
pub const NAMES: [(&str, u32); 35] = [
    ("GFP_TRANSHUGE", 0x1c24ca),
    ("GFP_TRANSHUGE_LIGHT", 0x1c20ca),
    ("GFP_HIGHUSER_MOVABLE", 0x100cca),
    ("GFP_HIGHUSER", 0x100cc2),
    ("GFP_USER", 0x100cc0),
    ("GFP_KERNEL_ACCOUNT", 0x400cc0),
    ("GFP_KERNEL", 0xcc0),
    ("GFP_NOFS", 0xc40),
    ("GFP_ATOMIC", 0x820),
    ("GFP_NOIO", 0xc00),
    ("GFP_NOWAIT", 0x2800),
    ("GFP_DMA", 0x1),
    ("__GFP_HIGHMEM", 0x2),
    ("GFP_DMA32", 0x4),
    ("__GFP_HIGH", 0x20),
    ("__GFP_IO", 0x40),
    ("__GFP_FS", 0x80),
    ("__GFP_NOWARN", 0x2000),
    ("__GFP_RETRY_MAYFAIL", 0x4000),
    ("__GFP_NOFAIL", 0x8000),
    ("__GFP_NORETRY", 0x10000),
    ("__GFP_COMP", 0x40000),
    ("__GFP_ZERO", 0x100),
    ("__GFP_NOMEMALLOC", 0x80000),
    ("__GFP_MEMALLOC", 0x20000),
    ("__GFP_HARDWALL", 0x100000),
    ("__GFP_THISNODE", 0x200000),
    ("__GFP_RECLAIMABLE", 0x10),
    ("__GFP_MOVABLE", 0x8),
    ("__GFP_ACCOUNT", 0x400000),
    ("__GFP_WRITE", 0x1000),
    ("__GFP_RECLAIM", 0xc00),
    ("__GFP_DIRECT_RECLAIM", 0x400),
    ("__GFP_KSWAPD_RECLAIM", 0x800),
    ("__GFP_ZEROTAGS", 0x800000),
];

/// The kernel's text for flags: names joined by `|`, what has none in hex, `none` for 0.
pub fn text(gfp: u32) -> String {
    if gfp == 0 {
        return "none".into();
    }
    let mut left = gfp;
    let mut out = String::new();
    let mut push = |name: &str| {
        if !out.is_empty() {
            out.push('|');
        }
        out.push_str(name);
    };
    for (name, bits) in NAMES {
        if left & bits == bits {
            push(name);
            left &= !bits;
        }
    }
    if left != 0 {
        push(&format!("{left:#x}"));
    }
    out
}

/// Names that other kernels, or C code, have for the same flags.
const ALIASES: [(&str, u32); 26] = [
    ("__GFP_DMA", 0x1),
    ("__GFP_DMA32", 0x4),
    ("GFP_TEMPORARY", 0xcd0),
    // Before 4.6 single flags were printed without the underscores.
    ("GFP_HIGHMEM", 0x2),
    ("GFP_MOVABLE", 0x8),
    ("GFP_RECLAIMABLE", 0x10),
    ("GFP_HIGH", 0x20),
    ("GFP_IO", 0x40),
    ("GFP_FS", 0x80),
    ("GFP_ZERO", 0x100),
    ("GFP_KSWAPD_RECLAIM", 0x800),
    ("GFP_DIRECT_RECLAIM", 0x400),
    ("GFP_NOWARN", 0x2000),
    ("GFP_NOFAIL", 0x8000),
    ("GFP_NORETRY", 0x10000),
    ("GFP_MEMALLOC", 0x20000),
    ("GFP_COMP", 0x40000),
    ("GFP_NOMEMALLOC", 0x80000),
    ("GFP_HARDWALL", 0x100000),
    ("GFP_THISNODE", 0x200000),
    ("GFP_WRITE", 0x1000),
    // Waiting was one flag before 4.4, retrying had another name before 4.13.
    ("GFP_WAIT", 0xc00),
    ("__GFP_WAIT", 0xc00),
    ("GFP_REPEAT", 0x4000),
    ("__GFP_REPEAT", 0x4000),
    ("GFP_RETRY_MAYFAIL", 0x4000),
];

/// One name, or a number.
fn flag(name: &str) -> Option<u32> {
    if let Some(n) = NAMES.iter().chain(&ALIASES).find(|n| n.0 == name) {
        return Some(n.1);
    }
    match name.strip_prefix("0x").or_else(|| name.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => name.parse().ok(),
    }
}

/// The flags of a text.
///
/// # Errors
///
/// The first name that is not known.
pub fn parse(text: &str) -> Result<u32, &str> {
    let text = text.trim();
    if text == "none" {
        return Ok(0);
    }
    text.split('|').map(str::trim).try_fold(0, |gfp, name| Ok(gfp | flag(name).ok_or(name)?))
}

/// The flags of a text as far as its names are known, and the names that are not.
pub fn read(text: &str) -> (u32, Vec<&str>) {
    let mut unknown = Vec::new();
    let mut gfp = 0;
    for name in text.split('|').map(str::trim).filter(|&n| n != "none") {
        match flag(name) {
            Some(bits) => gfp |= bits,
            None => unknown.push(name),
        }
    }
    (gfp, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_examples() {
        assert_eq!(text(0xcc0), "GFP_KERNEL");
        assert_eq!(text(0x8c40), "GFP_NOFS|__GFP_NOFAIL");
        assert_eq!(text(0x100cc0), "GFP_USER");
        assert_eq!(text(0), "none");
        assert_eq!(
            parse("__GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC|__GFP_RECLAIMABLE"),
            Ok(0xc0 | 0x2000 | 0x10000 | 0x40000 | 0x80000 | 0x10)
        );
        assert_eq!(parse("GFP_KERNEL|__GFP_MAGIC"), Err("__GFP_MAGIC"));
        assert_eq!(parse("GFP_KERNEL | __GFP_ZERO"), Ok(0xdc0));
        assert_eq!(read("GFP_KERNEL|__GFP_ATOMIC|__GFP_SKIP_ZERO"), (0xcc0, vec!["__GFP_ATOMIC", "__GFP_SKIP_ZERO"]));
        assert_eq!(read("none"), (0, vec![]));
    }

    #[test]
    fn every_text_means_its_flags() {
        let mut x = 1u32;
        for _ in 0..20_000 {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            let gfp = x & 0x3ff_ffff;
            assert_eq!(parse(&text(gfp)), Ok(gfp), "{gfp:#x}");
        }
    }
}
