/* SPDX-License-Identifier: MIT */
/*
 * guest-scanout's commands, one a line on standard input, numbers in decimal. A SEED names a computed picture (guest.h).
 *
 *   vfio SEED          a frame in shuffled ranges of the assigned device's BAR
 *   contiguous SEED    a frame in one piece of the BAR
 *   stride SEED        the first again, 64 bytes more a row than the picture needs, beginning 8192 bytes into the dmabuf
 *   dumb SEED          a frame in the guest's RAM
 *   flip SEED FRAMES   FRAMES page flips between two buffers in the BAR; stops on picture SEED
 *   pair               two frames with whatever is in the BAR; one of them is shown
 *   turn FRAMES        FRAMES page flips between the two that flip or pair made; nothing is drawn
 *   redraw SEED        other pixels in the framebuffer that is shown
 *   cursor SEED X Y    a cursor image at X, Y; without arguments: none
 *   decoding on|off    the assigned device's memory comes and goes
 *   console SEED       gives the card back to the kernel's console and fills it
 *   demo [FRAMES]      moving frames in the BAR until another line comes, or FRAMES are shown
 *   card CARD OUTPUT   from now on /dev/dri/cardCARD and its connector number OUTPUT, from 0 (0 0)
 *   connectors         what the card's connectors say of their monitors
 *   boots              counts this boot in the BAR's memory
 *   quit
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest.h"

/* QEMU's ivshmem-plain: its BAR 2 is memory, and it needs no driver */
enum { IVSHMEM_VENDOR = 0x1af4, IVSHMEM_DEVICE = 0x1110, DEFAULT_COLUMNS = 8, DEFAULT_ROWS = 16 };

struct guest {
	struct card card;
	char card_path[32];
	uint32_t output; /* the card's connector */
	struct assigned assigned;
	struct frame shown[2]; /* what the CRTC shows, and the other half of a flip */
	unsigned current;      /* which of them */
};

static int need_card(struct guest *guest)
{
	return guest->card.fd >= 0 ? 0 : card_open(&guest->card, guest->card_path, guest->output);
}

static int need_assigned(struct guest *guest)
{
	return guest->assigned.device >= 0 ? 0 : assigned_open(&guest->assigned, IVSHMEM_VENDOR, IVSHMEM_DEVICE);
}

static void told(const struct guest *guest, const char *what, uint32_t seed, int ranges)
{
	printf("@@SHOWN %s seed=%u size=%ux%u ranges=%d\n", what, seed, guest->card.width, guest->card.height, ranges);
}

static void free_shown(struct guest *guest)
{
	card_free_frame(&guest->card, &guest->shown[0]);
	card_free_frame(&guest->card, &guest->shown[1]);
	guest->current = 0;
}

/* Puts a new frame on the screen; only then goes what was there before, as a compositor does it. */
static int show(struct guest *guest, struct frame *frame)
{
	int ret = card_show(&guest->card, frame);

	if (ret < 0) {
		card_free_frame(&guest->card, frame);
		return ret;
	}
	free_shown(guest);
	guest->shown[0] = *frame;
	return 0;
}

/* How a frame lies in the BAR. */
struct placing {
	const char *name;
	uint32_t padding, offset; /* bytes: behind each row, before the first */
	bool in_one_piece;
};

static const struct placing shuffled = { "vfio" };

/* A frame in the BAR, not shown yet. The memory of frame `which` may still be on the screen: the same bytes under a new name. */
static int bar_frame(struct guest *guest, unsigned which, const struct placing *placing, struct frame *frame)
{
	uint32_t width = guest->card.width, height = guest->card.height, stride = width * 4 + placing->padding;
	uint32_t offset = placing->offset;
	int ranges = assigned_export(&guest->assigned, offset + (size_t)stride * height, which, !placing->in_one_piece, frame), ret;

	if (ranges < 0)
		goto fail;
	frame->image = (struct image){ .pixels = frame->map + offset, .width = width, .height = height, .stride = stride };
	ret = card_import_frame(&guest->card, frame, offset);
	if (ret == 0)
		return ranges;
	ranges = ret;
fail:
	card_free_frame(&guest->card, frame);
	return ranges;
}

