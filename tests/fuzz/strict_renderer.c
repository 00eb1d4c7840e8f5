/* SPDX-License-Identifier: MIT */
#include "strict_renderer.h"

#include <drm_fourcc.h>
#include <errno.h>
#include <glib.h>
#include <linux/virtio_gpu.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CAPSET_SIZE = 308 };

struct piece {
	const struct vtr_region *region;
	const uint8_t *data;
	uint64_t length;
};

struct resource {
	uint32_t id;
	uint32_t width, height;
	bool blob;
	GArray *backing; /* of struct piece; NULL: none */
};

struct strict_renderer {
	struct vtr_renderer base;
	bool later, exports;
	int fail;
	GHashTable *contexts;  /* id -> a set of ids of resources */
	GHashTable *resources; /* id -> struct resource */
	GHashTable *gone;      /* "context 5", "resource 7": what was lost, or not made; its owner may not know yet */
	GArray *fences;        /* uint64_t */
	uint64_t last_fence;
	struct vtr_render_call *first, **last; /* in progress */
};

static struct strict_renderer *strict_from(struct vtr_renderer *renderer)
{
	return (struct strict_renderer *)renderer;
}

/* ---- what is borrowed ---- */

/* So that a sanitizer sees memory that is not there. */
static void touch(const void *data, size_t size)
{
	const volatile uint8_t *bytes = data;

	for (size_t i = 0; i < size; i += 512)
		(void)bytes[i];
	if (size)
		(void)bytes[size - 1];
}

static void free_resource(void *data)
{
	struct resource *resource = data;

	if (resource->backing)
		g_array_free(resource->backing, TRUE);
	g_free(resource);
}

static void keep_backing(struct resource *resource, const struct vtr_spans *spans)
{
	g_assert_true(spans->cpu && !resource->backing);
	resource->backing = g_array_new(FALSE, FALSE, sizeof(struct piece));
	for (size_t i = 0; i < spans->count; i++) {
		const struct vtr_span *span = &spans->items[i];
		struct piece piece = { span->region, span->region->data + span->offset, span->length };

		g_assert_nonnull(span->region->data);
		g_assert_cmpuint(span->offset + span->length, <=, span->region->size);
		g_array_append_val(resource->backing, piece);
	}
}

static void drop_backing(struct resource *resource)
{
	if (resource->backing)
		g_array_free(resource->backing, TRUE);
	resource->backing = NULL;
}

static void touch_backing(const struct resource *resource)
{
	for (guint i = 0; resource->backing && i < resource->backing->len; i++) {
		const struct piece *piece = &g_array_index(resource->backing, struct piece, i);

		g_assert_true(piece->region->mapped);
		if (piece->region->kind == VTR_REGION_RAM)
			touch(piece->data, 1);
	}
}

static void touch_backings(const struct strict_renderer *strict)
{
	GHashTableIter iter;
	gpointer resource;

	g_hash_table_iter_init(&iter, strict->resources);
	while (g_hash_table_iter_next(&iter, NULL, &resource))
		touch_backing(resource);
}

/* ---- what is known ---- */

static bool was_lost(const struct strict_renderer *strict, const char *what, uint32_t id)
{
	g_autofree char *name = g_strdup_printf("%s %u", what, id);

	return g_hash_table_contains(strict->gone, name);
}

static void add_gone(struct strict_renderer *strict, const char *what, uint32_t id)
{
	g_hash_table_add(strict->gone, g_strdup_printf("%s %u", what, id));
}

/* A call that came to nothing. */
static void not_made(struct strict_renderer *strict, const struct vtr_render_args *args)
{
	if (args->op == VTR_RENDER_CTX_CREATE)
		add_gone(strict, "context", args->ctx_id);
	if (args->op == VTR_RENDER_CREATE_3D || args->op == VTR_RENDER_CREATE_BLOB)
		add_gone(strict, "resource", args->resource_id);
}

static void lose(struct strict_renderer *strict, const char *what, GHashTable *ids)
{
	GHashTableIter iter;
	gpointer id;

	g_hash_table_iter_init(&iter, ids);
	while (g_hash_table_iter_next(&iter, &id, NULL))
		add_gone(strict, what, GPOINTER_TO_UINT(id));
	g_hash_table_remove_all(ids);
}

