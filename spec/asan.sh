#!/bin/sh
# C checks and specs under the sanitizers. The interpreter is not built with them, so their runtime is preloaded; leaks
# are looked for by the checks (Lua itself frees at exit what the specs made).
set -u
: "${BUILD:=build/asan}"
bad=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
ASAN_OPTIONS=detect_leaks=1 "$BUILD/check" --quick || bad=1
asan=$(${CC:-cc} -print-file-name=libasan.so)
ubsan=$(${CC:-cc} -print-file-name=libubsan.so)
ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0 LD_PRELOAD="$asan $ubsan" PELK_QUICK=1 \
  lua5.4 -e 'package.cpath = "./'"$BUILD"'/?.so;" .. package.cpath' \
  "$(command -v busted-5.4 || echo /usr/share/lua/5.4/busted/runner.lua)" --cpath="./$BUILD/?.so" spec || bad=1
[ $bad -eq 0 ] && echo 'asan: clean'
exit $bad