static int need_both(struct guest *guest)
{
	int ret = need_card(guest);

	return ret < 0 ? ret : need_assigned(guest);
}

static int show_bar(struct guest *guest, const struct placing *placing, uint32_t seed)
{
	struct frame frame;
	int ret = need_both(guest), ranges;

	if (ret < 0)
		return ret;
	ranges = bar_frame(guest, 0, placing, &frame);
	if (ranges < 0)
		return ranges;
	picture_draw(&frame.image, seed);
	ret = show(guest, &frame);
	if (ret == 0)
		told(guest, placing->name, seed, ranges);
	return ret;
}

static int command_vfio(struct guest *guest, char **words, unsigned n)
{
	return show_bar(guest, &shuffled, (uint32_t)atoi(words[1]));
}

static int command_contiguous(struct guest *guest, char **words, unsigned n)
{
	static const struct placing placing = { .name = "contiguous", .in_one_piece = true };

	return show_bar(guest, &placing, (uint32_t)atoi(words[1]));
}

static int command_stride(struct guest *guest, char **words, unsigned n)
{
	static const struct placing placing = { .name = "stride", .padding = 64, .offset = 8192 };

	return show_bar(guest, &placing, (uint32_t)atoi(words[1]));
}

static int command_dumb(struct guest *guest, char **words, unsigned n)
{
	uint32_t seed = (uint32_t)atoi(words[1]);
	struct frame frame;
	int ret = need_card(guest);

	if (ret == 0)
		ret = card_dumb_frame(&guest->card, &frame);
	if (ret < 0)
		return ret;
	picture_draw(&frame.image, seed);
	ret = show(guest, &frame);
	if (ret == 0)
		told(guest, "dumb", seed, 0);
	return ret;
}

/* Two frames in the BAR; the first of them is shown, empty or with whatever is in there. Returns the number of ranges of each. */
static int show_pair(struct guest *guest, bool empty)
{
	struct frame frame;
	int ret = need_both(guest), ranges;

	if (ret < 0)
		return ret;
	ranges = bar_frame(guest, 0, &shuffled, &frame);
	if (ranges < 0)
		return ranges;
	if (empty)
		memset(frame.map, 0, frame.map_size);
	ret = show(guest, &frame);
	if (ret == 0)
		ret = bar_frame(guest, 1, &shuffled, &guest->shown[1]);
	return ret < 0 ? ret : ranges;
}

static struct frame *hidden_frame(struct guest *guest)
{
	return &guest->shown[guest->current ^ 1];
}

static int flip(struct guest *guest)
{
	int ret = card_flip(&guest->card, hidden_frame(guest));

	if (ret == 0)
		guest->current ^= 1;
	return ret;
}

static int command_flip(struct guest *guest, char **words, unsigned n)
{
	uint32_t seed = (uint32_t)atoi(words[1]), frames = (uint32_t)atoi(words[2]);
	int ranges = show_pair(guest, true), ret = ranges;

	for (uint32_t left = frames; ret >= 0 && left-- > 0;) {
		picture_draw(&hidden_frame(guest)->image, seed + left);
		ret = flip(guest);
	}
	if (ret < 0)
		return ret;
	told(guest, "flip", seed, ranges);
	return 0;
}

static int command_pair(struct guest *guest, char **words, unsigned n)
{
	int ranges = show_pair(guest, false);

	if (ranges < 0)
		return ranges;
	told(guest, "pair", 0, ranges);
	return 0;
}

static int command_turn(struct guest *guest, char **words, unsigned n)
{
	int ret = 0;

	if (!hidden_frame(guest)->fb) {
		errno = EINVAL;
		return guest_check(-1, "turn: there are no two frames");
	}
	for (int left = atoi(words[1]); ret >= 0 && left > 0; left--)
		ret = flip(guest);
	return ret;
}

static int command_redraw(struct guest *guest, char **words, unsigned n)
{
	struct frame *frame = &guest->shown[guest->current];
	uint32_t seed = (uint32_t)atoi(words[1]);
	int ret;

	if (!frame->fb) {
		errno = EINVAL;
		return guest_check(-1, "redraw: nothing is shown");
	}
	picture_draw(&frame->image, seed);
	ret = card_flush(&guest->card, frame);
	if (ret == 0)
		told(guest, "redraw", seed, 0);
	return ret;
}

