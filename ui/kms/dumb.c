/* SPDX-License-Identifier: MIT */
#include "dumb.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static int map(struct kms_dumb *dumb, const struct kms_card *card, uint32_t pitch, bool cursor)
{
	uint64_t offset;

	if (drmModeMapDumbBuffer(card->fd, dumb->handle, &offset))
		return -errno;
	void *data = mmap(NULL, dumb->size, PROT_READ | PROT_WRITE, MAP_SHARED, card->fd, (off_t)offset);
	if (data == MAP_FAILED)
		return -errno;
	dumb->data = data;
	memset(data, 0, dumb->size);
	dumb->image = pixman_image_create_bits_no_clear(cursor ? PIXMAN_a8r8g8b8 : PIXMAN_x8r8g8b8, (int)dumb->width,
	                                                (int)dumb->height, data, (int)pitch);
	return dumb->image ? 0 : -ENOMEM;
}

int kms_dumb_create(struct kms_dumb *dumb, const struct kms_card *card, uint32_t width, uint32_t height, bool cursor)
{
	uint32_t handles[4] = { 0 }, strides[4] = { 0 }, offsets[4] = { 0 };

	*dumb = (struct kms_dumb){ .width = width, .height = height };
	if (drmModeCreateDumbBuffer(card->fd, width, height, 32, 0, &dumb->handle, &strides[0], &dumb->size)) {
		dumb->handle = 0;
		return -errno;
	}
	handles[0] = dumb->handle;
	int result = map(dumb, card, strides[0], cursor);
	if (!result && !cursor &&
	    drmModeAddFB2(card->fd, width, height, DRM_FORMAT_XRGB8888, handles, strides, offsets, &dumb->fb, 0))
		result = -errno;
	if (result)
		kms_dumb_destroy(dumb, card);
	return result;
}

void kms_dumb_destroy(struct kms_dumb *dumb, const struct kms_card *card)
{
	if (dumb->image)
		pixman_image_unref(dumb->image);
	if (dumb->fb)
		drmModeRmFB(card->fd, dumb->fb);
	if (dumb->data)
		munmap(dumb->data, dumb->size);
	if (dumb->handle)
		drmModeDestroyDumbBuffer(card->fd, dumb->handle);
	*dumb = (struct kms_dumb){ 0 };
}