/* NULL for one that was lost; any other must be there. */
static GHashTable *find_context(const struct strict_renderer *strict, uint32_t id)
{
	GHashTable *context = g_hash_table_lookup(strict->contexts, GUINT_TO_POINTER(id));

	g_assert_true(context || was_lost(strict, "context", id));
	return context;
}

static struct resource *find_resource(const struct strict_renderer *strict, uint32_t id)
{
	struct resource *resource = g_hash_table_lookup(strict->resources, GUINT_TO_POINTER(id));

	g_assert_true(resource || was_lost(strict, "resource", id));
	return resource;
}

static struct resource *add_resource(struct strict_renderer *strict, uint32_t id)
{
	struct resource *resource = g_new0(struct resource, 1);

	resource->id = id;
	g_assert_true(g_hash_table_insert(strict->resources, GUINT_TO_POINTER(id), resource));
	return resource;
}

/* ---- what the caller has to have seen to, all earlier calls done; -errno is what a renderer finds ---- */

static bool has_capset(const struct strict_renderer *strict, uint32_t id)
{
	for (uint32_t i = 0; i < strict->base.n_capsets; i++)
		if (strict->base.capsets[i].id == id)
			return true;
	return id == 0;
}

static int check_context_create(const struct strict_renderer *strict, const struct vtr_render_args *args)
{
	g_assert_cmpuint(args->ctx_id, !=, 0);
	g_assert_false(g_hash_table_contains(strict->contexts, GUINT_TO_POINTER(args->ctx_id)));
	g_assert_cmpuint(g_hash_table_size(strict->contexts), <, VTR_MAX_CONTEXTS);
	g_assert_cmpuint(args->ctx_create.name_length, <=, sizeof(args->ctx_create.name));
	return has_capset(strict, args->ctx_create.capset_id) ? 0 : -EINVAL;
}

static int check_submit(const struct strict_renderer *strict, const struct vtr_render_call *call)
{
	g_assert_cmpuint(call->size % 4, ==, 0);
	g_assert_cmpuint(call->size, <=, VTR_MAX_SUBMIT);
	g_assert_cmpuint((uintptr_t)call->data % 4, ==, 0);
	touch(call->data, call->size);
	return find_context(strict, call->args.ctx_id) ? 0 : -ENOENT;
}

static int check_create(const struct strict_renderer *strict, const struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;

	g_assert_cmpuint(args->resource_id, !=, 0);
	g_assert_false(g_hash_table_contains(strict->resources, GUINT_TO_POINTER(args->resource_id)));
	g_assert_cmpuint(g_hash_table_size(strict->resources), <, VTR_MAX_RESOURCES);
	if (args->op == VTR_RENDER_CREATE_BLOB)
		g_assert_cmpuint(args->create_blob.size, !=, 0);
	return args->op == VTR_RENDER_CREATE_3D && args->create_3d.format == 0 ? -EINVAL : 0;
}

static int check_transfer(const struct strict_renderer *strict, const struct vtr_render_call *call)
{
	const struct resource *resource = find_resource(strict, call->args.resource_id);
	const struct vtr_render_box *box = &call->args.transfer.box;

	g_assert_true(box->w && box->h && box->d);
	if (!resource)
		return -ENOENT;
	g_assert_true(call->args.ctx_id == 0 || find_context(strict, call->args.ctx_id) != NULL);
	touch_backing(resource);
	return resource->backing ? 0 : -EINVAL;
}

static int check_read(const struct strict_renderer *strict, const struct vtr_render_call *call)
{
	const struct vtr_image *image = call->image;

	g_assert_nonnull(image);
	g_assert_cmpuint(call->args.read.width, >, 0);
	g_assert_cmpuint(call->args.read.height, >, 0);
	g_assert_cmpuint(call->args.read.width, <=, image->width);
	g_assert_cmpuint(call->args.read.x, <=, image->width - call->args.read.width);
	g_assert_cmpuint(call->args.read.height, <=, image->height);
	g_assert_cmpuint(call->args.read.y, <=, image->height - call->args.read.height);
	return find_resource(strict, call->args.resource_id) ? 0 : -ENOENT;
}

