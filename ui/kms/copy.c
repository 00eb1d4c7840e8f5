/* SPDX-License-Identifier: MIT */
#include "copy.h"

#include <errno.h>
#include <string.h>

#include <vitrine/limits.h>

#include "display/picture.h"

void kms_copy_init(struct kms_copy *copy, const struct kms_card *card)
{
	*copy = (struct kms_copy){ .card = card };
	pixman_region32_init(&copy->stale[0]);
	pixman_region32_init(&copy->stale[1]);
}

void kms_copy_finish(struct kms_copy *copy)
{
	for (unsigned i = 0; i < 2; i++) {
		kms_dumb_destroy(&copy->dumbs[i], copy->card);
		pixman_region32_fini(&copy->stale[i]);
	}
}

void kms_copy_drop(struct kms_copy *copy, unsigned which)
{
	kms_dumb_destroy(&copy->dumbs[which], copy->card);
}

pixman_box32_t kms_copy_place(uint32_t mode_width, uint32_t mode_height, uint32_t width, uint32_t height)
{
	uint64_t wide = (uint64_t)mode_width * height, high = (uint64_t)mode_height * width; /* 64 bits: 2^14 * 2^14 */
	uint32_t w = mode_width, h = mode_height;

	if (wide > high)
		w = (uint32_t)(high / height);
	else
		h = (uint32_t)(wide / width);
	w = w ? w : 1;
	h = h ? h : 1;
	int32_t x = (int32_t)(mode_width - w) / 2, y = (int32_t)(mode_height - h) / 2;
	return (pixman_box32_t){ x, y, x + (int32_t)w, y + (int32_t)h };
}

void kms_copy_damage(struct kms_copy *copy, const pixman_region32_t *damage)
{
	for (unsigned i = 0; i < 2; i++) {
		pixman_region32_t *stale = &copy->stale[i];

		if (damage && pixman_region32_union(stale, stale, (pixman_region32_t *)damage))
			continue;
		pixman_region32_fini(stale);
		pixman_region32_init_rect(stale, 0, 0, copy->picture_width, copy->picture_height);
	}
}

void kms_copy_set_size(struct kms_copy *copy, uint32_t mode_width, uint32_t mode_height, uint32_t width, uint32_t height)
{
	if (copy->width == mode_width && copy->height == mode_height && copy->picture_width == width &&
	    copy->picture_height == height)
		return;
	copy->width = mode_width;
	copy->height = mode_height;
	copy->picture_width = width;
	copy->picture_height = height;
	copy->place = kms_copy_place(mode_width, mode_height, width, height);
	copy->stained[0] = copy->stained[1] = true;
	kms_copy_damage(copy, NULL);
}

static bool is_scaled(const struct kms_copy *copy)
{
	return copy->picture_width != copy->width || copy->picture_height != copy->height;
}

static void clear(struct kms_copy *copy, unsigned which)
{
	memset(copy->dumbs[which].data, 0, copy->dumbs[which].size);
	pixman_region32_fini(&copy->stale[which]);
	pixman_region32_init_rect(&copy->stale[which], 0, 0, copy->picture_width, copy->picture_height);
	copy->cursor[which] = (pixman_box32_t){ 0 };
	copy->stained[which] = false;
}

/* A buffer of the mode's size. */
static int ensure_dumb(struct kms_copy *copy, unsigned which)
{
	struct kms_dumb *dumb = &copy->dumbs[which];

	if (dumb->handle && dumb->width == copy->width && dumb->height == copy->height)
		return 0;
	kms_dumb_destroy(dumb, copy->card);
	copy->stained[which] = true;
	return kms_dumb_create(dumb, copy->card, copy->width, copy->height, false);
}

/* ---- where things are in the mode ---- */

/* The box of the mode that a box of the picture covers, and what a filter mixes at its borders. */
static pixman_box32_t placed(const struct kms_copy *copy, const pixman_box32_t *box)
{
	int64_t w = copy->place.x2 - copy->place.x1, h = copy->place.y2 - copy->place.y1;
	int64_t pw = copy->picture_width, ph = copy->picture_height;
	int32_t margin = is_scaled(copy) ? 2 : 0;
	pixman_box32_t out = {
		.x1 = copy->place.x1 + (int32_t)(box->x1 * w / pw) - margin,
		.y1 = copy->place.y1 + (int32_t)(box->y1 * h / ph) - margin,
		.x2 = copy->place.x1 + (int32_t)((box->x2 * w + pw - 1) / pw) + margin,
		.y2 = copy->place.y1 + (int32_t)((box->y2 * h + ph - 1) / ph) + margin,
	};

	out.x1 = out.x1 < copy->place.x1 ? copy->place.x1 : out.x1;
	out.y1 = out.y1 < copy->place.y1 ? copy->place.y1 : out.y1;
	out.x2 = out.x2 > copy->place.x2 ? copy->place.x2 : out.x2;
	out.y2 = out.y2 > copy->place.y2 ? copy->place.y2 : out.y2;
	return out;
}

static pixman_box32_t cursor_box(const struct kms_copy *copy, const struct vtr_cursor *cursor)
{
	pixman_box32_t box = { 0 };

	if (!cursor || !cursor->visible || cursor->x <= -VTR_CURSOR_SIZE || cursor->y <= -VTR_CURSOR_SIZE ||
	    cursor->x >= (int32_t)copy->picture_width || cursor->y >= (int32_t)copy->picture_height)
		return box;
	box = (pixman_box32_t){ cursor->x, cursor->y, cursor->x + VTR_CURSOR_SIZE, cursor->y + VTR_CURSOR_SIZE };
	return placed(copy, &box);
}

