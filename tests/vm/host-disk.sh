#!/bin/sh
# SPDX-License-Identifier: MIT
#
# host-disk.sh -k KIT -o OUT [FILE]...   a read-only disk for the virtual host (host.py), an ext4 image of about 100 MB:
#
#   /bin, /lib    the kit's QEMU, every library it is linked to, and their loader, which starts it
#   /firmware     what QEMU loads for a PC
#   /vmlinuz      the kit's kernel, for a guest in the host
#   FILE          anything else, into the root directory
#
# Needs no root. It takes a second, so it is made for each run: our own programs come another way, in the host's initramfs.
set -eu

usage() { sed -n 's/^# \{0,1\}//; 3,11p' "$0" >&2; exit 2; }
fail() { echo "host-disk: $1" >&2; exit 1; }

kit='' out=''
while getopts k:o: option; do
	case $option in
	k) kit=$OPTARG ;;
	o) out=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$kit" ] || [ -z "$out" ]; then usage; fi
tree=$kit/tree/usr
[ -x "$tree/bin/qemu-system-x86_64" ] || fail "$kit holds no kit: run tests/vm/kit.sh"

root=$(mktemp -d)
trap 'rm -rf "$root" "$out.tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$root/bin" "$root/lib" "$root/firmware"

loader=$tree/lib64/ld-linux-x86-64.so.2
cp -L "$loader" "$root/lib/"
cp "$tree/bin/qemu-system-x86_64" "$root/bin/"
"$loader" --library-path "$tree/lib/x86_64-linux-gnu" --list "$root/bin/qemu-system-x86_64" >"$root/list" ||
	fail "the kit's QEMU does not start here: remove $kit and run tests/vm/kit.sh again"
sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p' "$root/list" | while read -r library; do
	cp -L "$library" "$root/lib/$(basename "$library")"
done
rm "$root/list"
for file in seabios/bios-256k.bin qemu/linuxboot_dma.bin qemu/kvmvapic.bin; do
	cp -L "$tree/share/$file" "$root/firmware/"
done
cp -L "$kit/kernel/vmlinuz" "$root/"
for file in "$@"; do
	cp "$file" "$root/"
done

size=$(du -sk "$root" | cut -f 1)
PATH=$PATH:/usr/sbin:/sbin mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$root" "$out.tmp" \
	"$((size + size / 8 + 4096))k" >&2 || fail "$out cannot be made: check the space there"
mv "$out.tmp" "$out"
