#!/bin/sh
# SPDX-License-Identifier: MIT
#
# boot-and-type.sh QEMU_OPTION...   boots a guest, waits for its prompt, types, and looks at the result: docs/testing-guests.md.
# The exit status says whether all of it was seen. The guest is to show a text console with the prompt "guest# ".
#
# QEMU, VITRINE and VITRINECTL name the programs, WORK a directory that keeps the pictures.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
work=${WORK:-$(mktemp -d)}
device=
guest=
trap 'kill $guest $device 2>/dev/null || true; [ -n "${WORK-}" ] || rm -r "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

ctl() { "${VITRINECTL:-vitrinectl}" --control "$work/control" "$@"; }

# The guest's screen, keyboard and tablet. Nobody looks, and the mode is fixed: pictures come out the same everywhere.
"${VITRINE:-vitrine}" --vfio-user "$work/gpu" --input "$work/input" --control "$work/control" --display headless \
	--output 640x400 2>"$work/vitrine.log" &
device=$!
until ctl status >/dev/null 2>&1; do
	kill -0 "$device" || { cat "$work/vitrine.log" >&2; exit 1; }
	sleep 0.1
done

function_at() { printf '{"driver":"vfio-user-pci","socket":{"type":"unix","path":"%s"}}' "$1"; }
"${QEMU:-qemu-system-x86_64}" -M q35,memory-backend=mem -m 512 -object memory-backend-memfd,id=mem,size=512M,share=on \
	-nodefaults -display none -no-reboot \
	-device "$(function_at "$work/gpu")" \
	-device "$(function_at "$work/input.keyboard")" \
	-device "$(function_at "$work/input.tablet")" \
	"$@" &
guest=$!

# 1. It has booted when the prompt is on the screen, wherever the console's text ends.
ctl wait --image "$here/prompt.png" --anywhere --timeout 300 --save "$work/no-prompt.png" >/dev/null

# 2. Type a line, and wait for what the guest makes of it: the answer, and the next prompt
#    below. The cursor blinks: in answer.png its place is transparent.
ctl type 'clear; echo $((6 * 7))'
ctl key enter
ctl wait --image "$here/answer.png" --region 240x32+0+0 --timeout 60 --save "$work/no-answer.png"

# 3. Keys that are no text: the last line comes again out of the shell's history, and ctrl-u takes it back.
ctl key up
ctl wait --image "$here/history.png" --anywhere --timeout 60 --save "$work/no-history.png" >/dev/null
ctl key ctrl-u
ctl wait --image "$here/answer.png" --region 240x32+0+0 --timeout 60

# 4. What the screen is like now, for people who read the test's report.
ctl screenshot "$work/done.png"

# 5. The guest goes down by itself: QEMU ends, and the last picture stays.
ctl type 'poweroff -f' && ctl key enter
wait "$guest"
guest=
echo "booted, typed, seen"