static int command_cursor(struct guest *guest, char **words, unsigned n)
{
	int ret = need_card(guest);

	if (ret < 0)
		return ret;
	if (n < 4)
		return card_hide_cursor(&guest->card);
	ret = card_set_cursor(&guest->card, (uint32_t)atoi(words[1]));
	return ret < 0 ? ret : card_move_cursor(&guest->card, atoi(words[2]), atoi(words[3]));
}

static int command_decoding(struct guest *guest, char **words, unsigned n)
{
	int ret = need_assigned(guest);

	return ret < 0 ? ret : assigned_set_decoding(&guest->assigned, strcmp(words[1], "on") == 0);
}

static int command_console(struct guest *guest, char **words, unsigned n)
{
	uint32_t seed = (uint32_t)atoi(words[1]), width, height;
	int ret = need_card(guest);

	if (ret < 0)
		return ret;
	width = guest->card.width;
	height = guest->card.height;
	free_shown(guest);
	card_close(&guest->card);
	ret = picture_draw_console("/dev/tty1", width / DEFAULT_COLUMNS, height / DEFAULT_ROWS, seed);
	if (ret == 0)
		printf("@@SHOWN console seed=%u size=%ux%u\n", seed, width, height);
	return ret;
}

static bool line_waits(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	return poll(&input, 1, 0) > 0;
}

static int command_demo(struct guest *guest, char **words, unsigned n)
{
	long frames = n > 1 ? atol(words[1]) : 0, number = 0, drawn[2] = { -1, -1 };
	int ranges = show_pair(guest, true), ret = ranges;

	while (ret >= 0 && !line_waits() && (frames == 0 || number < frames)) {
		unsigned hidden = guest->current ^ 1;

		demo_draw(&guest->shown[hidden].image, number, drawn[hidden]);
		drawn[hidden] = number++;
		ret = flip(guest);
		if (number == 1 && ret >= 0)
			printf("@@MOVING size=%ux%u ranges=%d\n", guest->card.width, guest->card.height, ranges);
	}
	if (ret < 0)
		return ret;
	printf("@@SHOWN demo frames=%ld ranges=%d\n", number, ranges);
	return 0;
}

static int command_card(struct guest *guest, char **words, unsigned n)
{
	free_shown(guest);
	card_close(&guest->card);
	snprintf(guest->card_path, sizeof(guest->card_path), "/dev/dri/card%d", atoi(words[1]));
	guest->output = (uint32_t)atoi(words[2]);
	return 0;
}

static int command_connectors(struct guest *guest, char **words, unsigned n)
{
	int ret = need_card(guest);

	return ret < 0 ? ret : card_print_connectors(&guest->card);
}

static int command_boots(struct guest *guest, char **words, unsigned n)
{
	int ret = need_assigned(guest);

	if (ret == 0)
		ret = assigned_count_boot(&guest->assigned);
	if (ret < 0)
		return ret;
	printf("@@BOOTS %d\n", ret);
	return 0;
}

static const struct guest_command commands[] = {
	{ "vfio", 2, command_vfio },
	{ "contiguous", 2, command_contiguous },
	{ "stride", 2, command_stride },
	{ "dumb", 2, command_dumb },
	{ "flip", 3, command_flip },
	{ "pair", 1, command_pair },
	{ "turn", 2, command_turn },
	{ "redraw", 2, command_redraw },
	{ "cursor", 1, command_cursor },
	{ "card", 3, command_card },
	{ "decoding", 2, command_decoding },
	{ "console", 2, command_console },
	{ "demo", 1, command_demo },
	{ "boots", 1, command_boots },
	{ "connectors", 1, command_connectors },
};

int main(void)
{
	struct guest guest = {
		.card.fd = -1,
		.card_path = "/dev/dri/card0",
		.assigned = { .container = -1, .group = -1, .device = -1 },
		.shown = { FRAME_NONE, FRAME_NONE },
	};

	guest_serve("guest-scanout", &guest, commands, sizeof(commands) / sizeof(commands[0]));
	free_shown(&guest);
	card_close(&guest.card);
	assigned_close(&guest.assigned);
	return 0;
}