static int check_fence(struct strict_renderer *strict, const struct vtr_render_args *args)
{
	g_assert_cmpuint(args->fence.id, >, strict->last_fence);
	strict->last_fence = args->fence.id;
	if (args->fence.has_ring)
		g_assert_cmpuint(args->fence.ring_idx, <, 64);
	return args->ctx_id == 0 || find_context(strict, args->ctx_id) ? 0 : -ENOENT;
}

static int check(struct strict_renderer *strict, const struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;

	switch ((enum vtr_render_op)args->op) {
	case VTR_RENDER_CTX_CREATE:
		return check_context_create(strict, args);
	case VTR_RENDER_CTX_DESTROY:
		return find_context(strict, args->ctx_id) ? 0 : -ENOENT;
	case VTR_RENDER_CTX_ATTACH_RESOURCE:
	case VTR_RENDER_CTX_DETACH_RESOURCE:
		return find_context(strict, args->ctx_id) && find_resource(strict, args->resource_id) ? 0 : -ENOENT;
	case VTR_RENDER_SUBMIT:
		return check_submit(strict, call);
	case VTR_RENDER_CREATE_3D:
	case VTR_RENDER_CREATE_BLOB:
		return check_create(strict, call);
	case VTR_RENDER_UNREF:
	case VTR_RENDER_DETACH_BACKING:
	case VTR_RENDER_EXPORT_BLOB:
		return find_resource(strict, args->resource_id) ? 0 : -ENOENT;
	case VTR_RENDER_EXPORT:
		return find_resource(strict, args->resource_id) && strict->exports ? 0 : -EOPNOTSUPP;
	case VTR_RENDER_ATTACH_BACKING:
		g_assert_true(call->spans && call->spans->cpu);
		return find_resource(strict, args->resource_id) ? 0 : -ENOENT;
	case VTR_RENDER_TRANSFER_TO_HOST:
	case VTR_RENDER_TRANSFER_FROM_HOST:
		return check_transfer(strict, call);
	case VTR_RENDER_FENCE:
		return check_fence(strict, args);
	case VTR_RENDER_READ:
		return check_read(strict, call);
	case VTR_RENDER_RESET:
		return 0;
	case VTR_RENDER_OPS:
		break;
	}
	g_assert_not_reached();
}

/* ---- and when they are done ---- */

static void fill(const struct vtr_render_call *call)
{
	struct vtr_image *image = call->image;
	static const uint8_t pixels[64];
	uint64_t row = (uint64_t)call->args.read.y * image->stride + (uint64_t)call->args.read.x * 4;

	vtr_spans_write(&image->pixels, row, pixels, MIN(sizeof(pixels), (size_t)call->args.read.width * 4));
	row += (uint64_t)(call->args.read.height - 1) * image->stride;
	vtr_spans_write(&image->pixels, row, pixels, MIN(sizeof(pixels), (size_t)call->args.read.width * 4));
}

static void released(void *data)
{
}

static int export(struct vtr_render_call *call, const struct resource *resource)
{
	struct vtr_buffer_layout layout = { .stride = resource->width * 4, .format = DRM_FORMAT_ABGR8888 };
	struct vtr_buffer_texture texture = { .width = resource->width, .height = resource->height };
	int fd = memfd_create("drawn", MFD_CLOEXEC);

	g_assert_cmpint(ftruncate(fd, (off_t)layout.stride * resource->height), ==, 0);
	call->exported = vtr_buffer_create_texture(VTR_PATH_VIRGL, &texture, fd, released, NULL);
	vtr_buffer_set_layout(call->exported, &layout);
	return 0;
}

static int export_blob(struct vtr_render_call *call, const struct resource *resource)
{
	if (!resource->blob)
		return -EINVAL;
	call->mapped.fd = memfd_create("blob", MFD_CLOEXEC);
	call->mapped.offset = 0;
	call->mapped.size = 16384;
	call->mapped.map_info = VIRTIO_GPU_MAP_CACHE_CACHED;
	g_assert_cmpint(ftruncate(call->mapped.fd, 16384), ==, 0);
	return 0;
}

static void forget_in_contexts(struct strict_renderer *strict, uint32_t resource_id)
{
	GHashTableIter iter;
	gpointer context;

	g_hash_table_iter_init(&iter, strict->contexts);
	while (g_hash_table_iter_next(&iter, NULL, &context))
		g_hash_table_remove(context, GUINT_TO_POINTER(resource_id));
}

