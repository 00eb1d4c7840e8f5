/* SPDX-License-Identifier: MIT */
/*
 * Plays recordings of what a renderer was asked for (src/render/record.h) against the real one:
 *
 *     replay_render [--isolate PROGRAM] [--mutate SEEDS] [--save FILE] FILE|FOLDER...
 *
 * What was recorded has to give the same answers again, and READ the same colours, if the renderer is the same. With --mutate each
 * file is also played so many times with calls that are changed at random, always in the same way for a seed: wrong calls may be
 * answered by anything but a crash. --save writes what the last seed made of the last file. What vtr_gpu would not let through
 * (ids that are taken, boxes without a size) does not get through here either.
 */
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/log.h>

#include "render/record.h"
#include "util/fd.h"

enum { MAX_BACKING = 64 << 20, MAX_BYTES = 256 << 20, FENCE_SECONDS = 60 };

struct resource {
	struct vtr_spans backing; /* empty: none */
	uint32_t width, height;
	uint64_t bytes;
};

struct player {
	struct vtr_loop *loop;
	struct vtr_renderer *renderer;
	GHashTable *contexts, *resources; /* by id */
	uint64_t bytes;                   /* of all resources */
	uint64_t last_fence, fences, fences_done;
	bool lost;
	GRand *random; /* NULL: as recorded */
	FILE *save;    /* NULL: nowhere */

	const char *file;
	bool same; /* the renderer is the one that was recorded */
	uint32_t op;
	int code;  /* of the last call; */
	bool made; /* it was made */
	uint64_t checksum;
	unsigned calls, refused, wrong;
};

/* ---- what a device would let through ---- */

static struct resource *find(const struct player *player, uint32_t id)
{
	return g_hash_table_lookup(player->resources, GUINT_TO_POINTER(id));
}

static bool has_context(const struct player *player, uint32_t id)
{
	return g_hash_table_contains(player->contexts, GUINT_TO_POINTER(id));
}

/* As much as a picture of that size takes at most, all levels together. */
static uint64_t bytes_of(const struct vtr_render_args *args)
{
	if (args->op == VTR_RENDER_CREATE_BLOB)
		return args->create_blob.size;
	if (args->create_3d.width > 16384 || args->create_3d.height > 16384 || args->create_3d.depth > 2048 ||
	    args->create_3d.array_size > 2048 || args->create_3d.nr_samples > 16)
		return UINT64_MAX;
	return UINT64_C(32) * args->create_3d.width * MAX(args->create_3d.height, 1) * MAX(args->create_3d.depth, 1) *
	       MAX(args->create_3d.array_size, 1) * MAX(args->create_3d.nr_samples, 1);
}

static bool may_create(const struct player *player, const struct vtr_record_call *record)
{
	uint32_t id = record->args.resource_id;
	uint64_t bytes = bytes_of(&record->args);

	return id && !find(player, id) && bytes <= MAX_BYTES && player->bytes + bytes <= MAX_BYTES &&
	       record->backing <= MAX_BACKING;
}

static bool may_transfer(const struct player *player, const struct vtr_render_args *args)
{
	const struct resource *resource = find(player, args->resource_id);
	const struct vtr_render_box *box = &args->transfer.box;

	return resource && resource->backing.count && box->w && box->h && box->d &&
	       args->transfer.offset < resource->backing.length && (!args->ctx_id || has_context(player, args->ctx_id));
}

static bool may_read(const struct player *player, const struct vtr_record_call *record)
{
	const struct resource *resource = find(player, record->args.resource_id);
	const struct vtr_render_args *args = &record->args;
	uint64_t right = (uint64_t)args->read.x + args->read.width, bottom = (uint64_t)args->read.y + args->read.height;

	return resource && right <= record->width && bottom <= record->height && right <= resource->width &&
	       bottom <= resource->height && args->read.width && args->read.height && record->width <= 4096 &&
	       record->height <= 4096;
}

