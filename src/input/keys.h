/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_KEYS_H
#define VTR_INPUT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The evdev code of a key by name, in any case: as in linux/input-event-codes.h without KEY_ and underscores ("a", "f2",
 * "leftctrl", "kpenter"), a common one ("ctrl", "del", "pgup"), or what a US keyboard has printed on it (";"). 0 when there is
 * none. */
uint32_t vtr_key_from_name(const char *name, size_t length);

/* The key that gives a character on a US keyboard, and whether shift has to be held; newline, tab, backspace and escape are keys. 0
 * when there is none. */
uint32_t vtr_key_from_character(char character, bool *shift);

#endif
