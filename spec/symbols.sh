#!/bin/sh
# The module exports its opener and nothing else, and stays mapped when Lua closes it: threads may still be in it.
out=$(nm -D --defined-only "$1" | awk '{ print $NF }' | grep -vE '^(_init|_fini)$')
[ "$out" = luaopen_pelk_core ] || { echo "exported: $out"; exit 1; }
[ "$(uname)" != Linux ] || readelf -d "$1" | grep -q NODELETE || { echo "$1 is not linked with -z nodelete"; exit 1; }
