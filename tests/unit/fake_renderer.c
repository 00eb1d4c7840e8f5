/* SPDX-License-Identifier: MIT */
#include "fake_renderer.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <linux/virtio_gpu.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vitrine/buffer.h>

/* What it knows of a resource. */
struct fake_resource {
	const struct vtr_spans *backing; /* NULL: none */
	uint32_t width, height;
	uint64_t size; /* of a blob */
};

static struct fake_resource *find(const struct fake_renderer *fake, uint32_t id)
{
	return g_hash_table_lookup(fake->resources, GUINT_TO_POINTER(id));
}

static GHashTable *find_context(const struct fake_renderer *fake, uint32_t id)
{
	return g_hash_table_lookup(fake->contexts, GUINT_TO_POINTER(id));
}

/* ---- calls ---- */

static int ctx_create(struct fake_renderer *fake, struct vtr_render_call *call)
{
	g_assert_null(find_context(fake, call->args.ctx_id));
	g_assert_cmpuint(call->args.ctx_create.name_length, <, sizeof(call->args.ctx_create.name));
	g_hash_table_insert(fake->contexts, GUINT_TO_POINTER(call->args.ctx_id), g_hash_table_new(NULL, NULL));
	return 0;
}

static int ctx_destroy(struct fake_renderer *fake, struct vtr_render_call *call)
{
	return g_hash_table_remove(fake->contexts, GUINT_TO_POINTER(call->args.ctx_id)) ? 0 : -ENOENT;
}

static int ctx_attach(struct fake_renderer *fake, struct vtr_render_call *call)
{
	GHashTable *attached = find_context(fake, call->args.ctx_id);

	if (!attached || !find(fake, call->args.resource_id))
		return -ENOENT;
	g_hash_table_add(attached, GUINT_TO_POINTER(call->args.resource_id));
	return 0;
}

static int ctx_detach(struct fake_renderer *fake, struct vtr_render_call *call)
{
	GHashTable *attached = find_context(fake, call->args.ctx_id);

	return attached && g_hash_table_remove(attached, GUINT_TO_POINTER(call->args.resource_id)) ? 0 : -ENOENT;
}

static int submit(struct fake_renderer *fake, struct vtr_render_call *call)
{
	g_assert_cmpuint(call->size % 4, ==, 0);
	g_assert_nonnull(call->data);
	for (size_t i = 0; i < call->size; i++) /* it is there, all of it */
		(void)((const volatile uint8_t *)call->data)[i];
	return find_context(fake, call->args.ctx_id) ? 0 : -ENOENT;
}

static void check_lendable(const struct vtr_spans *spans)
{
	g_assert_true(spans && spans->count && spans->cpu);
	for (size_t i = 0; i < spans->count; i++)
		g_assert_true(spans->items[i].region->data && spans->items[i].region->writable);
}

static struct fake_resource *add(struct fake_renderer *fake, uint32_t id)
{
	struct fake_resource *resource = g_new0(struct fake_resource, 1);

	g_assert_null(find(fake, id));
	g_hash_table_insert(fake->resources, GUINT_TO_POINTER(id), resource);
	return resource;
}

static int create_3d(struct fake_renderer *fake, struct vtr_render_call *call)
{
	struct fake_resource *resource = add(fake, call->args.resource_id);

	resource->width = call->args.create_3d.width;
	resource->height = call->args.create_3d.height;
	return 0;
}

static int create_blob(struct fake_renderer *fake, struct vtr_render_call *call)
{
	const bool guest = call->args.create_blob.blob_mem != VIRTIO_GPU_BLOB_MEM_HOST3D;
	struct fake_resource *resource = add(fake, call->args.resource_id);

	g_assert_true(guest == (call->spans != NULL));
	resource->size = call->args.create_blob.size;
	if (!guest)
		return 0;
	check_lendable(call->spans);
	g_assert_cmpuint(call->spans->length, >=, resource->size);
	resource->backing = call->spans;
	return 0;
}

static int unref(struct fake_renderer *fake, struct vtr_render_call *call)
{
	GHashTableIter iter;
	gpointer attached;

	g_hash_table_iter_init(&iter, fake->contexts);
	while (g_hash_table_iter_next(&iter, NULL, &attached))
		g_hash_table_remove(attached, GUINT_TO_POINTER(call->args.resource_id));
	return g_hash_table_remove(fake->resources, GUINT_TO_POINTER(call->args.resource_id)) ? 0 : -ENOENT;
}

static int attach_backing(struct fake_renderer *fake, struct vtr_render_call *call)
{
	struct fake_resource *resource = find(fake, call->args.resource_id);

	if (!resource)
		return -ENOENT;
	g_assert_null(resource->backing);
	check_lendable(call->spans);
	resource->backing = call->spans;
	return 0;
}