/* What has to be drawn, in the mode: what is stale, and where a cursor was and will be. False when out of memory. */
static bool find_changes(const struct kms_copy *copy, unsigned which, const pixman_box32_t *new_cursor, pixman_region32_t *region)
{
	const pixman_box32_t *cursors[] = { &copy->cursor[which], new_cursor };
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)&copy->stale[which], &count);
	bool ok = true;

	for (int i = 0; i < count; i++) {
		pixman_box32_t box = placed(copy, &boxes[i]);

		if (box.x1 < box.x2 && box.y1 < box.y2)
			ok &= pixman_region32_union_rect(region, region, box.x1, box.y1, (unsigned)(box.x2 - box.x1),
			                                 (unsigned)(box.y2 - box.y1));
	}
	for (int i = 0; i < 2; i++)
		if (cursors[i]->x1 < cursors[i]->x2 && cursors[i]->y1 < cursors[i]->y2)
			ok &= pixman_region32_union_rect(region, region, cursors[i]->x1, cursors[i]->y1,
			                                 (unsigned)(cursors[i]->x2 - cursors[i]->x1),
			                                 (unsigned)(cursors[i]->y2 - cursors[i]->y1));
	return ok;
}

/* ---- drawing ---- */

static void set_scale(const struct kms_copy *copy, pixman_image_t *image, pixman_repeat_t repeat)
{
	pixman_transform_t transform;
	double x = (double)copy->picture_width / (copy->place.x2 - copy->place.x1);
	double y = (double)copy->picture_height / (copy->place.y2 - copy->place.y1);

	pixman_transform_init_scale(&transform, pixman_double_to_fixed(x), pixman_double_to_fixed(y));
	pixman_image_set_transform(image, &transform);
	pixman_image_set_filter(image, PIXMAN_FILTER_BILINEAR, NULL, 0);
	pixman_image_set_repeat(image, repeat);
}

static bool draw_picture(const struct kms_copy *copy, const struct kms_dumb *dumb, const pixman_region32_t *region,
                         const struct vtr_frame *frame)
{
	if (!is_scaled(copy))
		return vtr_picture_read(dumb->image, region, frame->pixels, frame->stride, frame->format);
	pixman_image_t *source = vtr_picture_wrap(frame->pixels, frame->width, frame->height, frame->stride, frame->format);
	int count;
	const pixman_box32_t *boxes = pixman_region32_rectangles((pixman_region32_t *)region, &count);

	if (!source)
		return false;
	set_scale(copy, source, PIXMAN_REPEAT_PAD);
	for (int i = 0; i < count; i++)
		pixman_image_composite32(PIXMAN_OP_SRC, source, NULL, dumb->image, boxes[i].x1 - copy->place.x1,
		                         boxes[i].y1 - copy->place.y1, 0, 0, boxes[i].x1, boxes[i].y1, boxes[i].x2 - boxes[i].x1,
		                         boxes[i].y2 - boxes[i].y1);
	pixman_image_unref(source);
	return true;
}

/* box: what of the mode it covers. */
static bool draw_cursor(const struct kms_copy *copy, const struct kms_dumb *dumb, const struct vtr_cursor *cursor,
                        const pixman_box32_t *box)
{
	if (box->x1 >= box->x2 || box->y1 >= box->y2)
		return true;
	if (!is_scaled(copy))
		return vtr_picture_draw_cursor(dumb->image, cursor);
	pixman_image_t *image = pixman_image_create_bits_no_clear(PIXMAN_a8r8g8b8, VTR_CURSOR_SIZE, VTR_CURSOR_SIZE,
	                                                          (uint32_t *)cursor->image, VTR_CURSOR_SIZE * 4);
	int32_t x = copy->place.x1 + (int32_t)((int64_t)cursor->x * (copy->place.x2 - copy->place.x1) / copy->picture_width);
	int32_t y = copy->place.y1 + (int32_t)((int64_t)cursor->y * (copy->place.y2 - copy->place.y1) / copy->picture_height);

	if (!image)
		return false;
	set_scale(copy, image, PIXMAN_REPEAT_NONE);
	pixman_image_composite32(PIXMAN_OP_OVER, image, NULL, dumb->image, box->x1 - x, box->y1 - y, 0, 0, box->x1, box->y1,
	                         box->x2 - box->x1, box->y2 - box->y1);
	pixman_image_unref(image);
	return true;
}

static bool draw(struct kms_copy *copy, unsigned which, const struct vtr_frame *frame, const struct vtr_cursor *cursor)
{
	const struct kms_dumb *dumb = &copy->dumbs[which];
	pixman_box32_t box = cursor_box(copy, cursor);
	pixman_region32_t region;

	pixman_region32_init(&region);
	bool ok = find_changes(copy, which, &box, &region) && draw_picture(copy, dumb, &region, frame) &&
	          draw_cursor(copy, dumb, cursor, &box);
	pixman_region32_fini(&region);
	if (ok) {
		pixman_region32_clear(&copy->stale[which]);
		copy->cursor[which] = box;
	}
	return ok;
}

const struct kms_dumb *kms_copy_draw(struct kms_copy *copy, unsigned which, const struct vtr_frame *frame,
                                     const struct vtr_cursor *cursor, struct vtr_error *error)
{
	struct kms_dumb *dumb = &copy->dumbs[which];
	int result = ensure_dumb(copy, which);

	if (result) {
		vtr_error_set(error, VTR_ERROR_HOST, -result, "%s gives no buffer of %ux%u: %s", copy->card->path, copy->width,
		              copy->height, strerror(-result));
		return NULL;
	}
	if (!frame || copy->stained[which])
		clear(copy, which);
	if (frame && !draw(copy, which, frame, cursor)) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory to draw the picture");
		return NULL;
	}
	copy->used_ns = vtr_now_ns();
	return dumb;
}
