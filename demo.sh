#!/bin/sh
# SPDX-License-Identifier: MIT
#
# demo.sh [--keep]   Vitrine shown on a Debian 12 machine that need not have anything installed, nor KVM, nor a GPU:
# installs packages, builds, fetches a kit with QEMU and a stock kernel (cached), boots a small Linux guest with an emulated
# assigned device, shows moving frames that the guest draws in that device's memory - in a window when there is a desktop - prints
# what happened and writes demo.png.
#
#   --keep   leaves guest and display running until Ctrl-C, with the control socket's path printed
set -eu

keep=
case ${1-} in
'') ;;
--keep) keep=--keep ;;
*) sed -n 's/^# \{0,1\}//; 3,9p' "$0" >&2; case $1 in -h | --help) exit 0 ;; *) exit 2 ;; esac ;;
esac

top=$(cd "$(dirname "$0")" && pwd)
start_directory=$PWD
cd "$top"
build=${VITRINE_BUILD:-$top/build}

step() { printf '\n[%s/5] %s\n' "$1" "$2"; }
fail() { printf 'demo: %s\ndemo: what to do: %s\n' "$1" "$2" >&2; exit 1; }

step 1 'packages to build with and to start a guest'
data/install-packages.sh build kit

step 2 "building in $build"
if [ ! -f "$build/build.ninja" ]; then
	meson setup "$build" || fail "the build cannot be configured" "see $build/meson-logs/meson-log.txt"
fi
ninja -C "$build" src/programs/vitrine src/programs/vitrinectl tests/vm/guest-scanout ||
	fail "the build failed" "see the messages above; when the build directory is an old one, remove $build and run this again"

step 3 'the kit: QEMU and a stock kernel'
tests/vm/kit.sh

step 4 'a guest with an assigned device'
cd "$start_directory"
exec python3 -B "$top/tests/vm/demo.py" --build "$build" --png "$top/demo.png" $keep