static int detach_backing(struct fake_renderer *fake, struct vtr_render_call *call)
{
	struct fake_resource *resource = find(fake, call->args.resource_id);

	if (!resource)
		return -ENOENT;
	resource->backing = NULL; /* or it has none: whoever has to know that it is gone asks again */
	return 0;
}

/* Bytes of the transfer's box in the backing, all of it 32 bits a pixel. */
static int check_transfer(struct fake_renderer *fake, const struct vtr_render_call *call, struct fake_resource **resource)
{
	const struct vtr_render_box *box = &call->args.transfer.box;

	*resource = find(fake, call->args.resource_id);
	if (!*resource || (call->args.ctx_id && !find_context(fake, call->args.ctx_id)))
		return -ENOENT;
	g_assert_true(box->w && box->h && box->d);
	g_assert_nonnull((*resource)->backing);
	check_lendable((*resource)->backing);
	g_assert_cmpuint(call->args.transfer.offset, <, (*resource)->backing->length);
	return (uint64_t)box->x + box->w <= (*resource)->width && (uint64_t)box->y + box->h <= (*resource)->height ? 0 : -EINVAL;
}

static int transfer_to(struct fake_renderer *fake, struct vtr_render_call *call)
{
	struct fake_resource *resource;

	return check_transfer(fake, call, &resource);
}

static int transfer_from(struct fake_renderer *fake, struct vtr_render_call *call)
{
	const struct vtr_render_box *box = &call->args.transfer.box;
	const uint32_t stride = call->args.transfer.stride;
	struct fake_resource *resource;
	int code = check_transfer(fake, call, &resource);

	for (uint32_t y = 0; !code && y < box->h; y++)
		for (uint32_t x = 0; !code && x < box->w; x++)
			code = vtr_spans_write(resource->backing,
			                       call->args.transfer.offset + (uint64_t)y * (stride ? stride : resource->width * 4) +
			                               (uint64_t)x * 4,
			                       &fake->pixel, sizeof(fake->pixel));
	return code ? -EINVAL : 0;
}

static int fence(struct fake_renderer *fake, struct vtr_render_call *call)
{
	uint64_t id = call->args.fence.id;

	if (fake->hold_fences)
		g_array_append_val(fake->fences, id);
	else if (fake->base.listener)
		fake->base.listener->fence_done(fake->base.listener_data, id);
	return 0;
}

static int read_pixels(struct fake_renderer *fake, struct vtr_render_call *call)
{
	const struct vtr_image *image = call->image;
	const struct vtr_span *pixels = &image->pixels.items[0];
	const uint32_t x = call->args.read.x, y = call->args.read.y;

	if (!find(fake, call->args.resource_id))
		return -ENOENT;
	g_assert_true((uint64_t)x + call->args.read.width <= image->width && (uint64_t)y + call->args.read.height <= image->height);
	for (uint32_t row = y; row < y + call->args.read.height; row++)
		for (uint32_t column = x; column < x + call->args.read.width; column++)
			memcpy(pixels->region->data + pixels->offset + (uint64_t)row * image->stride + (uint64_t)column * 4,
			       &fake->pixel, sizeof(fake->pixel));
	return 0;
}

static void release_texture(void *data)
{
	atomic_fetch_sub(&((struct fake_renderer *)data)->textures_out, 1);
}

static int filled_file(uint64_t bytes, uint32_t pixel)
{
	int fd = memfd_create("exported", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, (off_t)bytes), ==, 0);
	for (uint64_t at = 0; at + sizeof(pixel) <= bytes; at += sizeof(pixel))
		g_assert_cmpint(pwrite(fd, &pixel, sizeof(pixel), (off_t)at), ==, sizeof(pixel));
	return fd;
}

static int export(struct fake_renderer *fake, struct vtr_render_call *call)
{
	const struct fake_resource *resource = find(fake, call->args.resource_id);
	const struct vtr_buffer_texture texture = { .egl_display = fake,
		                                    .egl_image = fake,
		                                    .width = resource ? resource->width : 0,
		                                    .height = resource ? resource->height : 0 };

	if (!resource)
		return -ENOENT;
	const struct vtr_buffer_layout plain = { .stride = resource->width * 4, .format = DRM_FORMAT_XRGB8888 },
				       *layout = fake->layout.stride ? &fake->layout : &plain;
	const uint64_t bytes = resource->size ? resource->size : layout->offset + (uint64_t)layout->stride * resource->height;
	int fd = fake->dmabufs ? filled_file(bytes, fake->pixel) : -1;
	if (!fake->dmabufs)
		vtr_error_set(&call->why, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the test's renderer makes no dmabufs");
	if (!fake->dmabufs && !fake->textures)
		return -EOPNOTSUPP;
	if (fake->textures) {
		atomic_fetch_add(&fake->textures_out, 1);
		call->exported = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, fd, release_texture, fake);
	} else {
		call->exported = vtr_buffer_create(VTR_PATH_VIRGL, fd, 0, bytes);
	}
	vtr_buffer_set_layout(call->exported, layout);
	return 0;
}