static void reset(struct strict_renderer *strict)
{
	g_hash_table_remove_all(strict->contexts);
	g_hash_table_remove_all(strict->resources);
	g_hash_table_remove_all(strict->gone);
	g_array_set_size(strict->fences, 0);
}

static int carry_out(struct strict_renderer *strict, struct vtr_render_call *call)
{
	const struct vtr_render_args *args = &call->args;
	gpointer ctx_key = GUINT_TO_POINTER(args->ctx_id), key = GUINT_TO_POINTER(args->resource_id);
	struct resource *resource = g_hash_table_lookup(strict->resources, key);

	touch_backings(strict);
	switch ((enum vtr_render_op)args->op) {
	case VTR_RENDER_CTX_CREATE:
		g_hash_table_insert(strict->contexts, ctx_key, g_hash_table_new(NULL, NULL));
		return 0;
	case VTR_RENDER_CTX_DESTROY:
		g_hash_table_remove(strict->contexts, ctx_key);
		return 0;
	case VTR_RENDER_CTX_ATTACH_RESOURCE:
		g_hash_table_add(g_hash_table_lookup(strict->contexts, ctx_key), key);
		return 0;
	case VTR_RENDER_CTX_DETACH_RESOURCE:
		g_hash_table_remove(g_hash_table_lookup(strict->contexts, ctx_key), key);
		return 0;
	case VTR_RENDER_CREATE_3D:
		resource = add_resource(strict, args->resource_id);
		resource->width = args->create_3d.width;
		resource->height = args->create_3d.height;
		return 0;
	case VTR_RENDER_CREATE_BLOB:
		resource = add_resource(strict, args->resource_id);
		resource->blob = true;
		if (call->spans)
			keep_backing(resource, call->spans);
		return 0;
	case VTR_RENDER_UNREF:
		forget_in_contexts(strict, args->resource_id);
		g_hash_table_remove(strict->resources, key);
		return 0;
	case VTR_RENDER_ATTACH_BACKING:
		keep_backing(resource, call->spans);
		return 0;
	case VTR_RENDER_DETACH_BACKING:
		drop_backing(resource);
		return 0;
	case VTR_RENDER_FENCE:
		g_array_append_val(strict->fences, args->fence.id);
		return 0;
	case VTR_RENDER_READ:
		fill(call);
		return 0;
	case VTR_RENDER_EXPORT:
		return resource->blob ? -EOPNOTSUPP : export(call, resource);
	case VTR_RENDER_EXPORT_BLOB:
		return export_blob(call, resource);
	case VTR_RENDER_RESET:
		reset(strict);
		return 0;
	case VTR_RENDER_SUBMIT:
		touch(call->data, call->size);
		return 0;
	case VTR_RENDER_TRANSFER_TO_HOST:
	case VTR_RENDER_TRANSFER_FROM_HOST:
	case VTR_RENDER_OPS:
		return 0;
	}
	g_assert_not_reached();
}

/* What must not fail for any reason of the renderer's: nothing could be done about it. */
static bool may_fail(uint32_t op)
{
	return op != VTR_RENDER_CTX_DESTROY && op != VTR_RENDER_UNREF && op != VTR_RENDER_DETACH_BACKING &&
	       op != VTR_RENDER_RESET && op != VTR_RENDER_CTX_DETACH_RESOURCE;
}

/* ---- how it answers ---- */

static int finish(struct strict_renderer *strict, struct vtr_render_call *call)
{
	int error = check(strict, call);

	if (!error && may_fail(call->args.op) && strict->fail) {
		error = strict->fail;
		strict->fail = 0;
	}
	if (!error)
		error = carry_out(strict, call);
	if (error)
		not_made(strict, &call->args);
	return error;
}

static void let_fences_go(struct strict_renderer *strict)
{
	while (strict->fences->len) {
		uint64_t id = g_array_index(strict->fences, uint64_t, 0);

		g_array_remove_index(strict->fences, 0);
		if (strict->base.listener)
			strict->base.listener->fence_done(strict->base.listener_data, id);
	}
}

