#!/bin/sh
# Every header compiles alone, but for those that say they are a part of one file ("Included by ... only").
. spec/checkout.sh
bad=0
build=${1:-build}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
lua=$(pkg-config --cflags lua5.4 2>/dev/null)
for header in $(git ls-files -co --exclude-standard 'csrc/*.h'); do
  head -n 3 "$header" | grep -q 'ncluded by' && continue
  printf '#include "%s"\ntypedef int not_empty;\n' "${header#csrc/}" >"$tmp/one.c"
  # shellcheck disable=SC2086  # words
  ${CC:-cc} -std=c11 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Werror -DPK_LEVEL=generic -Icsrc -I"$build/gen" $lua "$tmp/one.c" || bad=1
done
exit $bad
