#!/bin/sh
# SPDX-License-Identifier: MIT
#
# kit.sh [vm|desktop|peer|gl]...   what a machine without KVM, VFIO, GPU and desktop lacks to show real guests, unpacked into a cache:
#
#   vm        $VITRINE_KIT/tree     QEMU >= 10.1 with its libraries and firmware, and a static busybox, from Debian's backports
#             $VITRINE_KIT/kernel   a stock Linux >= 7.2: vmlinuz, config, lib/modules/VERSION
#   desktop   $VITRINE_KIT/desktop  weston 14, with headers for test modules, and Mesa 25, which imports dmabufs without a GPU,
#                                   from Debian 12's backports
#   peer      $VITRINE_KIT/peer     QEMU's vhost-user-gpu, a back-end to compare with, and its libraries, from where vm's QEMU is
#   gl        $VITRINE_KIT/gl       disk.img, for guests that draw with OpenGL: kmscube, eglinfo and Mesa 26 (gl-disk.sh), from there, too
#
# Without an argument: vm. VITRINE_KIT defaults to ${XDG_CACHE_HOME:-$HOME/.cache}/vitrine/kit. Each part is unpacked beside its
# place and renamed when it is complete, so an interrupted run leaves nothing that looks finished, and a second run finds its work
# done. Packages are only downloaded and unpacked, never installed: no root is needed. They are checked against Debian's archive
# keys by apt.
#
# VITRINE_KIT_MIRROR overrides the Debian mirror, which is otherwise the one that the machine's own apt uses.
# Prints progress to stderr. Exit status: 0 the kit is ready, 1 it could not be made (the last line says what to do).
set -eu