static bool is_allowed(const struct player *player, const struct vtr_record_call *record, size_t size)
{
	const struct vtr_render_args *args = &record->args;

	switch (args->op) {
	case VTR_RENDER_CTX_CREATE:
		return args->ctx_id && !has_context(player, args->ctx_id) && args->ctx_create.name_length <= 64 &&
		       g_hash_table_size(player->contexts) < VTR_MAX_CONTEXTS;
	case VTR_RENDER_CTX_DESTROY:
	case VTR_RENDER_SUBMIT:
		return has_context(player, args->ctx_id) && size % 4 == 0 && size <= VTR_MAX_SUBMIT;
	case VTR_RENDER_CTX_ATTACH_RESOURCE:
	case VTR_RENDER_CTX_DETACH_RESOURCE:
		return has_context(player, args->ctx_id) && find(player, args->resource_id);
	case VTR_RENDER_CREATE_3D:
	case VTR_RENDER_CREATE_BLOB:
		return may_create(player, record);
	case VTR_RENDER_ATTACH_BACKING:
		return find(player, args->resource_id) && !find(player, args->resource_id)->backing.count && record->backing &&
		       record->backing <= MAX_BACKING;
	case VTR_RENDER_DETACH_BACKING:
		return find(player, args->resource_id) && find(player, args->resource_id)->backing.count;
	case VTR_RENDER_UNREF:
	case VTR_RENDER_EXPORT:
	case VTR_RENDER_EXPORT_BLOB:
		return find(player, args->resource_id);
	case VTR_RENDER_TRANSFER_TO_HOST:
	case VTR_RENDER_TRANSFER_FROM_HOST:
		return may_transfer(player, args);
	case VTR_RENDER_FENCE:
		return (!args->ctx_id || has_context(player, args->ctx_id)) && args->fence.ring_idx < 64;
	case VTR_RENDER_READ:
		return may_read(player, record);
	case VTR_RENDER_RESET:
		return true;
	default:
		return false;
	}
}

/* ---- a call ---- */

static void free_resource(void *data)
{
	struct resource *resource = data;

	vtr_spans_finish(&resource->backing);
	g_free(resource);
}

static void forget_all(struct player *player)
{
	g_hash_table_remove_all(player->contexts);
	g_hash_table_remove_all(player->resources);
	player->bytes = 0;
}

/* The call was carried out. backing is taken. */
static void follow(struct player *player, const struct vtr_render_args *args, struct vtr_spans *backing)
{
	gpointer context = GUINT_TO_POINTER(args->ctx_id), key = GUINT_TO_POINTER(args->resource_id);
	struct resource *resource = find(player, args->resource_id);

	switch (args->op) {
	case VTR_RENDER_CTX_CREATE:
		g_hash_table_add(player->contexts, context);
		break;
	case VTR_RENDER_CTX_DESTROY:
		g_hash_table_remove(player->contexts, context);
		break;
	case VTR_RENDER_CREATE_3D:
	case VTR_RENDER_CREATE_BLOB:
		resource = g_new0(struct resource, 1);
		resource->bytes = bytes_of(args);
		if (args->op == VTR_RENDER_CREATE_3D) {
			resource->width = args->create_3d.width;
			resource->height = args->create_3d.height;
		}
		resource->backing = *backing;
		*backing = (struct vtr_spans){ 0 };
		player->bytes += resource->bytes;
		g_hash_table_insert(player->resources, key, resource);
		break;
	case VTR_RENDER_ATTACH_BACKING:
		resource->backing = *backing;
		*backing = (struct vtr_spans){ 0 };
		break;
	case VTR_RENDER_DETACH_BACKING:
		vtr_spans_finish(&resource->backing);
		break;
	case VTR_RENDER_UNREF:
		player->bytes -= resource->bytes;
		g_hash_table_remove(player->resources, key);
		break;
	case VTR_RENDER_RESET:
		forget_all(player);
		player->fences_done = player->fences;
		break;
	default:
		break;
	}
}

