#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the hand-made inputs of fuzz_input into a folder: python3 seed_input.py corpus/input"""

import os
import struct
import sys

(START, GIVE, TAKE, CONFIG, STATUS, KEY, BUTTON, MOVE, MOVE_BY, WHEEL, TOUCH, LIFT, FRAME, RELEASE, DISPATCH, QUEUE_RESET, REMOVE,
 ADD, WORDS) = range(19)
KEYBOARD, TABLET, MOUSE, TOUCHSCREEN = range(4)


def op(command, *arguments):
    return bytes([command, *arguments])


def key(code, pressed):
    return struct.pack('<BHB', KEY, code, pressed)


def move(x, y, output=0):
    return struct.pack('<BBHH', MOVE, output, x, y)


def touch(finger, x, y, output=0):
    return struct.pack('<BBBHH', TOUCH, finger, output, x, y)


def status(kind, code, value, size=8, event_type=0x11):
    return struct.pack('<BBHHBB', STATUS, kind, event_type, code, value, size)


def words(what, text):
    return op(WORDS, what, len(text)) + text.encode()


def taps(count):
    return b''.join(key(2 + i % 9, 1) + key(2 + i % 9, 0) for i in range(count))


SEEDS = {
    'keys': op(GIVE, KEYBOARD, 64, 8) + key(29, 1) + key(30, 1) + op(DISPATCH) + key(30, 0) + op(TAKE, KEYBOARD, 9) + op(RELEASE),
    'full': taps(300) + op(GIVE, KEYBOARD, 64, 8) + op(DISPATCH) + key(44, 1) + op(TAKE, KEYBOARD, 64),
    'small-buffer': op(GIVE, KEYBOARD, 1, 7) + key(30, 1) + op(DISPATCH) + op(START, KEYBOARD) + op(GIVE, KEYBOARD, 9, 8) + op(DISPATCH),
    'pointer': op(GIVE, TABLET, 64, 8) + move(1, 2) + op(BUTTON, 0, 1) + move(9, 9, 1) + op(DISPATCH) + op(MOVE_BY, 3, 250)
               + op(BUTTON, 0, 0) + op(WHEEL, 8, 251) + op(DISPATCH) + op(TAKE, TABLET, 30),
    'touch': op(GIVE, TOUCHSCREEN, 64, 8) + touch(0, 1, 1) + touch(1, 2, 2) + op(FRAME) + op(LIFT, 0) + touch(2, 5, 5) + op(FRAME)
             + op(DISPATCH) + op(TAKE, TOUCHSCREEN, 64) + op(RELEASE),
    'touch-full': b''.join(touch(i % 3, i, i) + op(FRAME) + op(LIFT, i % 3) + op(FRAME) for i in range(60)) + op(DISPATCH),
    'leds': status(KEYBOARD, 1, 1) + status(KEYBOARD, 0, 1) + status(KEYBOARD, 9, 1) + status(KEYBOARD, 0, 0, 3)
            + status(MOUSE, 0, 1) + status(KEYBOARD, 0, 250, 8, 0x14) + op(DISPATCH),
    'config': b''.join(op(CONFIG, kind, select, subsel, 0, 136) for kind in range(4) for select in (1, 2, 3, 16, 17, 18)
                       for subsel in (0, 1, 3)),
    'memory': op(GIVE, KEYBOARD, 9, 8) + op(REMOVE, KEYBOARD) + key(30, 1) + op(DISPATCH) + op(ADD, KEYBOARD) + op(DISPATCH),
    'queue-reset': op(GIVE, KEYBOARD, 1, 8) + key(30, 1) + op(DISPATCH) + op(QUEUE_RESET, KEYBOARD) + key(30, 0)
                   + op(GIVE, KEYBOARD, 9, 8) + op(DISPATCH),
    'words-type': op(GIVE, KEYBOARD, 64, 8) + words(0, 'Hello, World!\n') + op(DISPATCH),
    'words-keys': words(1, 'ctrl-alt-f2 shift+a') + words(4, 'super') + words(7, 'super') + words(1, 'ctrl--'),
    'words-pointer': words(2, '100,200 click 1,1 drag:9,9 wheel:-2.5 hwheel:1 by:-3,4 press:right release:right 5,5 tap 0,0 swipe:8,8')
                     + words(2, 'jump') + op(DISPATCH),
}


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    for name, data in SEEDS.items():
        with open(os.path.join(sys.argv[1], name), 'wb') as file:
            file.write(data)


if __name__ == '__main__':
    main()
