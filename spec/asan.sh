#!/bin/sh
# C checks and specs under the sanitizers. The interpreter is not built with them, so their runtime is preloaded; leaks
# are looked for by the checks (Lua itself frees at exit what the specs made). torch_spec is left out: PyTorch would be
# watched too.
set -u
: "${BUILD:=build/asan}"
bad=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
ASAN_OPTIONS=detect_leaks=1 "$BUILD/check" || bad=1
export PELK_ONNXRUNTIME="${PELK_ONNXRUNTIME:-build/onnx}" # not one more for this build
preload="$(${CC:-cc} -print-file-name=libasan.so) $(${CC:-cc} -print-file-name=libubsan.so)"
for spec in spec/*_spec.lua; do
  [ "$spec" = spec/torch_spec.lua ] && continue
  # allocations that are too large are part of the specs: null is the answer, not a report
  ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0:allocator_may_return_null=1 LD_PRELOAD=$preload PELK_QUICK=1 \
    busted --cpath="./$BUILD/?.so" -o TAP "$spec" >"$BUILD/spec.log" 2>&1
  code=$?
  echo "$spec: $(grep -c '^ok' "$BUILD/spec.log") passed, exit code $code"
  [ $code -eq 0 ] && ! grep -q 'ERROR: AddressSanitizer\|runtime error:' "$BUILD/spec.log" && continue
  bad=1
  grep -v '^ok' "$BUILD/spec.log"
done
[ $bad -eq 0 ] && echo 'asan: clean'
exit $bad
