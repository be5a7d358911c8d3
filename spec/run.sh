#!/bin/sh
# Everything `make test` runs. Ends with one line: N passed, N failed.
set -u
: "${BUILD:=build}" "${LUA:=lua5.4}" "${MAKE:=make}"
passed=0 failed=0

# One step that passes or fails as a whole; what it skips, it says.
step() {
  name=$1
  shift
  if out=$("$@" 2>&1); then
    case $out in
      skipped:*) echo "$out" && return ;;
    esac
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    printf '%s\n' "$out"
    echo "FAIL  $name"
  fi
}

# One step that counts its own checks and says so in its last line: "... N passed, N failed".
counted() {
  name=$1
  shift
  "$@" >"$BUILD/test.log" 2>&1
  code=$?
  counts=$(grep -Eo '[0-9]+ passed, [0-9]+ failed' "$BUILD/test.log" | tail -n 1)
  p=$(echo "$counts" | cut -d' ' -f1) f=$(echo "$counts" | cut -d' ' -f3)
  grep -iE 'skipped' "$BUILD/test.log"
  passed=$((passed + ${p:-0}))
  failed=$((failed + ${f:-0}))
  if [ $code -eq 0 ] && [ -n "$counts" ] && [ "${f:-1}" -eq 0 ]; then
    echo "ok    $name: $counts"
    return
  fi
  [ -n "$counts" ] && [ "${f:-0}" -gt 0 ] || failed=$((failed + 1)) # a crash counts as a failure
  cat "$BUILD/test.log"
  echo "FAIL  $name: ${counts:-no result} (exit code $code)"
}

mkdir -p "$BUILD"
cores=$(nproc 2>/dev/null || echo 2)
step build "$MAKE" --no-print-directory -j"$cores" BUILD="$BUILD" all "$BUILD/check"
counted 'C checks' "$BUILD/check"
counted specs sh spec/busted.sh "$BUILD"
step lint sh spec/lint.sh
step 'exported symbols' sh spec/symbols.sh "$BUILD/pelk/core.so"
step 'headers compile alone' sh spec/headers.sh "$BUILD"
step 'kernels compile for NEON' sh spec/cross.sh
step 'rock: build, install, use elsewhere' sh spec/rock.sh
if command -v clang >/dev/null 2>&1; then
  step 'clang builds it too' "$MAKE" --no-print-directory -j"$cores" CC=clang BUILD=build/clang all
else
  echo 'skipped: clang is not installed (the build with clang)'
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
