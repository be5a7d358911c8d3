#!/bin/sh
# All readers over files that were made, or kept, to break readers: sh spec/corpora/run.sh [FOLDER ...]. Without folders,
# the test pictures of Pillow, libpng, libjpeg-turbo and torchvision come from Debian's sources into build/corpora, by an
# apt of its own lists. BUILD=build/asan runs under the sanitizers (make asan builds them). A process that dies is an
# error; the next one goes on behind the file that killed it.
set -u
: "${BUILD:=build}" "${LUA:=lua5.4}"

fetch() {
  if ! command -v apt-get >/dev/null 2>&1; then
    echo 'skipped: no apt-get here (the corpora come from Debian sources); give folders instead'
    return 1
  fi
  mkdir -p build/corpora/apt/lists/partial build/corpora/apt/cache/archives/partial
  apt=$(cd build/corpora/apt && pwd)
  echo 'deb-src http://deb.debian.org/debian bookworm main' >"$apt/sources.list"
  set -- -q -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache"
  if ! (cd build/corpora && apt-get "$@" update && for package in pillow libpng1.6 libjpeg-turbo pytorch-vision; do
    ls "$package"_*.orig.tar.* >/dev/null 2>&1 || apt-get "$@" source --download-only "$package" || true
  done) >build/corpora/apt.log 2>&1; then
    echo "skipped: Debian's sources cannot be reached (build/corpora/apt.log)"
    return 1
  fi
  for archive in build/corpora/*.orig.tar.*; do
    [ -e "$archive" ] || continue
    folder=build/corpora/files/$(basename "$archive" | cut -d_ -f1)
    [ -d "$folder" ] && continue
    mkdir -p "$folder"
    tar -xf "$archive" -C "$folder" --wildcards '*/Tests/images' 2>/dev/null ||
      tar -xf "$archive" -C "$folder" --wildcards '*/contrib/pngsuite' '*/contrib/testpngs' 2>/dev/null ||
      tar -xf "$archive" -C "$folder" --wildcards '*/test/assets' 2>/dev/null ||
      tar -xf "$archive" -C "$folder" --wildcards '*/testimages'
  done
}

if [ $# -eq 0 ]; then
  fetch || exit 0
  set -- build/corpora/files
fi

seconds=1
case $BUILD in
  *asan*)
    seconds=20
    preload="$(${CC:-cc} -print-file-name=libasan.so) $(${CC:-cc} -print-file-name=libubsan.so)"
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    export ASAN_OPTIONS=detect_leaks=1:verify_asan_link_order=0:allocator_may_return_null=1
    ;;
esac

export LUA_PATH='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH="./$BUILD/?.so;;"
progress=$BUILD/corpora.progress first=1 bad=0
while :; do
  rm -f "$progress"
  LD_PRELOAD=${preload:-} "$LUA" spec/corpora/read.lua "$progress" "$first" "$seconds" "$@" || bad=1
  [ -e "$progress" ] || break
  echo "BAD   died at file $(cat "$progress")"
  first=$(($(cut -d' ' -f1 "$progress") + 1))
done
exit $bad
