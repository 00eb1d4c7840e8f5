/* SPDX-License-Identifier: MIT */
/*
 * What is looked at in a command stream before virglrenderer gets it. A command is a header word, which says what it is and how
 * many words follow, and those words. What they mean is virglrenderer's to check; refused here is what it is known not to survive:
 *
 * - a last command that is cut off;
 * - transfers whose sizes do not fit 32 bits, in which it reckons, so that a small result passes its checks and memory behind the
 *   guest's is used;
 * - formats that its tables do not have, where it does not look;
 * - questions whose answer goes to a resource without guest memory, or with too little;
 * - shaders that are not complete (virgl_shader.c);
 * - more GL contexts than can be made: the commands that make them (sub-contexts) are counted;
 * - textures for blobs without end: what is made and not yet a blob is counted, and checked as RESOURCE_CREATE_3D is.
 */
#include <errno.h>

#include "render/virgl.h"

enum {
	CCMD_CREATE_OBJECT = 1,
	CCMD_RESOURCE_INLINE_WRITE = 9,
	CCMD_CREATE_SUB_CTX = 29,
	CCMD_DESTROY_SUB_CTX = 30,
	CCMD_BIND_SHADER = 31,
	CCMD_SET_SHADER_IMAGES = 35,
	CCMD_TRANSFER3D = 43,
	CCMD_COPY_TRANSFER3D = 45,
	CCMD_PIPE_RESOURCE_CREATE = 48,
	CCMD_GET_MEMORY_INFO = 50,
	CCMD_LINK_SHADER = 52,

	OBJECT_SHADER = 4,

	MEMORY_INFO_SIZE = 64, // more than what GET_MEMORY_INFO writes

	/* the words of a transfer after its header: resource, level, usage, strides, box, and then other things for each */
	WORD_STRIDE = 3,
	WORD_LAYER_STRIDE = 4,
	WORD_BOX = 5,
	WORD_AFTER_BOX = 11,

	/* of SET_SHADER_IMAGES, after the shader and the first slot: for each image its format, access, layers, level, resource */
	WORD_IMAGES = 2,
	IMAGE_WORDS = 5,

	/* of PIPE_RESOURCE_CREATE: what RESOURCE_CREATE_3D has, with flags of its own, and the blob */
	MAKE_WORDS = 11,
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

/* Where virglrenderer writes without looking. */
static bool has_room(struct vtr_virgl *virgl, uint32_t resource_id)
{
	const struct vtr_virgl_resource *resource = vtr_virgl_resource(virgl, resource_id);

	return resource && resource->backing && resource->backing[0].iov_len >= MEMORY_INFO_SIZE;
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

static bool image_formats_fit(const uint32_t *words, uint32_t length)
{
	for (uint32_t at = WORD_IMAGES; at < length; at += IMAGE_WORDS)
		if (words[at] >= VTR_VIRGL_FORMATS)
			return false;
	return true;
}

static int make(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const uint32_t *words, uint32_t length)
{
	struct vtr_render_args args = { .op = VTR_RENDER_CREATE_3D };

	if (length < MAKE_WORDS)
		return -EINVAL;
	args.create_3d.target = words[0];
	args.create_3d.format = words[1];
	args.create_3d.bind = words[2];
	args.create_3d.width = words[3];
	args.create_3d.height = words[4];
	args.create_3d.depth = words[5];
	args.create_3d.array_size = words[6];
	args.create_3d.last_level = words[7];
	args.create_3d.nr_samples = words[8];
	return vtr_virgl_make(virgl, context, &args, words[10]);
}

static int check_command(struct vtr_virgl *virgl, struct vtr_virgl_context *context, uint32_t command, const uint32_t *words,
                         uint32_t length, struct vtr_virgl_stream *stream)
{
	bool fits = true;

	switch (command) {
	case CCMD_CREATE_OBJECT: /* of which kind is in the header */
		return (words[-1] >> 8 & 0xff) == OBJECT_SHADER ? vtr_virgl_shader_create(&stream->shaders, words, length) : 0;
	case CCMD_BIND_SHADER:
		fits = vtr_virgl_shaders_complete(&stream->shaders, words, length ? 1 : 0);
		break;
	case CCMD_LINK_SHADER:
		fits = vtr_virgl_shaders_complete(&stream->shaders, words, length);
		break;
	case CCMD_CREATE_SUB_CTX:
		stream->creates++;
		break;
	case CCMD_DESTROY_SUB_CTX:
		stream->destroys++;
		break;
	case CCMD_RESOURCE_INLINE_WRITE:
		fits = transfer_fits(words, length, 0);
		break;
	case CCMD_TRANSFER3D:
		fits = transfer_fits(words, length, WORD_AFTER_BOX);
		break;
	case CCMD_COPY_TRANSFER3D:
		fits = transfer_fits(words, length, WORD_AFTER_BOX + 1);
		break;
	case CCMD_SET_SHADER_IMAGES:
		fits = image_formats_fit(words, length);
		break;
	case CCMD_GET_MEMORY_INFO:
		fits = length >= 1 && has_room(virgl, words[0]);
		break;
	case CCMD_PIPE_RESOURCE_CREATE:
		return make(virgl, context, words, length);
	}
	return fits ? 0 : -EINVAL;
}

int vtr_virgl_stream_check(struct vtr_virgl *virgl, struct vtr_virgl_context *context, const uint32_t *words, size_t count,
                           struct vtr_virgl_stream *stream)
{
	size_t at = 0;

	*stream = (struct vtr_virgl_stream){ .shaders = context->shaders };
	while (at < count) {
		uint32_t command = words[at] & 0xff, length = words[at] >> 16;
		int code;

		at++;
		code = length <= count - at ? check_command(virgl, context, command, &words[at], length, stream) : -EINVAL;
		if (code < 0)
			return code;
		at += length;
	}
	return 0;
}