static void make(struct player *player, const struct vtr_record_call *record, const void *data, size_t size)
{
	struct vtr_render_call call = { .args = record->args, .data = size ? data : NULL, .size = size };
	struct vtr_spans backing = { 0 };

	if (record->backing && (call.args.op == VTR_RENDER_ATTACH_BACKING || call.args.op == VTR_RENDER_CREATE_BLOB)) {
		int error = vtr_spans_from_file(&backing, vtr_memfd_create("backing", record->backing), record->backing, NULL);

		g_assert_cmpint(error, ==, 0);
		call.spans = &backing;
	}
	if (call.args.op == VTR_RENDER_READ)
		call.image = vtr_image_create(record->width, record->height, record->format);
	if (call.args.op == VTR_RENDER_FENCE)
		call.args.fence.id = ++player->last_fence;
	player->code = vtr_renderer_call_wait(player->renderer, &call);
	player->made = true;
	player->op = call.args.op;
	player->checksum = call.image && !player->code ? vtr_record_checksum(&call) : 0;
	if (!player->code || player->code == -ENODEV)
		follow(player, &call.args, &backing);
	if (!player->code && call.args.op == VTR_RENDER_FENCE)
		player->fences++;
	if (!player->code && call.args.op == VTR_RENDER_EXPORT)
		vtr_buffer_drop(call.exported);
	if (!player->code && call.args.op == VTR_RENDER_EXPORT_BLOB)
		close(call.mapped.fd);
	vtr_image_destroy(call.image);
	vtr_spans_finish(&backing);
	vtr_loop_dispatch(player->loop, 0);
}

/* ---- changes at random ---- */

static uint32_t strange(GRand *random, uint32_t word)
{
	static const uint32_t numbers[] = { 0,    1,     2,       4,          16,         64,         255,
		                            4096, 65535, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, UINT32_MAX };

	switch (g_rand_int_range(random, 0, 4)) {
	case 0:
		return word ^ 1u << g_rand_int_range(random, 0, 32);
	case 1:
		return numbers[g_rand_int_range(random, 0, G_N_ELEMENTS(numbers))];
	case 2:
		return word + (uint32_t)g_rand_int_range(random, -4, 5);
	default:
		return g_rand_int(random);
	}
}

/* One call in eight: a word or three of it, or the end of its stream. Returns what is left of size. */
static size_t change(GRand *random, struct vtr_record_call *record, uint32_t *words, size_t size)
{
	uint32_t *args = (uint32_t *)(void *)&record->args;
	int n_args = sizeof(record->args) / 4;

	if (g_rand_int_range(random, 0, 8))
		return size;
	for (int i = g_rand_int_range(random, 1, 4); i; i--) {
		if (size) {
			int at = g_rand_int_range(random, 0, (int)(size / 4));

			words[at] = strange(random, words[at]);
		} else {
			int at = g_rand_int_range(random, 1, n_args); /* the operation stays */

			args[at] = strange(random, args[at]);
		}
	}
	if (size && !g_rand_int_range(random, 0, 8))
		size = (size_t)g_rand_int_range(random, 0, (int)(size / 4)) * 4;
	return size;
}

/* ---- the file ---- */

static void save(const struct player *player, enum vtr_record_kind kind, const void *body, size_t size, const void *more,
                 size_t more_size)
{
	struct vtr_record_chunk chunk = { kind, (uint32_t)(size + more_size) };

	if (!player->save)
		return;
	fwrite(&chunk, sizeof(chunk), 1, player->save);
	fwrite(body, 1, size, player->save);
	fwrite(more, 1, more_size, player->save);
	fflush(player->save); /* it may be the last one */
}

static void play_call(struct player *player, const uint8_t *body, size_t size)
{
	struct vtr_record_call record;
	size_t stream = size - sizeof(record);
	uint32_t *words = g_malloc(stream + 1);

	memcpy(&record, body, sizeof(record));
	memcpy(words, body + sizeof(record), stream);
	stream &= ~(size_t)3;
	if (player->random)
		stream = change(player->random, &record, words, stream);
	save(player, VTR_RECORD_CALL, &record, sizeof(record), words, stream);
	player->made = false;
	player->calls++;
	if (is_allowed(player, &record, stream))
		make(player, &record, words, record.args.op == VTR_RENDER_SUBMIT ? stream : 0);
	else
		player->refused++;
	g_free(words);
}

