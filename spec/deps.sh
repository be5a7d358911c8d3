#!/bin/sh
# Install what building, testing and the demo need and this machine lacks: Debian packages, through apt-get.
set -eu

missing=
need() { # package, and a command or file that shows it is there
  case $2 in
    /*) [ -e "$2" ] || missing="$missing $1" ;;
    *) command -v "$2" >/dev/null 2>&1 || missing="$missing $1" ;;
  esac
}
need_library() { # package, and a header or module that pkg-config or the compiler must find
  pkg-config --exists "$2" 2>/dev/null || missing="$missing $1"
}

need_lua() { # package, and a module of Lua
  "${LUA:-lua5.4}" -e "require('$2')" >/dev/null 2>&1 || missing="$missing $1"
}

need gcc "${CC:-cc}"
need pkg-config pkg-config
need lua5.4 "${LUA:-lua5.4}"
if command -v pkg-config >/dev/null 2>&1; then
  need_library liblua5.4-dev lua5.4
  need_library libopenblas-dev openblas
  need_library zlib1g-dev zlib
else
  missing="$missing liblua5.4-dev libopenblas-dev zlib1g-dev"
fi
need libc6-dev /usr/include/stdio.h
need libjpeg62-turbo-dev /usr/include/jpeglib.h
need libstb-dev /usr/include/stb/stb_image_write.h
need libjsmn-dev /usr/include/jsmn.h
need lua-busted busted
need lua-check luacheck
need luarocks luarocks
need procps pgrep
need_lua lua-luv luv
need gnuplot-nox gnuplot
need dataset-fashion-mnist /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz

[ -n "$missing" ] || exit 0
echo "missing:$missing"

if ! command -v apt-get >/dev/null 2>&1; then
  echo "This machine has no apt-get. Please install what these Debian packages hold by other means:$missing" >&2
  exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo >/dev/null 2>&1; then
    echo "Not root, and there is no sudo. As root, please run: apt-get install --no-install-recommends$missing" >&2
    exit 1
  fi
  sudo=sudo
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "installing them with apt-get ..."
# shellcheck disable=SC2086  # words on purpose
if ! { $sudo env DEBIAN_FRONTEND=noninteractive apt-get update &&
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "apt-get could not install:$missing" >&2
  exit 1
fi
