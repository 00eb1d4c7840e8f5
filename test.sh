#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh   all tests on a Debian 12 machine, installing what they need; the last line is `N passed, N failed, N skipped`.
#
# Builds in build-test/ (VITRINE_TEST_BUILD overrides), four times:
#   gcc     all suites, the guest in a virtual machine and `meson install` among them
#   asan    clang with AddressSanitizer and UndefinedBehaviorSanitizer: all suites but meson install
#   tsan    clang with ThreadSanitizer: the tests where threads meet
#   fuzz    clang with libFuzzer, ASan and UBSan: every fuzz target for VITRINE_FUZZ_SECONDS (60)
# docs/testing.md has more.
set -eu

cd "$(dirname "$0")"
build=${VITRINE_TEST_BUILD:-$PWD/build-test}
started=$(date +%s)
logs=

say() { printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - started))"; }
fail() { printf 'test: %s\ntest: what to do: %s\n' "$1" "$2" >&2; exit 1; }

# compile NAME OPTION...: configures build/NAME (again when it exists) and builds it
compile() {
	name=$1
	shift
	say "building $name"
	if [ -f "$build/$name/build.ninja" ]; then
		meson configure "$build/$name" "$@" || fail "$build/$name cannot be configured" "remove it and run this again"
	else
		meson setup "$build/$name" "$@" >"$build/$name.log" ||
			{ cat "$build/$name.log"; fail "$build/$name cannot be configured" "see the messages above"; }
	fi
	ninja -C "$build/$name" || fail "$name does not build" "see the messages above"
}

# run_suites NAME MESON_TEST_OPTION...: runs the tests of build/NAME; what fails is counted at the end
run_suites() {
	name=$1
	shift
	say "testing $name"
	rm -f "$build/$name/meson-logs/testlog.json"
	meson test -C "$build/$name" --no-rebuild "$@" || true
	logs="$logs $name=$build/$name/meson-logs/testlog.json"
}

data/install-packages.sh build kit test
tests/vm/kit.sh vm desktop
mkdir -p "$build"

compile gcc -Dwerror=true
run_suites gcc

export CC=clang
sanitize='-Dwerror=true -Db_lundef=false -Dbuildtype=debugoptimized'
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# shellcheck disable=SC2086 # options
compile asan $sanitize -Db_sanitize=address,undefined
run_suites asan --suite unit --suite protocol --suite check --suite ui --suite fuzz --suite vm

# shellcheck disable=SC2086
compile tsan $sanitize -Db_sanitize=thread
run_suites tsan --suite unit --suite protocol --suite check --suite ui

# shellcheck disable=SC2086
compile fuzz $sanitize -Db_sanitize=address,undefined -Dfuzz=true -Dfuzz_seconds="${VITRINE_FUZZ_SECONDS:-60}"
run_suites fuzz --suite fuzz

say "all done"
# shellcheck disable=SC2086
python3 -B tests/summary.py $logs
