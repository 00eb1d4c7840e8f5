/* SPDX-License-Identifier: MIT */
/*
 * The cursor: in the plane that the driver has for it, so that it moves without a new picture. The legacy ioctls do that on every
 * driver, atomic ones included, and do not wait for page flips. Where there is no such plane the cursor is drawn into the copy, and
 * the picture is copied for as long as the guest shows a cursor.
 */
#include <errno.h>
#include <string.h>

#include "kms.h"

/* Of the plane. The guest's images count from 1. */
#define NO_IMAGE UINT64_C(0)
#define UNKNOWN_IMAGE UINT64_MAX /* perhaps another program's */

static int set_image(struct kms_output *output)
{
	const struct kms_card *card = &output->kms->card;
	struct kms_cursor *cursor = &output->cursor;
	uint32_t crtc = output->pipe.crtc->id;

	if (card->cursor_width < VTR_CURSOR_SIZE || card->cursor_height < VTR_CURSOR_SIZE)
		return -EINVAL;
	int result =
		cursor->image.handle ? 0 : kms_dumb_create(&cursor->image, card, card->cursor_width, card->cursor_height, true);
	if (result)
		return result;
	uint8_t *row = (uint8_t *)pixman_image_get_data(cursor->image.image);
	for (int y = 0; y < VTR_CURSOR_SIZE; y++, row += pixman_image_get_stride(cursor->image.image))
		memcpy(row, cursor->now.image + y * VTR_CURSOR_SIZE, VTR_CURSOR_SIZE * sizeof(cursor->now.image[0]));
	if (drmModeSetCursor2(card->fd, crtc, cursor->image.handle, card->cursor_width, card->cursor_height,
	                      (int32_t)cursor->now.hot_x, (int32_t)cursor->now.hot_y))
		return -errno;
	cursor->serial = cursor->now.serial;
	return 0;
}

static void hide(struct kms_output *output)
{
	if (output->cursor.serial != NO_IMAGE)
		drmModeSetCursor(output->kms->card.fd, output->pipe.crtc->id, 0, 0, 0);
	output->cursor.serial = NO_IMAGE;
}

static void move(struct kms_output *output)
{
	const struct kms_held *shown = &output->shown;
	int64_t x = output->cursor.now.x, y = output->cursor.now.y;

	if (shown->width && shown->height) {
		x = shown->place.x1 + x * (shown->place.x2 - shown->place.x1) / shown->width;
		y = shown->place.y1 + y * (shown->place.y2 - shown->place.y1) / shown->height;
	}
	drmModeMoveCursor(output->kms->card.fd, output->pipe.crtc->id, (int)x, (int)y);
}

void kms_cursor_place(struct kms_output *output)
{
	if (output->cursor.now.visible && !output->cursor.composed && output->pipe.crtc && !output->kms->away)
		move(output);
}

/* In the plane. 0, or -errno when the driver has none or does not take the image. */
static int show_plane(struct kms_output *output)
{
	if (!output->cursor.now.visible) {
		hide(output);
		return 0;
	}
	move(output);
	return output->cursor.serial == output->cursor.now.serial ? 0 : set_image(output);
}

void kms_cursor_update(struct kms_output *output, bool anew)
{
	struct kms_cursor *cursor = &output->cursor;

	vtr_output_get_cursor(output->output, &cursor->now);
	if (output->kms->away || !output->pipe.crtc)
		return;
	if (anew)
		cursor->serial = UNKNOWN_IMAGE;
	int result = cursor->composed ? -ENXIO : show_plane(output);
	if (result == -EACCES) {
		kms_lose_master(output->kms);
		return;
	}
	cursor->composed = result != 0;
	if (!cursor->composed)
		return;
	kms_output_refuse(output, KMS_REFUSES_CURSOR, cursor->now.visible);
	output->redraw = true;
	kms_output_show(output);
}

const struct vtr_cursor *kms_cursor_to_draw(const struct kms_output *output)
{
	return output->cursor.composed ? &output->cursor.now : NULL;
}

void kms_cursor_finish(struct kms_output *output)
{
	kms_dumb_destroy(&output->cursor.image, &output->kms->card);
}
