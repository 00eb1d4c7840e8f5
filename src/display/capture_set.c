/* SPDX-License-Identifier: MIT */
#include "display/capture_set.h"

#include <assert.h>
#include <errno.h>

#include "display/picture.h"

void vtr_capture_set_init(struct vtr_capture_set *set, struct vtr_output *output)
{
	set->output = output;
	set->count = 0;
}

void vtr_capture_set_add(struct vtr_capture_set *set, struct vtr_capture *capture)
{
	assert(set->count < VTR_MAX_CAPTURES); /* there are never more of an output */
	set->items[set->count++] = capture;
}

/* cursor: drawn for those who want it; NULL: for nobody. */
static void answer(struct vtr_capture *capture, pixman_image_t *picture, const struct vtr_cursor *cursor, uint64_t sequence)
{
	pixman_image_t *image = picture;
	struct vtr_error error;

	if (picture && cursor && vtr_capture_wants_cursor(capture))
		image = vtr_picture_with_cursor(picture, cursor);
	vtr_error_set(&error, VTR_ERROR_HOST, ENOMEM, "no memory for the picture");
	vtr_capture_finish(capture, image, sequence, image ? NULL : &error);
	if (image && image != picture)
		pixman_image_unref(image);
}

static void answer_all(struct vtr_capture_set *set, pixman_image_t *picture, const struct vtr_cursor *cursor, uint64_t sequence)
{
	for (size_t i = 0; i < set->count; i++)
		answer(set->items[i], picture, cursor, sequence);
	set->count = 0;
}

void vtr_capture_set_answer(struct vtr_capture_set *set, pixman_image_t *picture, uint64_t sequence)
{
	struct vtr_cursor cursor;

	if (!set->count)
		return;
	vtr_output_get_cursor(set->output, &cursor);
	answer_all(set, picture, &cursor, sequence);
}

static pixman_image_t *copy_pixels(const struct vtr_frame *frame)
{
	pixman_image_t *picture = vtr_picture_create(frame->width, frame->height);
	pixman_region32_t all;

	if (!picture)
		return NULL;
	pixman_region32_init_rect(&all, 0, 0, frame->width, frame->height);
	bool ok = vtr_picture_read(picture, &all, frame->pixels, frame->stride, frame->format);
	pixman_region32_fini(&all);
	if (ok)
		return picture;
	pixman_image_unref(picture);
	return NULL;
}

static void answer_black(struct vtr_capture_set *set, uint64_t sequence)
{
	struct vtr_mode mode = vtr_output_mode(set->output);
	pixman_image_t *picture = vtr_picture_create(mode.width, mode.height);

	answer_all(set, picture, NULL, sequence);
	if (picture)
		pixman_image_unref(picture);
}

void vtr_capture_set_answer_pixels(struct vtr_capture_set *set, const struct vtr_frame *frame, uint64_t sequence)
{
	if (!set->count)
		return;
	if (!frame) {
		answer_black(set, sequence);
		return;
	}
	pixman_image_t *picture = copy_pixels(frame);
	vtr_capture_set_answer(set, picture, sequence);
	if (picture)
		pixman_image_unref(picture);
}

void vtr_capture_set_fail(struct vtr_capture_set *set, const struct vtr_error *error)
{
	for (size_t i = 0; i < set->count; i++)
		vtr_capture_finish(set->items[i], NULL, 0, error);
	set->count = 0;
}

void vtr_capture_set_give_back(struct vtr_capture_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		vtr_capture_give_back(set->items[i]);
	set->count = 0;
}
