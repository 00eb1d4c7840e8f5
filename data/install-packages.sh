#!/bin/sh
# SPDX-License-Identifier: MIT
#
# install-packages.sh GROUP...   installs the Debian packages of these groups, without questions; quick when they are there already.
#   build   to compile Vitrine
#   kit     to make the kit (tests/vm/kit.sh) and start a guest from it
#   test    compilers and tools that only the tests need
set -eu

build='gcc libc6-dev meson ninja-build pkg-config libdrm-dev libpixman-1-dev libpng-dev libjansson-dev libglib2.0-dev libsdl2-dev libx11-dev libepoxy-dev libwayland-dev wayland-protocols libvirglrenderer-dev scdoc'
kit='python3 kmod cpio xz-utils gzip util-linux e2fsprogs debian-archive-keyring'
test='clang llvm edid-decode xvfb openbox xdotool x11-apps x11-utils'

say() { echo "packages: $*" >&2; }
fail() { say "$1"; say "what to do: $2"; exit 1; }

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

missing_of() {
	for package; do
		installed "$package" || printf '%s ' "$package"
	done
}

# clang's sanitizer runtimes are in a package with clang's version in its name
clang_runtime() {
	version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
	[ -z "$version" ] || echo "libclang-rt-$version-dev"
}

[ $# -gt 0 ] || { sed -n 's/^# \{0,1\}//; 3,6p' "$0" >&2; exit 2; }
command -v apt-get >/dev/null ||
	fail "this is no Debian system" "install what README.md lists by hand, then build with: meson setup build && ninja -C build"

wanted=
for group; do
	case $group in
	build) wanted="$wanted $build" ;;
	kit) wanted="$wanted $kit" ;;
	test) wanted="$wanted $test" ;;
	*) fail "there is no group $group" "name build, kit or test" ;;
	esac
done
needs_runtime=false
case " $* " in *' test '*) needs_runtime=true ;; esac

# shellcheck disable=SC2086 # a list
missing=$(missing_of $wanted)
if $needs_runtime && [ -z "$missing" ]; then
	# shellcheck disable=SC2046
	missing=$(missing_of $(clang_runtime))
fi
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null; then
	as_root='sudo'
else
	fail "these packages are missing and only root can install them: $missing" "as root: apt-get install $missing"
fi
say "installing $missing"
apt_get() { $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >&2; }
apt_get update || fail "the package lists cannot be read" "check the network and the sources in /etc/apt, then run this again"
# shellcheck disable=SC2046
! $needs_runtime || missing="$missing $(missing_of $(clang_runtime))"
# shellcheck disable=SC2086
apt_get install -y --no-install-recommends $missing ||
	fail "the packages cannot be installed" "see the messages above; apt-get install $missing by hand shows them again"