static struct vtr_render_call *pop(struct strict_renderer *strict)
{
	struct vtr_render_call *call = strict->first;

	strict->first = call->next;
	if (!strict->first)
		strict->last = &strict->first;
	return call;
}

static void answer_one(struct strict_renderer *strict)
{
	struct vtr_render_call *call = pop(strict);

	call->code = finish(strict, call);
	call->done(call);
}

static int call(struct vtr_renderer *base, struct vtr_render_call *call)
{
	struct strict_renderer *strict = strict_from(base);

	g_assert_cmpuint(call->args.op, <, VTR_RENDER_OPS);
	if (strict->later || strict->first) {
		g_assert_nonnull(call->done);
		call->next = NULL;
		*strict->last = call;
		strict->last = &call->next;
		return -EINPROGRESS;
	}
	int error = finish(strict, call);
	let_fences_go(strict);
	return error;
}

static void wait_for(struct vtr_renderer *base, struct vtr_render_call *call)
{
	struct strict_renderer *strict = strict_from(base);
	const struct vtr_render_call *last;

	do {
		g_assert_nonnull(strict->first);
		last = strict->first;
		answer_one(strict);
	} while (last != call);
}

static void fill_capset(struct vtr_renderer *base, uint32_t id, uint32_t version, void *data, uint32_t size)
{
	g_assert_true(id && has_capset(strict_from(base), id));
	g_assert_cmpuint(size, <=, CAPSET_SIZE);
	for (uint32_t i = 0; i < size; i++)
		g_assert_cmpuint(((const uint8_t *)data)[i], ==, 0);
	memset(data, (int)id, size);
}

static void destroy(struct vtr_renderer *base)
{
	struct strict_renderer *strict = strict_from(base);

	g_assert_null(strict->first);
	g_hash_table_destroy(strict->contexts);
	g_hash_table_destroy(strict->resources);
	g_hash_table_destroy(strict->gone);
	g_array_free(strict->fences, TRUE);
	g_free(strict);
}

static const struct vtr_renderer_impl impl = {
	.call = call,
	.wait = wait_for,
	.fill_capset = fill_capset,
	.destroy = destroy,
};

/* ---- for the test ---- */

struct strict_renderer *strict_create(void)
{
	struct strict_renderer *strict = g_new0(struct strict_renderer, 1);

	strict->base = (struct vtr_renderer){
		.impl = &impl,
		.capsets = { { 1, 1, CAPSET_SIZE }, { 2, 2, CAPSET_SIZE } },
		.n_capsets = 2,
		.maps_blobs = true,
		.description = "nothing",
	};
	strict->contexts = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_hash_table_destroy);
	strict->resources = g_hash_table_new_full(NULL, NULL, NULL, free_resource);
	strict->gone = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	strict->fences = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	strict->last = &strict->first;
	return strict;
}

struct vtr_renderer *strict_renderer(struct strict_renderer *strict)
{
	return &strict->base;
}

void strict_answer_later(struct strict_renderer *strict, bool later)
{
	strict->later = later;
}

void strict_answer(struct strict_renderer *strict, unsigned n)
{
	while (n-- && strict->first)
		answer_one(strict);
	let_fences_go(strict);
}

void strict_fail(struct strict_renderer *strict, int error)
{
	strict->fail = error;
}

void strict_export(struct strict_renderer *strict, bool exports)
{
	strict->exports = exports;
}

void strict_lose(struct strict_renderer *strict)
{
	struct vtr_error why;

	lose(strict, "context", strict->contexts);
	lose(strict, "resource", strict->resources);
	g_array_set_size(strict->fences, 0);
	while (strict->first) {
		struct vtr_render_call *call = pop(strict);

		not_made(strict, &call->args);
		call->code = -ENODEV;
		call->done(call);
	}
	vtr_error_set(&why, VTR_ERROR_HOST, ENODEV, "the test took it away");
	if (strict->base.listener)
		strict->base.listener->lost(strict->base.listener_data, &why);
}

unsigned strict_alive(const struct strict_renderer *strict)
{
	unsigned count = g_hash_table_size(strict->contexts) + g_hash_table_size(strict->resources) + strict->fences->len;

	for (const struct vtr_render_call *call = strict->first; call; call = call->next)
		count++;
	return count;
}
