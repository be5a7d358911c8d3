#!/bin/sh
# The module exports its opener and nothing else.
out=$(nm -D --defined-only "$1" | awk '{ print $NF }' | grep -vE '^(_init|_fini)$')
[ "$out" = luaopen_pelk_core ] || { echo "exported: $out"; exit 1; }
