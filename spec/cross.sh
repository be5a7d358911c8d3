#!/bin/sh
# The kernels on AArch64 (NEON): compiled where a cross compiler is installed (gcc-aarch64-linux-gnu,
# libc6-dev-arm64-cross), checked against the scalar truth where an emulator is too (qemu-user).
set -u
: "${BUILD:=build}"
cc=aarch64-linux-gnu-gcc
if ! command -v $cc >/dev/null 2>&1; then
  echo "skipped: $cc is not installed (compiling the kernels for NEON)"
  exit 0
fi
at=$BUILD/neon
mkdir -p "$at"
flags="-std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -ffunction-sections -Wall -Wextra -Werror -Icsrc
  -Ispec/check -DPK_HAVE_generic -DPK_HAVE_neon -DPK_CHECK_KERNELS -pthread"

# One source into one object; the third word and on are its flags.
compile() {
  from=$1 to=$at/$2.o
  shift 2
  # shellcheck disable=SC2086  # words
  $cc $flags "$@" -c -o "$to" "$from" || exit 1
}
for body in csrc/kernels/*.inc.c; do
  name=$(basename "$body" .inc.c)
  compile "$body" "neon_$name" -O2 -DPK_VEC_NEON -DPK_LEVEL=neon
  compile "$body" "generic_$name" -O1 -DPK_LEVEL=generic
done
for ref in csrc/kernels/ref_*.c; do compile "$ref" "$(basename "$ref" .c)" -O1 -DPK_LEVEL=ref; done
for other in table window product; do compile csrc/kernels/$other.c "kernels_$other" -O1; done
for other in csrc/core/*.c; do
  case $other in
    */gemm.c) ;; # OpenBLAS: no kernel of ours needs it
    *) compile "$other" "core_$(basename "$other" .c)" -O1 ;;
  esac
done
compile csrc/ops/grid.c ops_grid -O1
for check in main check_kernels check_gemm check_map check_winograd check_pool check_blend bench_kernels; do
  compile spec/check/$check.c "spec_$check" -O1
done
# Timing reaches OpenBLAS, checking does not: what stays without a definition is never called.
$cc -static -pthread -Wl,--gc-sections -Wl,--unresolved-symbols=ignore-all -o "$at/check" "$at"/*.o -lm || exit 1
if ! command -v qemu-aarch64 >/dev/null 2>&1; then
  echo 'cross: the kernels compile for NEON (not run: qemu-aarch64 is not installed)'
  exit 0
fi
counts=$(qemu-aarch64 "$at/check") || { echo "$counts"; exit 1; }
echo "cross: the kernels on NEON: $(echo "$counts" | tail -n 1)"
