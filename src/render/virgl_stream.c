/* SPDX-License-Identifier: MIT */
/*
 * What is looked at in a command stream before virglrenderer gets it. A command is a header word, which says what it is and how
 * many words follow, and those words. What they mean is virglrenderer's to check; refused here is what it is known not to survive:
 *
 * - a last command that is cut off;
 * - transfers whose sizes do not fit 32 bits, in which it reckons, so that a small result passes its checks and memory behind the
 *   guest's is used;
 * - more GL contexts than can be made: the commands that make them (sub-contexts) are counted.
 */
#include <errno.h>

#include "render/virgl.h"

enum {
	CCMD_RESOURCE_INLINE_WRITE = 9,
	CCMD_CREATE_SUB_CTX = 29,
	CCMD_DESTROY_SUB_CTX = 30,
	CCMD_TRANSFER3D = 43,
	CCMD_COPY_TRANSFER3D = 45,

	/* the words of a transfer after its header: resource, level, usage, strides, box, and then other things for each */
	WORD_STRIDE = 3,
	WORD_LAYER_STRIDE = 4,
	WORD_BOX = 5,
	WORD_AFTER_BOX = 11,
};

static bool end_fits(uint32_t at, uint32_t length)
{
	return (uint64_t)at + length <= INT32_MAX;
}

bool vtr_virgl_transfer_fits(const struct vtr_render_box *box, uint64_t offset, uint32_t stride, uint32_t layer_stride)
{
	return end_fits(box->x, box->w) && end_fits(box->y, box->h) && end_fits(box->z, box->d) && offset <= INT32_MAX &&
	       (uint64_t)stride * box->h <= INT32_MAX && (uint64_t)layer_stride * box->d <= INT32_MAX &&
	       offset + (uint64_t)stride * box->h + (uint64_t)layer_stride * box->d <= INT32_MAX;
}

/* Its words, and at which of them the offset is; 0: it has none. */
static bool transfer_fits(const uint32_t *words, uint32_t length, uint32_t offset_word)
{
	const uint32_t *box = &words[WORD_BOX];

	if (length < WORD_AFTER_BOX || length <= offset_word)
		return false;
	return vtr_virgl_transfer_fits(&(struct vtr_render_box){ box[0], box[1], box[2], box[3], box[4], box[5] },
	                               offset_word ? words[offset_word] : 0, words[WORD_STRIDE], words[WORD_LAYER_STRIDE]);
}

static bool check_command(uint32_t command, const uint32_t *words, uint32_t length, struct vtr_virgl_stream *stream)
{
	switch (command) {
	case CCMD_CREATE_SUB_CTX:
		stream->creates++;
		return true;
	case CCMD_DESTROY_SUB_CTX:
		stream->destroys++;
		return true;
	case CCMD_RESOURCE_INLINE_WRITE:
		return transfer_fits(words, length, 0);
	case CCMD_TRANSFER3D:
		return transfer_fits(words, length, WORD_AFTER_BOX);
	case CCMD_COPY_TRANSFER3D:
		return transfer_fits(words, length, WORD_AFTER_BOX + 1);
	default:
		return true;
	}
}

int vtr_virgl_stream_check(const uint32_t *words, size_t count, struct vtr_virgl_stream *stream)
{
	size_t at = 0;

	*stream = (struct vtr_virgl_stream){ 0 };
	while (at < count) {
		uint32_t command = words[at] & 0xff, length = words[at] >> 16;

		at++;
		if (length > count - at || !check_command(command, &words[at], length, stream))
			return -EINVAL;
		at += length;
	}
	return 0;
}