static void play_memory(struct player *player, const uint8_t *body, size_t size)
{
	struct vtr_record_memory memory;

	memcpy(&memory, body, sizeof(memory));
	save(player, VTR_RECORD_MEMORY, &memory, sizeof(memory), body + sizeof(memory), size - sizeof(memory));
	const struct resource *resource = find(player, memory.resource_id);
	if (resource)
		vtr_spans_write(&resource->backing, memory.offset, body + sizeof(memory), size - sizeof(memory));
}

static void compare(struct player *player, const uint8_t *body)
{
	struct vtr_record_result result;

	memcpy(&result, body, sizeof(result));
	if (player->random || player->lost || !player->made)
		return;
	/* What can be exported is the machine's affair. */
	bool code = (player->code != 0) != (result.code != 0) && player->op != VTR_RENDER_EXPORT,
	     picture = result.checksum && result.checksum != player->checksum;

	if (!code && !(picture && player->same))
		return;
	player->wrong++;
	if (code)
		printf("# %s: call %u gave %d, it was %d\n", player->file, player->calls, player->code, result.code);
	else
		printf("# %s: the picture of call %u has the checksum %" PRIx64 ", it had %" PRIx64 "\n", player->file,
		       player->calls, player->checksum, result.checksum);
}

/* The header was checked. */
static void play_chunks(struct player *player, const uint8_t *at, size_t size)
{
	struct vtr_record_chunk chunk;

	while (size >= sizeof(chunk)) {
		memcpy(&chunk, at, sizeof(chunk));
		at += sizeof(chunk);
		size -= sizeof(chunk);
		if (chunk.size > size)
			return; /* the recorder was killed */
		if (chunk.kind == VTR_RECORD_CALL && chunk.size >= sizeof(struct vtr_record_call))
			play_call(player, at, chunk.size);
		if (chunk.kind == VTR_RECORD_MEMORY && chunk.size >= sizeof(struct vtr_record_memory))
			play_memory(player, at, chunk.size);
		if (chunk.kind == VTR_RECORD_RESULT && chunk.size >= sizeof(struct vtr_record_result))
			compare(player, at);
		at += chunk.size;
		size -= chunk.size;
	}
}

static void wait_for_fences(struct player *player)
{
	uint64_t deadline = vtr_now_ns() + FENCE_SECONDS * UINT64_C(1000000000);

	while (player->fences_done < player->fences && !player->lost) {
		vtr_loop_dispatch(player->loop, 100);
		if (vtr_now_ns() > deadline) {
			printf("# %s: fence %" PRIu64 " does not come\n", player->file, player->fences_done + 1);
			player->wrong++;
			return;
		}
	}
}

/* With random: changed. The renderer is as at the beginning again. */
static void play(struct player *player, const struct vtr_record_header *header, const uint8_t *bytes, size_t size, GRand *random)
{
	struct vtr_render_call reset = { .args = { .op = VTR_RENDER_RESET } };

	player->random = random;
	player->same = !strcmp(header->description, vtr_renderer_description(player->renderer));
	player->lost = false;
	play_chunks(player, bytes + sizeof(*header), size - sizeof(*header));
	wait_for_fences(player);
	vtr_renderer_call_wait(player->renderer, &reset);
	player->fences_done = player->fences;
	forget_all(player);
}

static void begin_save(struct player *player, const char *path, const struct vtr_record_header *header)
{
	player->save = path ? fopen(path, "wb") : NULL;
	if (player->save)
		fwrite(header, sizeof(*header), 1, player->save);
}

