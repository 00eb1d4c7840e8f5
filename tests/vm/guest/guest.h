/* SPDX-License-Identifier: MIT */
#ifndef GUEST_H
#define GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The programs that a small guest draws with. Both own the display's DRM card, read one command a line from their standard input,
 * and answer each with lines that begin with "@@": SHOWN when a picture is on the screen, FAILED with a reason, DONE with the
 * command's status last. One thread; all memory goes with the process.
 *
 *   guest-scanout   what a guest with an assigned device does: it owns that device's VFIO group, too. Static, for an initramfs.
 *                   main.c has the commands
 *   guest-gl        what a guest with OpenGL does. gl.c has the commands
 */

/* ---- serve.c: commands and their answers ----------------------------------------------------------------------------------------
 */

/* Prints "@@FAILED what: why" and returns -errno when result is negative; else returns result. */
int guest_check(long result, const char *what);

struct guest; /* each program's own */

struct guest_command {
	const char *name;
	unsigned words;                                            /* at least, its name included */
	int (*run)(struct guest *guest, char **words, unsigned n); /* 0 or -errno; words[0]: the name */
};

/* Runs commands until there are no more lines or one of them is "quit". */
void guest_serve(const char *program, struct guest *guest, const struct guest_command *commands, size_t n_commands);

/* ---- picture.c: the computed pictures that the host's checker knows (picture.py) ------------------------------------------------
 */

/* An image in memory: XRGB8888. */
struct image {
	uint8_t *pixels;
	uint32_t width, height, stride; /* pixels, pixels, bytes */
};

/*
 * The colour at (x, y) of picture number seed. Every pixel of a picture up to 4096x4096 has a colour of its own, so a wrong pixel
 * tells where it came from:
 *   key = (seed * 0x9e3779b1) >> 8, 24 bits
 *   colour = key xor (red: x & 255; green: y & 255; blue: (x >> 8 & 15) | (y >> 8 & 15) << 4)
 */
uint32_t picture_color(uint32_t x, uint32_t y, uint32_t seed);
void picture_draw(const struct image *image, uint32_t seed);
/* A cursor of 64x64 ARGB8888: opaque picture_color() in a diamond, transparent around it. */
void picture_draw_cursor(uint32_t pixels[64 * 64], uint32_t seed);
/* Text console: one blank per 8x16 cell, its background colour number (column + 3 * row + seed) mod 8. 0 or -errno. */
int picture_draw_console(const char *terminal, uint32_t columns, uint32_t rows, uint32_t seed);

/* ---- card.c: the display's DRM device -------------------------------------------------------------------------------------------
 */
struct card {
	int fd; /* -1: closed */
	uint32_t crtc, connector;
	uint32_t width, height; /* of the preferred mode */
	struct drm_mode_modeinfo *mode;
};

/* A framebuffer and the memory behind it, mapped. */
struct frame {
	uint32_t fb, handle; /* DRM ids, 0: none */
	struct image image;
	uint8_t *map;
	size_t map_size;
	int dmabuf; /* -1: a dumb buffer */
};

#define FRAME_NONE ((struct frame){ .dmabuf = -1 })

/* Opens the card and takes its connector number output, from 0. Waits a few seconds for path to appear. */
int card_open(struct card *card, const char *path, uint32_t output);
void card_close(struct card *card);
/* Probes all connectors and prints a line for each: @@CONNECTOR INDEX connected|disconnected WxH@MILLIHERTZ[*]..., *: preferred. */
int card_print_connectors(const struct card *card);
int card_dumb_frame(struct card *card, struct frame *frame);
/* Makes a framebuffer of frame->handle: frame->image has the layout, offset is the picture's first byte. */
int card_add_fb(struct card *card, struct frame *frame, uint32_t offset);
/* Makes a framebuffer of frame->dmabuf: frame->image has the layout, offset is the picture's first byte. */
int card_import_frame(struct card *card, struct frame *frame, uint32_t offset);
int card_show(struct card *card, const struct frame *frame);
int card_flip(struct card *card, const struct frame *frame);  /* returns when the flip is done */
int card_flush(struct card *card, const struct frame *frame); /* same framebuffer, new pixels */
int card_set_cursor(struct card *card, uint32_t seed);
/* The same with an image of 64x64 ARGB8888 that somebody has drawn; the plane keeps it. */
int card_set_cursor_image(struct card *card, uint32_t handle);
int card_move_cursor(struct card *card, int32_t x, int32_t y);
int card_hide_cursor(struct card *card);
/* Takes the framebuffer off the card and frees all memory of the frame. */
void card_free_frame(struct card *card, struct frame *frame);

/* ---- assigned.c: the assigned device
 * ---------------------------------------------------------------------------------------------- */
enum {
	ASSIGNED_CHUNK = 0x10000, /* a frame's memory comes in ranges of this size, none beside another */
	ASSIGNED_BOOTS = 0x10000, /* where the BAR remembers how often a guest was booted: between ranges 0 and 1 of the BAR */
};

struct assigned {
	int container, group, device; /* -1: closed */
	uint64_t bar_size, bar_offset, config_offset;
};

/* Binds the first PCI device vendor:id to vfio-pci and opens it. */
int assigned_open(struct assigned *assigned, uint16_t vendor, uint16_t id);
void assigned_close(struct assigned *assigned);
/* Exports size bytes of the BAR as one dmabuf, in shuffled ranges or in one piece, and maps them in the same order; which: 0 or 1,
 * memory of its own. Fills dmabuf, map and map_size of *frame. Returns the number of ranges or -errno. */
int assigned_export(struct assigned *assigned, size_t size, unsigned which, bool scattered, struct frame *frame);
/* Turns the device's memory decoding on or off in its PCI command register: off takes the memory away under everybody. */
int assigned_set_decoding(struct assigned *assigned, bool on);
/* Counts this boot in the BAR's own memory: 1 for the first, or -errno. */
int assigned_count_boot(struct assigned *assigned);

/* ---- demo.c: the moving picture
 * --------------------------------------------------------------------------------------------------- */
/* Draws frame `number` over what this buffer shows: frame `previous`, or nothing yet when previous is negative. */
void demo_draw(const struct image *image, long number, long previous);

#endif
