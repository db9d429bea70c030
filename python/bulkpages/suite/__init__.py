"""The cross-version suite: what a change of the bulk call costs and whom, answered in the kernel's own currency."""
