#!/bin/sh
# SPDX-License-Identifier: MIT
#
# gl-disk.sh TREE OUT   a read-only disk for guests that draw with OpenGL, an ext4 image of about 200 MB:
#
#   /bin     kmscube and eglinfo, out of TREE, where kit.sh has unpacked them and Mesa
#   /lib     every library that they are linked to or load, Mesa's driver for virtio-gpu among them, and their loader
#   /dev, /proc, /sys, /tmp     for a guest that changes its root to the disk
#
# Needs no root. kit.sh makes it once: nothing of ours is on it.
set -eu

[ $# = 2 ] || { sed -n 's/^# \{0,1\}//; 3,9p' "$0" >&2; exit 2; }
fail() { echo "gl-disk: $1" >&2; exit 1; }

tree=$1/usr out=$2
libraries=$tree/lib/x86_64-linux-gnu
loader=$tree/lib64/ld-linux-x86-64.so.2
[ -x "$tree/bin/kmscube" ] || fail "there is no kmscube in $1"

root=$(mktemp -d)
trap 'rm -rf "$root" "$out.tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$root"
for directory in bin lib lib64 etc dev proc sys tmp usr/lib/x86_64-linux-gnu usr/share; do
	mkdir -p "$root/$directory"
done
cp -L "$loader" "$root/lib64/"

# with FILE PLACE: into the image, with all libraries that it is linked to
with() {
	cp -L "$1" "$root/$2"
	"$loader" --library-path "$libraries" --list "$1" >"$root/list" || fail "$1 does not start here"
	sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p' "$root/list" | while read -r library; do
		[ -e "$root/lib/$(basename "$library")" ] || cp -L "$library" "$root/lib/"
	done
	rm "$root/list"
}

with "$tree/bin/kmscube" bin/
with "$tree/bin/eglinfo.x86_64-linux-gnu" bin/eglinfo
# what is not linked but loaded, by name: libglvnd's vendor, and Mesa's driver and its back-ends in the versions that have them as files
with "$libraries/libEGL_mesa.so.0" lib/
mkdir "$root/usr/lib/x86_64-linux-gnu/dri"
with "$libraries/dri/virtio_gpu_dri.so" usr/lib/x86_64-linux-gnu/dri/
if [ -d "$libraries/gbm" ]; then
	mkdir "$root/usr/lib/x86_64-linux-gnu/gbm"
	with "$libraries/gbm/dri_gbm.so" usr/lib/x86_64-linux-gnu/gbm/
fi
cp -R "$tree/share/glvnd" "$root/usr/share/"

size=$(du -sk "$root" | cut -f 1)
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$root" "$out.tmp" \
	"$((size + size / 16 + 4096))k" >&2 || fail "$out cannot be made: check the space there"
mv "$out.tmp" "$out"
