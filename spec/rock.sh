#!/bin/sh
# luarocks builds and installs the rock offline into a tree of its own; the installed module runs from elsewhere.
set -eu
. spec/checkout.sh
if ! command -v luarocks >/dev/null 2>&1; then
  echo 'skipped: luarocks is not installed'
  exit 0
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
git ls-files -z -co --exclude-standard | tar --null -cf - --files-from=- | tar -xf - -C "$tmp"
(cd "$tmp" && luarocks --lua-version 5.4 --tree "$tmp/tree" make >"$tmp/log" 2>&1) || { cat "$tmp/log"; exit 1; }
cd /
unset LUA_PATH LUA_CPATH
eval "$(luarocks --lua-version 5.4 --tree "$tmp/tree" path)"
lua5.4 -e '
  local pelk = require("pelk")
  local y = pelk.models.create("pelk_nano")(pelk.randn({ 2, 28, 28, 1 }))
  assert(y:size(1) == 2 and y:size(2) == 10, tostring(y))'
"$tmp/tree/bin/pelk" summary --model pelk_nano --input_size 28 | grep -q Linear
