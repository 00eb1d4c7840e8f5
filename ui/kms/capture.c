/* SPDX-License-Identifier: MIT */
/*
 * Captures: the display thread does not read guest memory, so it asks for the pixels (VTR_DEMAND_PIXELS), gets them with the next
 * frame, shows that frame as a copy, and goes back to dmabufs with the one that follows. A picture is that of a frame which was
 * made after somebody asked, also while nothing is shown.
 */
#include <errno.h>

#include "display/picture.h"
#include "kms.h"

void kms_capture_add(struct kms_output *output, struct vtr_capture *capture)
{
	struct vtr_error error;

	output->captures[output->n_captures++] = capture; /* there are never more than VTR_MAX_CAPTURES */
	if (!output->pipe.crtc) {
		vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "nothing is plugged into connector %s", output->connector->name);
		kms_captures_fail(output, &error);
	}
	kms_output_update_demand(output);
}

static pixman_image_t *make_picture(const struct kms_output *output, const struct vtr_frame *frame)
{
	pixman_image_t *picture =
		vtr_picture_create(frame ? frame->width : output->mode.hdisplay, frame ? frame->height : output->mode.vdisplay);
	pixman_region32_t all;

	if (!picture || !frame)
		return picture;
	pixman_region32_init_rect(&all, 0, 0, frame->width, frame->height);
	bool ok = vtr_picture_read(picture, &all, frame->pixels, frame->stride, frame->format);
	pixman_region32_fini(&all);
	if (ok)
		return picture;
	pixman_image_unref(picture);
	return NULL;
}

static void answer(const struct kms_output *output, struct vtr_capture *capture, pixman_image_t *picture, uint64_t sequence)
{
	pixman_image_t *image = picture;
	struct vtr_error error;

	if (picture && vtr_capture_wants_cursor(capture))
		image = vtr_picture_with_cursor(picture, &output->cursor.now);
	vtr_error_set(&error, VTR_ERROR_HOST, ENOMEM, "no memory for the picture");
	vtr_capture_finish(capture, image, sequence, image ? NULL : &error);
	if (image && image != picture)
		pixman_image_unref(image);
}

void kms_captures_answer(struct kms_output *output, const struct vtr_frame *frame, uint64_t sequence)
{
	if (!output->n_captures)
		return;
	pixman_image_t *picture = make_picture(output, frame);

	for (size_t i = 0; i < output->n_captures; i++)
		answer(output, output->captures[i], picture, sequence);
	output->n_captures = 0;
	if (picture)
		pixman_image_unref(picture);
}

void kms_captures_fail(struct kms_output *output, const struct vtr_error *error)
{
	for (size_t i = 0; i < output->n_captures; i++)
		vtr_capture_finish(output->captures[i], NULL, 0, error);
	output->n_captures = 0;
}

void kms_captures_give_back(struct kms_output *output)
{
	for (size_t i = 0; i < output->n_captures; i++)
		vtr_capture_give_back(output->captures[i]);
	output->n_captures = 0;
}
