#!/bin/sh
# Runs one fuzz target: run.sh TARGET SECONDS. What it finds is written to fuzz/found. PYTHON has bulkpages and atheris.
# The flags are those of cargo-fuzz; RUSTC_BOOTSTRAP lets the stable compiler take them.
set -eu
cd "$(dirname "$0")"
target=${1:?usage: run.sh operations|snapshot|recording|trace|proc|report|llfree SECONDS}
seconds=${2:?usage: run.sh TARGET SECONDS}
mkdir -p found "corpus/$target"
case $target in
proc | report | llfree)
    set -- "${PYTHON:-python3}" texts.py "$target"
    ;;
*)
    host=$(rustc -vV | sed -n 's/^host: //p')
    export RUSTC_BOOTSTRAP=1
    export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
    cargo build --release --quiet --bin "$target" --target "$host"
    set -- "target/$host/release/$target"
    ;;
esac
exec "$@" "corpus/$target" "seeds/$target" -max_total_time="$seconds" -max_len=65536 -timeout=10 \
    -rss_limit_mb=2048 -artifact_prefix="found/$target-" -print_final_stats=1