static int export_blob(struct fake_renderer *fake, struct vtr_render_call *call)
{
	const struct fake_resource *resource = find(fake, call->args.resource_id);

	if (!resource || !resource->size)
		return -ENOENT;
	call->mapped.fd = filled_file(resource->size, fake->pixel);
	call->mapped.offset = 0;
	call->mapped.size = resource->size;
	call->mapped.map_info = VIRTIO_GPU_MAP_CACHE_CACHED;
	return 0;
}

static int reset(struct fake_renderer *fake, struct vtr_render_call *call)
{
	g_hash_table_remove_all(fake->contexts);
	g_hash_table_remove_all(fake->resources);
	g_array_set_size(fake->fences, 0);
	return 0;
}

static int (*const operations[VTR_RENDER_OPS])(struct fake_renderer *fake, struct vtr_render_call *call) = {
	[VTR_RENDER_CTX_CREATE] = ctx_create,
	[VTR_RENDER_CTX_DESTROY] = ctx_destroy,
	[VTR_RENDER_CTX_ATTACH_RESOURCE] = ctx_attach,
	[VTR_RENDER_CTX_DETACH_RESOURCE] = ctx_detach,
	[VTR_RENDER_SUBMIT] = submit,
	[VTR_RENDER_CREATE_3D] = create_3d,
	[VTR_RENDER_CREATE_BLOB] = create_blob,
	[VTR_RENDER_UNREF] = unref,
	[VTR_RENDER_ATTACH_BACKING] = attach_backing,
	[VTR_RENDER_DETACH_BACKING] = detach_backing,
	[VTR_RENDER_TRANSFER_TO_HOST] = transfer_to,
	[VTR_RENDER_TRANSFER_FROM_HOST] = transfer_from,
	[VTR_RENDER_FENCE] = fence,
	[VTR_RENDER_READ] = read_pixels,
	[VTR_RENDER_EXPORT] = export,
	[VTR_RENDER_EXPORT_BLOB] = export_blob,
	[VTR_RENDER_RESET] = reset,
};

/* ---- the record ---- */

static uint32_t first_word(const struct fake_renderer *fake, const struct vtr_render_call *call)
{
	const struct fake_resource *resource = find(fake, call->args.resource_id);
	uint32_t word = 0;

	if (call->args.op == VTR_RENDER_SUBMIT)
		memcpy(&word, call->data, sizeof(word));
	else if (call->args.op == VTR_RENDER_TRANSFER_TO_HOST && resource && resource->backing)
		vtr_spans_read(resource->backing, call->args.transfer.offset, &word, sizeof(word));
	return word;
}

static int carry_out(struct fake_renderer *fake, struct vtr_render_call *call)
{
	struct fake_call record = {
		.args = call->args,
		.size = call->size,
		.word = first_word(fake, call),
		.spans_length = call->spans ? call->spans->length : 0,
	};
	const int failure = fake->fail[call->args.op];

	g_assert_cmpuint(call->args.op, <, VTR_RENDER_OPS);
	record.code = failure ? failure : operations[call->args.op](fake, call);
	g_array_append_val(fake->calls, record);
	return record.code;
}

static void finish(struct vtr_render_call *call, int code)
{
	call->code = code;
	call->done(call);
}

static void deliver(struct fake_renderer *fake)
{
	struct vtr_render_call *call;

	while ((call = g_queue_pop_head(fake->answered)))
		call->done(call);
}

static void deliver_event(void *data)
{
	deliver(data);
}

void fake_renderer_answer(struct fake_renderer *fake, unsigned n)
{
	deliver(fake);
	while (n--) {
		struct vtr_render_call *call = g_queue_pop_head(fake->waiting);

		g_assert_nonnull(call);
		finish(call, carry_out(fake, call));
	}
}

void fake_renderer_answer_all(struct fake_renderer *fake)
{
	deliver(fake);
	while (!g_queue_is_empty(fake->waiting))
		fake_renderer_answer(fake, 1);
}

void fake_renderer_pass_fence(struct fake_renderer *fake, unsigned index)
{
	g_assert_cmpuint(index, <, fake->fences->len);
	const uint64_t id = g_array_index(fake->fences, uint64_t, index);
	g_array_remove_index(fake->fences, index);
	fake->base.listener->fence_done(fake->base.listener_data, id);
}

/* Nothing of the guest's is left, and the listener knows. */
static void lose(struct fake_renderer *fake)
{
	struct vtr_error why;

	vtr_error_set(&why, VTR_ERROR_HOST, EPIPE, "the test ended it");
	reset(fake, NULL);
	if (fake->base.listener)
		fake->base.listener->lost(fake->base.listener_data, &why);
}

