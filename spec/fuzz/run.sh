#!/bin/sh
# Fuzz every spec/fuzz/fuzz_<what>.c for FUZZ_SECONDS (60) on one core, from the inputs in spec/fuzz/corpus/<what> and what
# earlier runs found ($BUILD/corpus). A crash leaves its input in $BUILD; make test replays the corpus without clang.
set -eu
: "${BUILD:=build/fuzz}" "${FUZZ_SECONDS:=60}" "${FUZZ_FLAGS:?run it by make fuzz}"
for source in spec/fuzz/fuzz_*.c; do
  what=$(basename "$source" .c | sed 's/^fuzz_//')
  # shellcheck disable=SC2086  # the flags are words
  clang -std=c11 -D_GNU_SOURCE $FUZZ_FLAGS -fsanitize=fuzzer -Icsrc -I"$BUILD/gen" -o "$BUILD/fuzz_$what" "$source" \
    "$BUILD/libpelk.a" -lopenblas -ljpeg -lz -lm -pthread
  mkdir -p "$BUILD/corpus/$what"
  echo "fuzz: $what for $FUZZ_SECONDS s"
  PELK_NUM_THREADS=1 "$BUILD/fuzz_$what" -max_total_time="$FUZZ_SECONDS" -max_len=4096 -timeout=5 -rss_limit_mb=1024 \
    -print_final_stats=1 -artifact_prefix="$BUILD/" "$BUILD/corpus/$what" "spec/fuzz/corpus/$what" >"$BUILD/$what.log" 2>&1 || {
    tail -n 60 "$BUILD/$what.log"
    exit 1
  }
  grep -E 'stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)' "$BUILD/$what.log"
done
