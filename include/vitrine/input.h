/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_INPUT_H
#define VITRINE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/api.h>
#include <vitrine/display.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/virtio.h>

/*
 * Input: what people and programs do with keyboard, pointer and fingers, on its way to the guest.
 *
 * The guest gets four virtio-input devices (virtio 1.3, 5.8), each of them a function of its own with its own memory map, so that a
 * VMM takes those it wants. A display (or the control socket) says what happened in its own words: evdev codes, an output and a
 * place in the picture it shows, wheel steps in 1/120. Which device tells it to the guest, and how, is decided here.
 *
 *   any thread                                            device thread
 *   vtr_input_key, _move, _wheel, _touch, ...   ==>       eventq of the device
 *   vtr_display_impl.leds                       <==       statusq of the keyboard
 *
 * Nobody waits, and nothing is lost that matters: while a guest takes no events, motion adds up or is replaced by the newest
 * position, and of keys and fingers only their state is kept; when it takes events again it is told what has changed since. A key
 * that the guest saw go down is therefore always seen to go up.
 */
struct vtr_input;

enum vtr_input_kind {
	VTR_INPUT_KEYBOARD,
	VTR_INPUT_TABLET, /* a pointer with absolute positions */
	VTR_INPUT_MOUSE,  /* a pointer that moves by */
	VTR_INPUT_TOUCH,  /* a touch screen */
	VTR_INPUT_KINDS,
};

/* "keyboard", "tablet", "mouse", "touch". */
VTR_API const char *vtr_input_kind_name(enum vtr_input_kind kind);
VTR_API uint32_t vtr_input_class_code(enum vtr_input_kind kind); /* PCI class, 24 bits: 0x09.... */

/* ---- device thread ------------------------------------------------------------------------------------------------------------
 */

/* outputs (used, not owned; may be NULL) are what positions refer to. NULL when out of memory or fds. */
VTR_API struct vtr_input *vtr_input_create(struct vtr_loop *loop, struct vtr_outputs *outputs);
/* After the transports and the displays; NULL is fine. */
VTR_API void vtr_input_destroy(struct vtr_input *input);

/* What a transport serves: the device and the memory map that it fills. Both owned by input. */
VTR_API struct vtr_virtio_device *vtr_input_virtio(struct vtr_input *input, enum vtr_input_kind kind);
VTR_API struct vtr_memory *vtr_input_memory(struct vtr_input *input, enum vtr_input_kind kind);

/* Calls func on the device thread whenever the guest changes the keyboard's LEDs. One listener; NULL removes. */
typedef void (*vtr_input_leds_func)(uint32_t leds, void *data);
VTR_API void vtr_input_set_leds_listener(struct vtr_input *input, vtr_input_leds_func func, void *data);

struct vtr_input_status {
	bool used;       /* a driver takes its events */
	size_t waiting;  /* events that wait for the driver's buffers */
	uint64_t events; /* given to drivers so far, SYN_REPORT included */
	uint64_t merged; /* changes that were told later than they happened, or together with others */
	size_t held;     /* keys, buttons and fingers that are down */
};
VTR_API void vtr_input_status(struct vtr_input *input, enum vtr_input_kind kind, struct vtr_input_status *status);

/* ---- any thread ---------------------------------------------------------------------------------------------------------------
 */

/* A driver takes this device's events. A window whose guest does not use the tablet has to grab the pointer and tell its motion. */
VTR_API bool vtr_input_used(struct vtr_input *input, enum vtr_input_kind kind);

/* A bit for each LED_* of linux/input-event-codes.h that is on: 1 << LED_NUML, ... */
VTR_API uint32_t vtr_input_leds(struct vtr_input *input);

/* A key by its evdev code (KEY_*), whatever it means in the host's layout. The guest repeats held keys by itself: what comes for a
 * key that is down already is ignored, and so are codes that the keyboard does not have. */
VTR_API void vtr_input_key(struct vtr_input *input, uint32_t code, bool pressed);

/* The pointer is at (x, y) of the picture that output number `output` shows: pixels of that picture from its upper left corner,
 * whatever their size on the screen; of its mode while it shows none. What is outside counts as the nearest pixel. docs/input.md
 * says how several outputs share the tablet. Ignored for outputs that the guest does not show anything on. */
VTR_API void vtr_input_move(struct vtr_input *input, uint32_t output, double x, double y);

/* The pointer moved by so much, for a window that has grabbed it: in the mouse's units, which are pixels before the guest's
 * acceleration. Fractions add up. */
VTR_API void vtr_input_move_by(struct vtr_input *input, double dx, double dy);

/* BTN_LEFT to BTN_TASK; buttons and wheel belong to the pointer that moved last. */
VTR_API void vtr_input_button(struct vtr_input *input, uint32_t code, bool pressed);

/* 120 is one step of a wheel, and touch pads send less. Signs as in evdev: positive is to the right, and away from the person. */
VTR_API void vtr_input_wheel(struct vtr_input *input, int32_t horizontal, int32_t vertical);

/* A finger, known by any number, came down or moved; or was lifted. The guest sees all that happened since the last frame at once,
 * when vtr_input_touch_frame() is called. Fingers beyond VTR_INPUT_CONTACTS are ignored until others were lifted. */
VTR_API void vtr_input_touch(struct vtr_input *input, uint32_t finger, uint32_t output, double x, double y);
VTR_API void vtr_input_touch_up(struct vtr_input *input, uint32_t finger);
VTR_API void vtr_input_touch_frame(struct vtr_input *input);

enum { VTR_INPUT_CONTACTS = 10 };

/* Everything that is down is released: the window lost the focus, the client that pressed it is gone. */
VTR_API void vtr_input_release_all(struct vtr_input *input);

#endif
