#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test.sh   all tests on a Debian 12 machine, installing what they need; the last line is `N passed, N failed, N skipped`.
#
# Builds in build-test/ (VITRINE_TEST_BUILD overrides), four times:
#   gcc     all suites, the guests in virtual machines and `meson install` among them
#   asan    clang with AddressSanitizer and UndefinedBehaviorSanitizer: all suites but meson install and the slowest virtual machines
#   tsan    clang with ThreadSanitizer: the tests where threads meet
#   fuzz    clang with libFuzzer, ASan and UBSan: every fuzz target for VITRINE_FUZZ_SECONDS (20)
# Before the last line a table says what took how long.
# docs/testing.md has more.
set -eu

cd "$(dirname "$0")"
build=${VITRINE_TEST_BUILD:-$PWD/build-test}
started=$(date +%s)
logs=
phase=
phases=

# begin PHASE: what comes from here on is measured as PHASE
begin() {
	now=$(($(date +%s) - started))
	[ -z "$phase" ] || phases="$phases$(printf '%6s s  %s' "$((now - phase_started))" "$phase")
"
	phase=$1
	phase_started=$now
	say "$phase"
}

say() { printf '\n== %s (%s s)\n' "$*" "$(($(date +%s) - started))"; }
fail() { printf 'test: %s\ntest: what to do: %s\n' "$1" "$2" >&2; exit 1; }

# compile NAME OPTION...: configures build/NAME (again when it exists) and builds it, or only $targets of it
compile() {
	name=$1
	shift
	begin "building $name"
	if [ -f "$build/$name/build.ninja" ]; then
		meson configure "$build/$name" "$@" || fail "$build/$name cannot be configured" "remove it and run this again"
	else
		meson setup "$build/$name" "$@" >"$build/$name.log" ||
			{ cat "$build/$name.log"; fail "$build/$name cannot be configured" "see the messages above"; }
	fi
	# shellcheck disable=SC2086 # targets, or none for all
	ninja -C "$build/$name" $targets || fail "$name does not build" "see the messages above"
}

# run_suites NAME MESON_TEST_OPTION...: runs the tests of build/NAME; what fails is counted at the end. Many tests mostly wait: more
# of them run at a time than there are processors.
run_suites() {
	name=$1
	shift
	begin "testing $name"
	rm -f "$build/$name/meson-logs/testlog.json"
	meson test -C "$build/$name" --no-rebuild --num-processes "$(($(nproc) * 3 / 2))" "$@" || true
	logs="$logs $name=$build/$name/meson-logs/testlog.json"
}

targets=
begin "packages and kit"
data/install-packages.sh build kit test
tests/vm/kit.sh vm desktop peer gl
mkdir -p "$build"

compile gcc -Dwerror=true
run_suites gcc

export CC=clang
sanitize='-Dwerror=true -Db_lundef=false -Dbuildtype=debugoptimized'
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
# meson's, and: clang before 17 takes some thread-local memory for what it is not, and its search for leaks then crashes now and then
# ("Tracer caught signal 11")
export ASAN_OPTIONS=halt_on_error=1:abort_on_error=1:print_summary=1:intercept_tls_get_addr=0
# shellcheck disable=SC2086 # options
compile asan $sanitize -Db_sanitize=address,undefined
run_suites asan --suite unit --suite protocol --suite check --suite ui --suite fuzz --suite vm

# shellcheck disable=SC2086
compile tsan $sanitize -Db_sanitize=thread
run_suites tsan --suite unit --suite protocol --suite check --suite ui

# shellcheck disable=SC2086
targets=fuzz-programs compile fuzz $sanitize -Db_sanitize=address,undefined -Dfuzz=true -Dfuzz_seconds="${VITRINE_FUZZ_SECONDS:-20}"
run_suites fuzz --suite fuzz --num-processes "$(nproc)"

begin "all done"
printf '\n%s\n' "$phases"
# shellcheck disable=SC2086
python3 -B tests/summary.py $logs