static void play_file(struct player *player, const char *path, unsigned first, unsigned seeds, const char *save_path)
{
	struct vtr_record_header header;
	g_autofree char *bytes = NULL;
	gsize size;

	player->file = path;
	if (!g_file_get_contents(path, &bytes, &size, NULL) || size < sizeof(header))
		g_error("%s: it cannot be read", path);
	memcpy(&header, bytes, sizeof(header));
	if (strncmp(header.magic, "VTRREC", sizeof(header.magic)) || header.version != VTR_RECORD_VERSION ||
	    header.args_size != sizeof(struct vtr_render_args) || !memchr(header.description, 0, sizeof(header.description)))
		g_error("%s: no recording of this version", path);
	if (!first)
		play(player, &header, (const uint8_t *)bytes, size, NULL);
	for (unsigned seed = first ? first : 1; seed <= seeds; seed++) {
		GRand *random = g_rand_new_with_seed(seed);

		if (getenv("REPLAY_VERBOSE"))
			printf("# %s: seed %u\n", path, seed);
		if (seed == seeds)
			begin_save(player, save_path, &header);
		play(player, &header, (const uint8_t *)bytes, size, random);
		g_rand_free(random);
		if (player->save)
			fclose(player->save);
		player->save = NULL;
	}
}

static void play_path(struct player *player, const char *path, unsigned first, unsigned seeds, const char *save_path)
{
	GDir *folder = g_dir_open(path, 0, NULL);
	const char *name;

	if (!folder) {
		play_file(player, path, first, seeds, save_path);
		return;
	}
	while ((name = g_dir_read_name(folder))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		play_file(player, file, first, seeds, save_path);
	}
	g_dir_close(folder);
}

/* ---- the program ---- */

static void fence_done(void *data, uint64_t id)
{
	((struct player *)data)->fences_done++;
}

static void lost(void *data, const struct vtr_error *why)
{
	struct player *player = data;

	printf("# %s: the renderer was lost: %s\n", player->file ? player->file : "", why->text);
	player->lost = true;
}

int main(int argc, char **argv)
{
	static const struct vtr_renderer_listener listener = { .fence_done = fence_done, .lost = lost };
	g_autofree char *program = NULL, *save_path = NULL;
	int seeds = 0, first = 0;
	GOptionEntry entries[] = {
		{ "isolate", 0, 0, G_OPTION_ARG_FILENAME, &program, "In a process of this program", "PROGRAM" },
		{ "mutate", 0, 0, G_OPTION_ARG_INT, &seeds, "Changed, with seeds up to this one", "SEED" },
		{ "from", 0, 0, G_OPTION_ARG_INT, &first, "The first of these, and not unchanged", "SEED" },
		{ "save", 0, 0, G_OPTION_ARG_FILENAME, &save_path, "What the last seed made of the last file", "FILE" },
		{ NULL },
	};
	GOptionContext *context = g_option_context_new("FILE|FOLDER...");
	struct vtr_error error = { 0 };
	struct player player = { .loop = vtr_loop_create(),
		                 .contexts = g_hash_table_new(NULL, NULL),
		                 .resources = g_hash_table_new_full(NULL, NULL, NULL, free_resource) };

	g_option_context_add_main_entries(context, entries, NULL);
	if (!g_option_context_parse(context, &argc, &argv, NULL) || argc < 2)
		g_error("%s: see --help", argv[0]);
	g_option_context_free(context);
	vtr_log_set_level(VTR_LOG_ERROR);
	setvbuf(stdout, NULL, _IOLBF, 0);
	struct vtr_renderer_options options = { .isolate = program, .program = program };
	player.renderer = vtr_virgl_create(player.loop, &options, &error);
	if (!player.renderer)
		g_error("%s", error.text);
	vtr_renderer_set_listener(player.renderer, &listener, &player);
	for (int i = 1; i < argc; i++)
		play_path(&player, argv[i], (unsigned)first, (unsigned)seeds, save_path);
	printf("%u calls played, %u of them not let through, %u not as recorded\n", player.calls, player.refused, player.wrong);
	vtr_renderer_destroy(player.renderer);
	g_hash_table_destroy(player.contexts);
	g_hash_table_destroy(player.resources);
	vtr_loop_destroy(player.loop);
	return player.wrong || !player.calls ? EXIT_FAILURE : EXIT_SUCCESS;
}