kit=${VITRINE_KIT:-${XDG_CACHE_HOME:-${HOME:?set HOME, or VITRINE_KIT to a directory for the kit}/.cache}/vitrine/kit}
here=$(cd "$(dirname "$0")" && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=

say() { echo "kit: $*" >&2; }
fail() { say "$1"; say "what to do: $2"; exit 1; }
cleanup() { [ -z "$work" ] || rm -rf "$work"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

need_tool() {
	command -v "$1" >/dev/null || PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ||
		fail "$1 is missing" "apt-get install $2"
}

have_tree() { [ -x "$kit/tree/usr/bin/qemu-system-x86_64" ] && [ -x "$kit/tree/usr/bin/busybox" ]; }
have_peer() { [ -x "$kit/peer/usr/lib/qemu/vhost-user-gpu" ] && [ -e "$kit/peer/usr/lib/x86_64-linux-gnu/libEGL_mesa.so.0" ]; }
have_desktop() { [ -x "$kit/desktop/usr/bin/weston" ]; }
have_gl() { [ -f "$kit/gl/disk.img" ]; }
have_kernel() { [ -f "$kit/kernel/vmlinuz" ] && [ -f "$(echo "$kit"/kernel/lib/modules/*/modules.dep)" ]; }

# The mirror of the first Debian (not debian-security) archive in the machine's own sources: deb822 files, then one-line ones.
find_mirror() {
	{
		sed -n 's/^URIs:[[:space:]]*//p' /etc/apt/sources.list.d/*.sources
		sed -n 's/^deb[[:space:]]\{1,\}\(\[[^]]*\][[:space:]]*\)\{0,1\}\([^[:space:]]*\).*/\2/p' \
			/etc/apt/sources.list /etc/apt/sources.list.d/*.list
	} 2>/dev/null | tr ' ' '\n' | sed 's,/*$,,' | grep -E '^https?://.*/debian$' | head -n 1
}

# make_apt RELEASE: an apt of our own: own sources, lists and package cache, and a status file that says nothing is installed, so that dependencies
# resolve to everything a program needs whatever the machine has. Proxies and the like still come from /etc/apt/apt.conf.d.
make_apt() {
	release=$1
	rm -rf "$work/apt"
	mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial" "$work/apt/etc"
	: >"$work/apt/status"
	printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$release" "$keyring" "$mirror" "$release-backports" \
		>"$work/apt/etc/sources.list"
	cat >"$work/apt/conf" <<-EOF
		Dir::Etc::sourcelist "$work/apt/etc/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State "$work/apt";
		Dir::State::lists "$work/apt/lists";
		Dir::State::status "$work/apt/status";
		Dir::Cache "$work/apt";
		Dir::Cache::archives "$work/apt/archives";
		Dir::Log "$work/apt";
		APT::Default-Release "$release-backports";
		APT::Architecture "amd64";
		APT::Architectures { "amd64"; };
		APT::Install-Recommends "false";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Retries "3";
		DPkg::Post-Invoke { };
		DPkg::Pre-Install-Pkgs { };
	EOF
	# the private configuration comes last, whatever the machine's says
	export APT_CONFIG="$work/apt/conf"
	say "reading the package lists of $release and $release-backports at $mirror"
	apt-get -qq -o APT::Update::Error-Mode=any update >&2 ||
		fail "the package lists cannot be read" \
			"check the network and proxy settings of apt, or set VITRINE_KIT_MIRROR to a Debian mirror with $release-backports; \
when a signature is refused, upgrade debian-archive-keyring"
}

# unpack DIRECTORY PACKAGE...: the packages and all they depend on
unpack_closure() {
	unpack_into=$1
	shift
	say "downloading $* and what they need"
	apt-get -qq -y --no-install-recommends --download-only install "$@" >&2 ||
		fail "$* cannot be downloaded" "check the network and the space in $work, then run this again"
	unpack_all "$unpack_into"
}

unpack_all() {
	mkdir -p "$1"
	# a merged /usr, so that what a package puts into /lib or /bin has one place
	for link in bin sbin lib lib64; do
		mkdir -p "$1/usr/$link"
		[ -e "$1/$link" ] || ln -s "usr/$link" "$1/$link"
	done
	count=$(find "$work/apt/archives" -name '*.deb' | wc -l)
	say "unpacking $count packages"
	for deb in "$work"/apt/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink --no-same-owner -C "$1" ||
			fail "$(basename "$deb") cannot be unpacked" "check the space in $work, then run this again"
	done
	rm -f "$work"/apt/archives/*.deb
}

without_papers() { (cd "$1/usr/share" && rm -rf doc man locale icons); }

make_tree() {
	unpack_closure "$work/tree" qemu-system-x86 seabios busybox-static
	without_papers "$work/tree"
	rm -rf "$kit/tree"
	mv "$work/tree" "$kit/tree"
}

# The package is that of QEMU's windows, whose libraries the back-end does not need: only those that it does are taken besides.
make_peer() {
	say "downloading QEMU's vhost-user-gpu"
	(cd "$work/apt/archives" && apt-get -qq download qemu-system-gui) >&2 ||
		fail "qemu-system-gui cannot be downloaded" "check the network and the space in $work, then run this again"
	unpack_closure "$work/peer" libglib2.0-0t64 libpixman-1-0 libgbm1 libepoxy0 libvirglrenderer1 libegl1 libegl-mesa0 libopengl0 libgl1-mesa-dri
	without_papers "$work/peer"
	rm -rf "$kit/peer"
	rm -rf "$kit/peer"
	mv "$work/peer" "$kit/peer"
}

# The release of the machine that Vitrine is for: its programs find these libraries with LD_LIBRARY_PATH (tests/ui/desktop.py).
make_desktop() {
	unpack_closure "$work/desktop" weston libgl1-mesa-dri libegl-mesa0 libegl1 libgles2 libgbm1 libweston-14-dev
	without_papers "$work/desktop"
	rm -rf "$kit/desktop"
	mv "$work/desktop" "$kit/desktop"
}

# Of what is unpacked only the disk is kept.
make_gl() {
	unpack_closure "$work/tree" kmscube mesa-utils-bin libgl1-mesa-dri libegl-mesa0 libegl1 libgles2 libgbm1
	mkdir "$work/gl"
	"$here/gl-disk.sh" "$work/tree" "$work/gl/disk.img" ||
		fail "the disk for guests with OpenGL cannot be made" "check the space in $work, then run this again"
	rm -rf "$kit/gl"
	mv "$work/gl" "$kit/gl"
	rm -rf "$work/tree"
}

# Of the kernel's packages only those with files: the others want boot loaders and initramfs generators.
make_kernel() {
	image=$(apt-cache depends -i linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	[ -n "$image" ] || fail "linux-image-amd64 names no kernel in $release-backports" "set VITRINE_KIT_MIRROR to a complete mirror"
	version=${image#linux-image-}
	packages=$(apt-cache depends -i "$image" | sed -n 's/.*Depends: \(linux-\(binary\|modules\|base\|image\)-[0-9].*\)/\1/p')
	say "downloading Linux $version"
	# shellcheck disable=SC2086 # a list
	(cd "$work/apt/archives" && apt-get -qq download "$image" $packages) >&2 ||
		fail "Linux $version cannot be downloaded" "check the network and the space in $work, then run this again"
	unpack_all "$work/kernel"
	root=$work/kernel/usr
	[ -d "$root/lib/modules/$version" ] || fail "the kernel's packages hold no modules" "report this with the versions printed above"
	image_file=$(find "$work/kernel" -name vmlinuz -o -name "vmlinuz-$version" | head -n 1)
	[ -n "$image_file" ] || fail "the kernel's packages hold no vmlinuz" "report this with the versions printed above"
	[ "$image_file" = "$root/lib/modules/$version/vmlinuz" ] || cp "$image_file" "$root/lib/modules/$version/vmlinuz"
	(cd "$root" && rm -rf share bin sbin lib64)
	ln -s "lib/modules/$version/vmlinuz" "$root/vmlinuz"
	[ ! -f "$root/lib/modules/$version/config" ] || ln -s "lib/modules/$version/config" "$root/config"
	PATH=$PATH:/usr/sbin:/sbin depmod -b "$root" "$version" ||
		fail "the kernel's module list cannot be made" "check the space in $work, then run this again"
	rm -rf "$kit/kernel"
	mv "$root" "$kit/kernel"
}

have_all() {
	for part; do
		case $part in
		vm) have_tree && have_kernel || return 1 ;;
		desktop) have_desktop || return 1 ;;
		peer) have_peer || return 1 ;;
		gl) have_gl || return 1 ;;
		*) fail "there is no part $part" "name vm, desktop, peer or gl" ;;
		esac
	done
}

make_vm() {
	make_apt trixie
	have_tree || make_tree
	have_kernel || make_kernel
}

make_part() {
	have_all "$1" && return
	say "preparing the part $1 in $kit (about 200 MB to download, once)"
	case $1 in
	vm) make_vm ;;
	desktop) make_apt bookworm && make_desktop ;;
	peer) make_apt trixie && make_peer ;;
	gl) make_apt trixie && make_gl ;;
	esac
}

[ $# -gt 0 ] || set -- vm
if have_all "$@"; then
	say "ready in $kit: $*"
	exit 0
fi
[ "$(uname -m)" = x86_64 ] || fail "the kit is for x86_64, this machine is $(uname -m)" "run it on an x86_64 machine"
need_tool apt-get apt
need_tool dpkg-deb dpkg
need_tool depmod kmod
need_tool mke2fs e2fsprogs
[ -f "$keyring" ] || fail "$keyring is missing" "apt-get install debian-archive-keyring"
mirror=${VITRINE_KIT_MIRROR:-$(find_mirror)}
mirror=${mirror:-http://deb.debian.org/debian}

mkdir -p "$kit" 2>/dev/null || fail "$kit cannot be made" "set VITRINE_KIT to a directory you can write to"
free=$(df -Pk "$kit" | awk 'NR == 2 { print int($4 / 1024) }')
[ "$free" -ge 1500 ] || fail "$kit has $free MB of free space, a part of the kit needs 1500 while it is made and 550 afterwards" \
	"free some space, or set VITRINE_KIT to a directory elsewhere"
# one maker at a time; who waited finds the work done
exec 9>"$kit/.lock"
flock 9
# what an interrupted run left
rm -rf "$kit"/.work.*
work=$(mktemp -d "$kit/.work.XXXXXX")

for part; do
	make_part "$part"
done
say "ready in $kit: $*, $(du -sm "$kit" | cut -f 1) MB"
