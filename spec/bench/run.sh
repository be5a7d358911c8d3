#!/bin/sh
# make bench: time pelk and, where python3-torch is installed, PyTorch (both memory layouts, the better one counts) in
# one run, on one thread and on all. A table on the terminal, the same as CSV in $BUILD/bench.csv.
set -u
export BUILD; : "${BUILD:=build}" "${LUA:=lua5.4}"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # for both sides: the libraries' own choice
LUA_PATH='./lua/?.lua;./lua/?/init.lua;./?.lua;;' LUA_CPATH="./$BUILD/?.so;;"
export LUA_PATH LUA_CPATH

python=
for p in python3 /usr/bin/python3; do
  if "$p" -c 'import torch' >/dev/null 2>&1; then python=$p && break; fi
done
[ -n "$python" ] || echo 'skipped: python3-torch is not installed (the comparison with PyTorch)'
[ -n "$python" ] || python=none

pillow=none
for p in python3 /usr/bin/python3; do
  if [ "$pillow" = none ] && "$p" -c 'import PIL, numpy' >/dev/null 2>&1; then pillow=$p; fi
done

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
threads="1 $(nproc 2>/dev/null || echo 1)"
[ "$(nproc 2>/dev/null || echo 1)" -gt 1 ] || threads=1
# shellcheck disable=SC2086  # words
"$LUA" spec/bench/bench.lua "$python" "$commit" "$BUILD/bench.csv" "${ONLY:-}" $threads
"$LUA" spec/bench/threads.lua "$BUILD/threads.csv" "${threads##* }"
"$LUA" spec/bench/passes.lua "$BUILD/passes.csv"
"$LUA" spec/bench/data.lua "$pillow" "$BUILD/data.csv"
"$LUA" spec/bench/curve.lua "$python" "$BUILD/curve.csv" "$BUILD/kernel-size.png"
