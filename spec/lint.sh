#!/bin/sh
# Style as plain greps: what the tree promises and a compiler does not check.
set -u
. spec/checkout.sh
bad=0
complain() {
  bad=1
  echo "lint: $1"
  printf '%s\n' "$2" | head -n 10
}
c_files=$(git ls-files -co --exclude-standard 'csrc/*.[ch]' 'spec/check/*.[ch]')

# Layers, lowest first: a file may include its own layer and those below.
rank() {
  case $1 in
    core) echo 0 ;; kernels) echo 1 ;; ops) echo 2 ;; autograd) echo 3 ;; nn) echo 4 ;; train) echo 5 ;;
    data | io | viz) echo 6 ;; lua) echo 7 ;; *) echo 8 ;;
  esac
}
for file in $(git ls-files -co --exclude-standard 'csrc/*/*.[ch]'); do
  layer=$(echo "$file" | cut -d/ -f2)
  for included in $(sed -n 's|^#include "\([a-z]*\)/.*|\1|p' "$file" | sort -u); do
    [ "$included" = gen ] && included=nn
    if [ "$(rank "$included")" -gt "$(rank "$layer")" ] ||
      { [ "$(rank "$layer")" -eq 6 ] && [ "$(rank "$included")" -eq 6 ] && [ "$included" != "$layer" ] && [ "$included" != io ]; }; then
      complain "$file (layer $layer) includes $included" ""
    fi
  done
done

found() { # message, grep arguments
  message=$1
  shift
  out=$(grep -nE "$@" /dev/null) && complain "$message" "$out"
}
# shellcheck disable=SC2086  # the lists are words
{
  found 'tabs' "$(printf '\t')" $c_files $(git ls-files -co --exclude-standard '*.lua')
  found 'trailing blanks' ' +$' $c_files $(git ls-files -co --exclude-standard '*.lua' '*.sh' Makefile '*.md')
  found 'printing, exit or abort in the library' '(^|[^a-z_])(printf|puts|perror|exit|abort|_Exit)\(' \
    $(git ls-files -co --exclude-standard 'csrc/*.c' 'csrc/*.h')
  found 'lua.h outside csrc/lua' '#include [<"](lua|lauxlib|lualib)' \
    $(git ls-files -co --exclude-standard 'csrc/*.[ch]' | grep -v '^csrc/lua/')
  found 'cblas.h outside core/gemm.c' '#include <cblas' $(git ls-files -co --exclude-standard 'csrc/*.[ch]' | grep -v '^csrc/core/gemm.c')
  found 'malloc outside core/alloc.c' '(^|[^a-z_:])(malloc|calloc|realloc|free|aligned_alloc)\(' \
    $(git ls-files -co --exclude-standard 'csrc/*.c' | grep -vE '^csrc/core/alloc.c|^csrc/viz/stb|^csrc/io/stb')
  found 'unsafe flags' 'ffast-math|march=native' $(git ls-files -co --exclude-standard Makefile 'rockspec/*')
}
long=$(for f in $c_files $(git ls-files -co --exclude-standard 'lua/*.lua'); do
  [ "$(wc -l <"$f")" -le 600 ] || echo "$f: $(wc -l <"$f") lines"
done)
[ -z "$long" ] || complain 'files past 600 lines' "$long"

if command -v luacheck >/dev/null 2>&1; then
  out=$(luacheck -q --no-color lua spec examples rockspec) || complain 'luacheck' "$out"
else
  echo 'skipped: luacheck is not installed'
fi
if command -v luarocks >/dev/null 2>&1; then
  for rock in rockspec/*.rockspec; do
    out=$(luarocks lint "$rock" 2>&1) || complain "luarocks lint $rock" "$out"
  done
fi
[ $bad -eq 0 ] && echo 'lint: clean'
exit $bad
