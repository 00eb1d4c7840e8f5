/* SPDX-License-Identifier: MIT */
#ifndef VTR_DISPLAY_CAPTURE_SET_H
#define VTR_DISPLAY_CAPTURE_SET_H

#include "display/display.h"

/*
 * The captures of one output that its display has and has not answered. A display makes one picture, of a frame that was made after
 * the last of them was asked for, and all get that. How it comes by the picture is its own business: it reads a dmabuf, reads its
 * window back, or asks for pixels (VTR_DEMAND_PIXELS) and takes those of the next frame. A demand that rose for the captures falls
 * before they are answered, so that who gets an answer sees that it fell.
 */
struct vtr_capture_set {
	struct vtr_output *output;
	struct vtr_capture *items[VTR_MAX_CAPTURES];
	size_t count; /* 0: nobody waits */
};

void vtr_capture_set_init(struct vtr_capture_set *set, struct vtr_output *output);

/* Takes capture, from vtr_display_impl.capture. */
void vtr_capture_set_add(struct vtr_capture_set *set, struct vtr_capture *capture);

/* Ends all with picture: 32 bits a pixel, without the cursor, which is drawn into a copy for those who want it. It stays the
 * caller's. NULL: there was no memory for it. sequence: of the frame that it is of. */
void vtr_capture_set_answer(struct vtr_capture_set *set, pixman_image_t *picture, uint64_t sequence);

/* Ends all with a copy of the frame's pixels (VTR_FRAME_PIXELS); frame NULL: with black of the mode's size, without a cursor,
 * because nothing is shown. */
void vtr_capture_set_answer_pixels(struct vtr_capture_set *set, const struct vtr_frame *frame, uint64_t sequence);

void vtr_capture_set_fail(struct vtr_capture_set *set, const struct vtr_error *error);

/* From vtr_display_impl.detach: the output's next display answers. */
void vtr_capture_set_give_back(struct vtr_capture_set *set);

#endif
