#!/bin/sh
# The specs, each in a process of its own per kernel set that matters: all of them with the best, the numerical ones
# with the others too. Prints busted's output and one line of counts.
set -u
build=${1:-build}
passed=0 failed=0

run() { # isa, files
  isa=$1
  shift
  PELK_ISA=$isa busted --cpath="./$build/?.so" -o TAP "$@" >"$build/busted.log" 2>&1
  code=$?
  grep -vE '^ok ' "$build/busted.log" | grep -vE '^1\.\.'
  sed -nE 's/^ok [0-9]+ - # SKIP (skipped: )?/skipped: /p' "$build/busted.log"
  p=$(grep -E '^ok ' "$build/busted.log" | grep -vcE '^ok [0-9]+ - # SKIP') f=$(grep -cE '^not ok ' "$build/busted.log")
  passed=$((passed + p)) failed=$((failed + f))
  if [ "$code" -ne 0 ] && [ "$f" -eq 0 ]; then failed=$((failed + 1)) && echo "busted ended with code $code"; fi
}

run '' spec
for isa in $(LUA_CPATH="./$build/?.so;;" lua5.4 -e 'print(table.concat(require("pelk.core").config().isas, " "))'); do
  [ "$isa" = ref ] || PELK_QUICK=1 run "$isa" spec/ops_spec.lua spec/autograd_spec.lua
done
echo "specs: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
