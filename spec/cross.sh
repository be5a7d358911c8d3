#!/bin/sh
# The kernel bodies compile for AArch64 (NEON), where a cross compiler is installed (gcc-aarch64-linux-gnu,
# libc6-dev-arm64-cross).
set -u
cc=aarch64-linux-gnu-gcc
if ! command -v $cc >/dev/null 2>&1; then
  echo "skipped: $cc is not installed (compiling the kernels for NEON)"
  exit 0
fi
bad=0
for body in csrc/kernels/*.inc.c; do
  $cc -std=c11 -D_GNU_SOURCE -O1 -ffp-contract=off -Wall -Wextra -Werror -Icsrc -DPK_VEC_NEON -DPK_LEVEL=neon -c \
    -o /dev/null "$body" || bad=1
done
[ $bad -eq 0 ] && echo 'cross: the kernels compile for NEON'
exit $bad
