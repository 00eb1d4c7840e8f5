#!/bin/sh
# SPDX-License-Identifier: MIT
#
# initramfs.sh -k KIT -o OUT [-m MODULE]... [-p PROGRAM]... [FILE[:PATH]]...   packs a root file system for a small guest:
#
#   the kit's static busybox, installed by /init itself (tests/vm/guest/init, packed always);
#   -m MODULE    the kernel module with all it depends on, uncompressed as /modules/NN-NAME.ko in load order
#   -p PROGRAM   into /bin, with the shared libraries it is linked to in /lib
#   FILE[:PATH]  any file, to PATH (default: /bin and its own name)
set -eu

usage() { sed -n 's/^# \{0,1\}//; 3,9p' "$0" >&2; exit 2; }
fail() { echo "initramfs: $1" >&2; exit 1; }

kit='' out='' modules='' programs=''
while getopts k:o:m:p: option; do
	case $option in
	k) kit=$OPTARG ;;
	o) out=$OPTARG ;;
	m) modules="$modules $OPTARG" ;;
	p) programs="$programs $OPTARG" ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
if [ -z "$kit" ] || [ -z "$out" ]; then usage; fi
[ -x "$kit/tree/usr/bin/busybox" ] || fail "$kit holds no kit: run tests/vm/kit.sh"

version=$(basename "$kit"/kernel/lib/modules/*)
root=$(mktemp -d)
trap 'rm -rf "$root" "$out.tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$root"
mkdir -p "$root/bin" "$root/lib" "$root/modules" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
cp "$kit/tree/usr/bin/busybox" "$root/bin/"
cp "$(dirname "$0")/guest/init" "$root/init"

# A program's libraries go where every loader looks; the loader itself keeps the path that the program names.
add_program() {
	cp "$1" "$root/bin/"
	ldd "$1" >"$root/ldd" || fail "$1 is not a dynamic program that runs here"
	if missing=$(grep 'not found' "$root/ldd"); then fail "$1 lacks a library: $missing"; fi
	sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p' "$root/ldd" | while read -r library; do
		cp -L "$library" "$root/lib/$(basename "$library")"
	done
	loader=$(sed -n 's/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' "$root/ldd")
	mkdir -p "$root$(dirname "$loader")"
	cp -L "$loader" "$root$loader"
	rm "$root/ldd"
}

for module in $modules; do
	PATH=$PATH:/usr/sbin:/sbin modprobe -d "$kit/kernel" -S "$version" --show-depends "$module" >"$root/depends" ||
		fail "Linux $version has no module $module"
	awk '$1 == "insmod" { print $2 }' "$root/depends" >>"$root/all"
	rm "$root/depends"
done
if [ -f "$root/all" ]; then
	awk '!seen[$0]++' "$root/all" >"$root/order"
	number=10
	while read -r file; do
		number=$((number + 1))
		name=$(basename "$file")
		case $name in
		*.xz) xz -dc "$file" >"$root/modules/$number-${name%.xz}" ;;
		*.zst) zstd -qdc "$file" >"$root/modules/$number-${name%.zst}" ;;
		*) cp "$file" "$root/modules/$number-$name" ;;
		esac
	done <"$root/order"
	rm "$root/all" "$root/order"
fi
for program in $programs; do
	add_program "$program"
done
for file in "$@"; do
	case $file in
	*:*) target=$root/${file#*:} ;;
	*) target=$root/bin/$(basename "$file") ;;
	esac
	mkdir -p "$(dirname "$target")"
	cp "${file%%:*}" "$target"
done
(cd "$root" && find . | cpio -o -H newc --quiet --owner=0:0 | gzip -1) >"$out.tmp"
mv "$out.tmp" "$out"