void fake_renderer_lose(struct fake_renderer *fake)
{
	struct vtr_render_call *call;

	deliver(fake);
	while ((call = g_queue_pop_head(fake->waiting)))
		finish(call, -ENODEV);
	lose(fake);
}

unsigned fake_renderer_count(const struct fake_renderer *fake, enum vtr_render_op op)
{
	unsigned count = 0;

	for (guint i = 0; i < fake->calls->len; i++)
		count += g_array_index(fake->calls, struct fake_call, i).args.op == op;
	return count;
}

unsigned fake_renderer_asked(const struct fake_renderer *fake, enum vtr_render_op op)
{
	unsigned count = fake_renderer_count(fake, op);

	for (const GList *each = fake->waiting->head; each; each = each->next)
		count += ((const struct vtr_render_call *)each->data)->args.op == op;
	return count;
}

const struct fake_call *fake_renderer_last(const struct fake_renderer *fake, enum vtr_render_op op)
{
	const struct fake_call *last = NULL;

	for (guint i = 0; i < fake->calls->len; i++)
		if (g_array_index(fake->calls, struct fake_call, i).args.op == op)
			last = &g_array_index(fake->calls, struct fake_call, i);
	g_assert_nonnull(last);
	return last;
}

void fake_renderer_clear(struct fake_renderer *fake)
{
	g_array_set_size(fake->calls, 0);
}

bool fake_renderer_has(const struct fake_renderer *fake, uint32_t resource_id)
{
	return find(fake, resource_id);
}

bool fake_renderer_is_lent(const struct fake_renderer *fake, uint32_t resource_id)
{
	const struct fake_resource *resource = find(fake, resource_id);

	return resource && resource->backing;
}

/* ---- the interface ---- */

static int fake_call(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct fake_renderer *fake = fake_renderer_from(renderer);
	const uint32_t kind = 1u << call->args.op;

	if (fake->lost_inside & kind) {
		fake->lost_inside &= ~kind;
		lose(fake);
		return 0;
	}
	if (!fake->later || fake->at_once & kind)
		return carry_out(fake, call);
	g_queue_push_tail(fake->waiting, call);
	return -EINPROGRESS;
}

static void fake_wait(struct vtr_renderer *renderer, struct vtr_render_call *call)
{
	struct fake_renderer *fake = fake_renderer_from(renderer);

	while (g_queue_find(fake->waiting, call)) {
		struct vtr_render_call *oldest = g_queue_pop_head(fake->waiting);

		oldest->code = carry_out(fake, oldest);
		g_queue_push_tail(fake->answered, oldest);
	}
	if (g_queue_remove(fake->answered, call))
		call->done(call);
	if (!g_queue_is_empty(fake->answered)) {
		g_assert_nonnull(fake->deliver);
		vtr_event_raise(fake->deliver);
	}
}

static void fake_fill_capset(struct vtr_renderer *renderer, uint32_t id, uint32_t version, void *data, uint32_t size)
{
	memset(data, (int)id, size);
}

static void fake_destroy(struct vtr_renderer *renderer)
{
	struct fake_renderer *fake = fake_renderer_from(renderer);

	g_assert_true(g_queue_is_empty(fake->waiting) && g_queue_is_empty(fake->answered));
	g_assert_cmpuint(atomic_load(&fake->textures_out), ==, 0);
	g_queue_free(fake->waiting);
	g_queue_free(fake->answered);
	g_array_unref(fake->calls);
	g_array_unref(fake->fences);
	g_hash_table_unref(fake->contexts);
	g_hash_table_unref(fake->resources);
	g_free(fake);
}

static const struct vtr_renderer_impl fake_impl = {
	.call = fake_call,
	.wait = fake_wait,
	.fill_capset = fake_fill_capset,
	.destroy = fake_destroy,
};

struct fake_renderer *fake_renderer_create(void)
{
	struct fake_renderer *fake = g_new0(struct fake_renderer, 1);

	fake->base = (struct vtr_renderer){
		.impl = &fake_impl,
		.capsets = { { .id = 1, .max_version = 1, .max_size = 308 }, { .id = 2, .max_version = 2, .max_size = 1024 } },
		.n_capsets = 2,
		.maps_blobs = true,
		.egl_display = fake,
		.description = "the test's renderer",
	};
	fake->calls = g_array_new(FALSE, FALSE, sizeof(struct fake_call));
	fake->fences = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	fake->waiting = g_queue_new();
	fake->answered = g_queue_new();
	fake->contexts = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_hash_table_unref);
	fake->resources = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	return fake;
}

void fake_renderer_use_loop(struct fake_renderer *fake, struct vtr_loop *loop)
{
	fake->deliver = vtr_loop_add_event(loop, deliver_event, fake);
	g_assert_nonnull(fake->deliver);
}
