/* SPDX-License-Identifier: MIT */
/*
 * Shaders that come in parts. A shader's text may be longer than what is left of a stream; then CREATE_OBJECT says how long it is
 * in all, and more of them bring the rest, in later streams if need be. virglrenderer knows which are not complete yet, but lets
 * them be bound, and does not survive drawing with one. So they are known here as well, and what would bind or link one is refused.
 *
 * Handles belong to sub-contexts, and are looked up here for the context as a whole: while a shader is not complete, one of the
 * same handle in another sub-context cannot be bound. Guests number the objects of a context through.
 */
#include <errno.h>

#include "render/virgl.h"

enum {
	/* the words of CREATE_OBJECT for a shader: handle, type, length of the text in bytes, tokens, outputs to be streamed out */
	WORD_HANDLE = 0,
	WORD_TYPE = 1,
	WORD_LENGTH = 2,
	WORD_OUTPUTS = 4,
	WORD_TEXT = 5, /* behind 4 words and 2 for each output, if there is one */

	TYPE_COMPUTE = 5, /* has no outputs: the word is something else there */
	MAX_OUTPUTS = 64,
};

#define CONTINUES (UINT32_C(1) << 31) /* in the length, whose other bits are how much came before */

static struct vtr_virgl_part *find(struct vtr_virgl_shaders *shaders, uint32_t handle)
{
	for (unsigned i = 0; i < shaders->count; i++)
		if (shaders->items[i].handle == handle)
			return &shaders->items[i];
	return NULL;
}

static void forget(struct vtr_virgl_shaders *shaders, struct vtr_virgl_part *part)
{
	*part = shaders->items[--shaders->count];
}

/* At which word the text begins; 0: there is none. */
static uint32_t text_of(const uint32_t *words, uint32_t length)
{
	if (length < WORD_TEXT)
		return 0;
	uint32_t outputs = words[WORD_TYPE] == TYPE_COMPUTE ? 0 : words[WORD_OUTPUTS];
	uint32_t text = WORD_TEXT + (outputs ? 4 + 2 * outputs : 0);

	return outputs <= MAX_OUTPUTS && text <= length ? text : 0;
}

static int begin(struct vtr_virgl_shaders *shaders, uint32_t handle, uint32_t total, uint32_t came)
{
	struct vtr_virgl_part *part = find(shaders, handle);

	if (part)
		forget(shaders, part); /* another object has its handle now */
	if (total <= came)
		return 0;
	if (shaders->count == VTR_VIRGL_PARTS || total > VTR_MAX_SUBMIT / 4)
		return -ENOMEM;
	shaders->items[shaders->count++] = (struct vtr_virgl_part){ .handle = handle, .total = total, .came = came };
	return 0;
}

static int go_on(struct vtr_virgl_shaders *shaders, uint32_t handle, uint32_t before, uint32_t more)
{
	struct vtr_virgl_part *part = find(shaders, handle);

	if (!part || before != part->came * 4 || more > part->total - part->came)
		return -EINVAL;
	part->came += more;
	if (part->came == part->total)
		forget(shaders, part);
	return 0;
}

int vtr_virgl_shader_create(struct vtr_virgl_shaders *shaders, const uint32_t *words, uint32_t length)
{
	uint32_t text = text_of(words, length);

	if (!text)
		return -EINVAL;
	if (words[WORD_LENGTH] & CONTINUES)
		return go_on(shaders, words[WORD_HANDLE], words[WORD_LENGTH] & ~CONTINUES, length - text);
	return begin(shaders, words[WORD_HANDLE], (words[WORD_LENGTH] + 3) / 4, length - text);
}

bool vtr_virgl_shaders_complete(struct vtr_virgl_shaders *shaders, const uint32_t *handles, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		if (find(shaders, handles[i]))
			return false;
	return true;
}
