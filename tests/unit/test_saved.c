/* SPDX-License-Identifier: MIT */
/*
 * What survives the device's process: a guest's resources, scanouts and cursors come back as they were; a process that is killed
 * after any instruction leaves what was before a command or after it, with the mark that says which; memory that lies.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "gpu/gpu.h"
#include "gpu/saved_layout.h"

#include "gpu_3d.h"
#include "single_step.h"

/* ---- memory that outlives a device ---- */

struct kept {
	struct vtr_saved_memory base;
	int fd;
	size_t limit; /* pages are there below; 0: everywhere */
};

static int kept_reserve(struct vtr_saved_memory *memory, size_t offset, size_t length)
{
	const struct kept *kept = (const struct kept *)memory;

	if (kept->limit && offset + length > kept->limit)
		return -ENOSPC;
	return fallocate(kept->fd, 0, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

static int kept_clear(struct vtr_saved_memory *memory)
{
	const struct kept *kept = (const struct kept *)memory;

	return fallocate(kept->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)memory->size) < 0 ? -errno : 0;
}

static void kept_init(struct kept *kept)
{
	*kept = (struct kept){
		.base = { .size = vtr_saved_size(), .reserve = kept_reserve, .clear = kept_clear },
		.fd = memfd_create("saved", MFD_CLOEXEC),
	};
	g_assert_cmpint(ftruncate(kept->fd, (off_t)kept->base.size), ==, 0);
	kept->base.data = mmap(NULL, kept->base.size, PROT_READ | PROT_WRITE, MAP_SHARED, kept->fd, 0);
	g_assert_true(kept->base.data != MAP_FAILED);
}

static void kept_finish(struct kept *kept)
{
	munmap(kept->base.data, kept->base.size);
	close(kept->fd);
}

static struct vtr_saved_area *area_of(const struct kept *kept)
{
	return kept->base.data;
}

/* What the tests use of it lies in these two. */
enum { USED_SLOTS = 8, USED_BLOCKS = 8 };
static const size_t head_size = offsetof(struct vtr_saved_area, resources) + USED_SLOTS * sizeof(struct vtr_saved_resource);
static const size_t blocks_size = USED_BLOCKS * sizeof(struct vtr_saved_block);

static void kept_copy(struct kept *to, const struct kept *from)
{
	memcpy(to->base.data, from->base.data, head_size);
	memcpy(area_of(to)->blocks, area_of(from)->blocks, blocks_size);
}

/* ---- what a device has, in words ---- */

static void describe_resource(GString *text, const struct vtr_resource *resource)
{
	if (resource->image)
		g_string_append_printf(text, "2d %u %ux%u", resource->id, resource->image->width, resource->image->height);
	else
		g_string_append_printf(text, "blob %u %" G_GUINT64_FORMAT, resource->id, resource->size);
	if (resource->entries)
		g_string_append_printf(text, " entries %zu first %#" G_GINT64_MODIFIER "x last %#" G_GINT64_MODIFIER "x",
		                       resource->n_entries, resource->entries[0].address,
		                       resource->entries[resource->n_entries - 1].address);
	if (resource->has_uuid)
		g_string_append_printf(text, " uuid %02x%02x", resource->uuid[0], resource->uuid[15]);
	g_string_append(text, "; ");
}

static char *describe(struct vtr_gpu *gpu)
{
	GString *text = g_string_new(NULL);

	for (uint32_t id = 1; id < 16; id++) {
		const struct vtr_resource *resource = vtr_resource_find(gpu, id);

		if (resource)
			describe_resource(text, resource);
	}
	for (uint32_t i = 0; i < gpu->n_scanouts; i++) {
		const struct vtr_scanout *scanout = &gpu->scanouts[i];
		const struct virtio_gpu_update_cursor *cursor = gpu->saved ? &gpu->saved->cursors[i].command : NULL;

		if (scanout->resource)
			g_string_append_printf(text, "scanout %u shows %u %ux%u; ", i, scanout->resource->id, scanout->layout.width,
			                       scanout->layout.height);
		if (cursor && cursor->resource_id)
			g_string_append_printf(text, "cursor %u is %u at %u,%u; ", i, cursor->resource_id, cursor->pos.x,
			                       cursor->pos.y);
	}
	return g_string_free(text, FALSE);
}

/* ---- a device that saves, and its successor ---- */

struct fixture {
	struct gpu_machine machine;
	struct kept kept;
};

static void save(struct fixture *f, bool restore)
{
	g_assert_cmpint(f->machine.device->impl->save(f->machine.device, &f->kept.base, restore), ==, 0);
}

static void set_up_options(struct fixture *f, const struct vtr_gpu_options *options, uint64_t features)
{
	kept_init(&f->kept);
	gpu_machine_create(&f->machine, options, 2, VTR_DEMAND_PIXELS);
	gpu_machine_start(&f->machine, features);
	save(f, false);
}

static void set_up(struct fixture *f)
{
	set_up_options(f, &(struct vtr_gpu_options){ 0 }, gpu_features);
}

static void tear_down(struct fixture *f)
{
	gpu_machine_destroy(&f->machine);
	kept_finish(&f->kept);
}

/* The device forgets everything, as one that is started has nothing, and goes on with what was saved. */
static void successor(struct fixture *f)
{
	gpu_machine_start(&f->machine, f->machine.device->driver_features);
	save(f, true);
	gpu_machine_settle(&f->machine);
}

static void assert_same_after(struct fixture *f)
{
	g_autofree char *before = describe(f->machine.gpu), *after = NULL;

	successor(f);
	after = describe(f->machine.gpu);
	g_assert_cmpstr(before, ==, after);
}

struct attach_request {
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_mem_entry entry;
};

static struct attach_request attach(uint32_t id, uint64_t address)
{
	return (struct attach_request){
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = 1 },
		.entry = { .addr = address, .length = GPU_BYTES },
	};
}

static struct virtio_gpu_set_scanout set_scanout(uint32_t scanout, uint32_t id)
{
	return (struct virtio_gpu_set_scanout){
		.hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		.r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		.scanout_id = scanout,
		.resource_id = id,
	};
}

static uint32_t shown_pixel(struct fixture *f, unsigned scanout)
{
	return atomic_load(&f->machine.display.pixel[scanout]);
}

/* A blob on one scanout, a 2D resource on the other, and both on the display again without a word of the guest's. */
static void test_picture_back(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(2);
	struct attach_request backing = attach(2, GPU_BYTES);
	struct virtio_gpu_set_scanout set = set_scanout(1, 2);
	struct fixture f;

	set_up(&f);
	gpu_machine_paint(&f.machine, 0, 0x11);
	gpu_machine_paint(&f.machine, GPU_BYTES, 0x22);
	gpu_machine_show_blob(&f.machine, 0, 1, 0);
	GPU_ASSERT_OK(&f.machine, create);
	GPU_ASSERT_OK(&f.machine, backing);
	GPU_ASSERT_OK(&f.machine, set);
	assert_same_after(&f);
	GPU_WAIT(&f.machine, shown_pixel(&f, 0) == 0x11111111);
	GPU_WAIT(&f.machine, shown_pixel(&f, 1) == 0x22222222);
	/* and a second time, from what the successor keeps */
	gpu_machine_paint(&f.machine, 0, 0x33);
	assert_same_after(&f);
	GPU_WAIT(&f.machine, shown_pixel(&f, 0) == 0x33333333);
	tear_down(&f);
}

/* Its memory comes later: then the picture does, too, without a flush. */
static void test_memory_later(void)
{
	struct fixture f;

	set_up(&f);
	gpu_machine_paint(&f.machine, 0, 0x44);
	gpu_machine_show_blob(&f.machine, 0, 1, 0);
	gpu_machine_map_pixels(&f.machine, false);
	gpu_machine_paint(&f.machine, 0, 0x55);
	assert_same_after(&f);
	g_assert_true(gpu_machine_status(&f.machine, 0).frozen);
	gpu_machine_map_pixels(&f.machine, true);
	GPU_WAIT(&f.machine, shown_pixel(&f, 0) == 0x55555555);
	tear_down(&f);
}

/* What a renderer had is gone with the process: its names mean nothing, the rest is there. */
static void test_3d_is_not_kept(void)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(1);
	struct virtio_gpu_resource_create_3d texture = gpu_3d_create_3d(3), other = gpu_3d_create_3d(4);
	struct virtio_gpu_resource_create_2d flat = gpu_create_2d(2);
	struct attach_request backing = attach(3, GPU_BYTES);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct virtio_gpu_set_scanout set = set_scanout(1, 3);
	struct virtio_gpu_resource_assign_uuid name = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, .resource_id = 3 };
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 4 };
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	struct fake_renderer *fake = fake_renderer_create();
	struct fixture f;

	set_up_options(&f, &(struct vtr_gpu_options){ .renderer = &fake->base }, gpu_3d_features);
	gpu_machine_paint(&f.machine, 0, 0x66);
	gpu_machine_show_blob(&f.machine, 0, 1, 0);
	GPU_ASSERT_OK(&f.machine, context);
	GPU_ASSERT_OK(&f.machine, flat);
	GPU_ASSERT_OK(&f.machine, join);
	GPU_ASSERT_OK(&f.machine, texture);
	GPU_ASSERT_OK(&f.machine, backing);
	GPU_ASSERT_OK(&f.machine, other);
	GPU_ASSERT_OK(&f.machine, unref);
	g_assert_cmphex(GPU_CALL(&f.machine, name)->type, ==, VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	GPU_ASSERT_OK(&f.machine, set);

	successor(&f);
	g_autofree char *after = describe(f.machine.gpu);
	g_assert_cmpstr(after, ==, "blob 1 8192 entries 1 first 0 last 0; 2d 2 64x32; scanout 0 shows 1 64x32; ");
	GPU_WAIT(&f.machine, shown_pixel(&f, 0) == 0x66666666);
	g_assert_cmphex(GPU_CALL(&f.machine, submit)->type, ==, CONTEXT);
	g_assert_cmphex(GPU_CALL(&f.machine, set)->type, ==, RESOURCE);
	GPU_ASSERT_OK(&f.machine, context); /* begins anew */
	GPU_ASSERT_OK(&f.machine, join);
	GPU_ASSERT_OK(&f.machine, texture);
	GPU_ASSERT_OK(&f.machine, set);
	tear_down(&f);
	vtr_renderer_destroy(&fake->base);
}

/* The backing of a blob that the renderer has goes when the renderer has let go of it, and from then on for a successor, too. */
static void test_3d_detached_later(void)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(1);
	struct gpu_blob_request blob = gpu_create_blob(2, GPU_BYTES);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 2 };
	struct fake_renderer *fake = fake_renderer_create();
	struct fixture f;

	set_up_options(&f, &(struct vtr_gpu_options){ .renderer = &fake->base }, gpu_3d_features);
	GPU_ASSERT_OK(&f.machine, context);
	GPU_ASSERT_OK(&f.machine, blob);
	GPU_ASSERT_OK(&f.machine, join);
	const uint64_t before = area_of(&f.kept)->header.committed;
	fake->later = true;
	uint64_t at = gpu_machine_post(&f.machine, 0, &detach, sizeof(detach), sizeof(detach.hdr));
	gpu_machine_settle(&f.machine);
	g_assert_cmpuint(area_of(&f.kept)->header.committed, ==, before);
	fake_renderer_answer(fake, 1);
	gpu_machine_settle(&f.machine);
	g_assert_cmphex(((const struct virtio_gpu_ctrl_hdr *)gpu_machine_at(&f.machine, at))->type, ==, OK);
	g_assert_cmpuint(area_of(&f.kept)->header.committed, ==, before + 1);
	fake->later = false;
	assert_same_after(&f);
	tear_down(&f);
	vtr_renderer_destroy(&fake->base);
}

/* The guest goes on with what it had: every command finds it. */
static void test_guest_goes_on(void)
{
	struct virtio_gpu_resource_detach_backing detach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, .resource_id = 1 };
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct gpu_blob_request create = gpu_create_blob(1, 0);
	struct virtio_gpu_set_scanout off = set_scanout(0, 0);
	struct attach_request backing = attach(1, 0);
	struct fixture f;

	set_up(&f);
	gpu_machine_show_blob(&f.machine, 0, 1, 0);
	assert_same_after(&f);
	gpu_machine_flush(&f.machine, 1);
	GPU_ASSERT_OK(&f.machine, detach);
	assert_same_after(&f);
	GPU_ASSERT_OK(&f.machine, backing);
	assert_same_after(&f);
	gpu_machine_flush(&f.machine, 1);
	g_assert_cmphex(GPU_CALL(&f.machine, create)->type, ==, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	GPU_ASSERT_OK(&f.machine, unref);
	assert_same_after(&f);
	GPU_ASSERT_OK(&f.machine, create);
	assert_same_after(&f); /* the scanout showed another resource of this id */
	GPU_ASSERT_OK(&f.machine, off);
	assert_same_after(&f);
	tear_down(&f);
}

static void test_uuid(void)
{
	struct virtio_gpu_resource_assign_uuid assign = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, .resource_id = 1 };
	struct gpu_blob_request create = gpu_create_blob(1, 0);
	const struct virtio_gpu_resp_resource_uuid *response;
	struct fixture f;
	uint8_t uuid[16];

	set_up(&f);
	GPU_ASSERT_OK(&f.machine, create);
	response = gpu_machine_call(&f.machine, &assign, sizeof(assign));
	memcpy(uuid, response->uuid, sizeof(uuid));
	assert_same_after(&f);
	response = gpu_machine_call(&f.machine, &assign, sizeof(assign));
	g_assert_cmpmem(response->uuid, sizeof(uuid), uuid, sizeof(uuid));
	tear_down(&f);
}

/* Many resources, in slots and blocks that are used again. */
static void test_reuse(void)
{
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF };
	struct fixture f;

	set_up(&f);
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t id = 1; id < 16; id++) {
			struct gpu_blob_request create = gpu_create_blob(id, id * 4096u);

			GPU_ASSERT_OK(&f.machine, create);
		}
		assert_same_after(&f);
		for (uint32_t id = 1; id < 16; id++) {
			unref.resource_id = (id * 7 + round) % 15 + 1;
			GPU_ASSERT_OK(&f.machine, unref);
			if (id == 5)
				assert_same_after(&f);
		}
		assert_same_after(&f);
	}
	g_assert_cmpuint(area_of(&f.kept)->header.n_resources, ==, 15);
	tear_down(&f);
}

/* There is no room: the guest gets what it asks for, and a successor finds nothing rather than half of it. */
static void test_no_room(void)
{
	struct fixture f;

	set_up(&f);
	gpu_machine_show_blob(&f.machine, 0, 1, 0);
	f.kept.limit = 1;
	for (uint32_t id = 2; id < 200; id++) {
		struct gpu_blob_request create = gpu_create_blob(id, 0);

		GPU_ASSERT_OK(&f.machine, create);
	}
	gpu_machine_flush(&f.machine, 1);
	gpu_machine_start(&f.machine, gpu_features);
	g_assert_cmpint(f.machine.device->impl->save(f.machine.device, &f.kept.base, true), ==, -ENOENT);
	tear_down(&f);
}

/* ---- commands that were carried out and not answered ---- */

/* Makes the chain that answers the next request one that a predecessor left, with that ticket. */
struct left {
	struct vtr_virtqueue_tracker base;
	uint64_t ticket;
};

static uint64_t left_popped(struct vtr_virtqueue_tracker *tracker, uint16_t head)
{
	return ((struct left *)tracker)->ticket;
}

static void left_moved(struct vtr_virtqueue_tracker *tracker, uint16_t head)
{
}

static void left_pushed(struct vtr_virtqueue_tracker *tracker, uint16_t head, uint16_t used_idx)
{
}

static const struct vtr_virtqueue_tracker_impl left_impl = {
	.popped = left_popped,
	.unpopped = left_moved,
	.pushing = left_moved,
	.pushed = left_pushed,
};

static void test_done_once(void)
{
	struct left left = { .base.impl = &left_impl, .ticket = 7 };
	struct gpu_blob_request create = gpu_create_blob(1, 0);
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 9);
	const struct virtio_gpu_ctrl_hdr *response;
	struct fixture f;

	set_up(&f);
	f.machine.device->queues[0].tracker = &left.base;
	GPU_ASSERT_OK(&f.machine, create);
	successor(&f);
	f.machine.device->queues[0].tracker = &left.base;
	/* the same chain again (its head is the same, too): not an id that is taken */
	GPU_ASSERT_OK(&f.machine, create);
	left.ticket = 8;
	g_assert_cmphex(GPU_CALL(&f.machine, create)->type, ==, VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	left.ticket = 9;
	response = GPU_CALL(&f.machine, flush);
	g_assert_cmphex(response->type, ==, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_cmpuint(response->fence_id, ==, 9);
	tear_down(&f);
}

/* ---- killed after any instruction ---- */

enum { STEPS = 12, LONG = 130 /* entries, in three blocks */, HEAD = 3, NO_MARK = 5 };

struct crash {
	struct fixture f;   /* where successors are tried */
	struct kept shared; /* what the child writes */
	struct kept copy;
	struct vtr_saved *saved; /* over shared; the child has it as it was when it began */
	volatile unsigned *step; /* of the child: the command it carries out, from 1 on */
	char *after[STEPS + 1];  /* what a successor has after so many commands */
};

static struct vtr_mem_entry long_backing[LONG];

/* What a handler would have left, and what it notes. */
static void carry_out(struct vtr_saved *saved, unsigned step)
{
	static struct vtr_resource first, second;
	const struct virtio_gpu_resource_create_2d create = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, .resource_id = 1, .format = 1, .width = 64, .height = 64
	};
	struct gpu_blob_request blob = gpu_create_blob(2, 0);
	struct virtio_gpu_set_scanout_blob set_blob = gpu_set_scanout_blob(0, 2);
	const struct virtio_gpu_set_scanout set = set_scanout(0, 1);
	struct virtio_gpu_update_cursor cursor = { .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .resource_id = 1 };

	switch (step) {
	case 1:
		first = (struct vtr_resource){ .id = 1 };
		vtr_saved_note_created(saved, &first, &create, sizeof(create));
		break;
	case 2:
		first.entries = long_backing;
		first.n_entries = 3;
		vtr_saved_note_attached(saved, &first);
		break;
	case 3:
		second = (struct vtr_resource){ .id = 2, .entries = long_backing, .n_entries = LONG };
		blob.blob.nr_entries = LONG;
		vtr_saved_note_created(saved, &second, &blob.blob, sizeof(blob.blob));
		break;
	case 4:
		vtr_saved_note_scanout(saved, 0, &set_blob, sizeof(set_blob));
		break;
	case 5:
		memset(second.uuid, 0xab, sizeof(second.uuid));
		vtr_saved_note_uuid(saved, &second);
		break;
	case 6:
		vtr_saved_note_cursor(saved, &cursor);
		break;
	case 7:
		vtr_saved_note_detached(saved, &first);
		break;
	case 8:
		first.entries = long_backing + 10;
		first.n_entries = 70;
		vtr_saved_note_attached(saved, &first);
		break;
	case 9: /* it is on the scanout */
		vtr_saved_note_destroyed(saved, &second);
		break;
	case 10: /* takes slot and blocks of the one before */
		second = (struct vtr_resource){ .id = 2, .entries = long_backing, .n_entries = 1 };
		blob.blob.size = 4096;
		vtr_saved_note_created(saved, &second, &blob.blob, sizeof(blob.blob));
		break;
	case 11:
		vtr_saved_note_scanout(saved, 0, &set, sizeof(set));
		break;
	case 12:
		cursor.hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR;
		cursor.pos.x = 77;
		vtr_saved_note_cursor(saved, &cursor);
		break;
	}
	vtr_saved_commit(saved, VTR_GPU_CONTROLQ, HEAD, 100 + step, step != NO_MARK);
}

/* A successor over a copy of what is there now. */
static char *try_successor(struct crash *crash, bool executed[STEPS + 1])
{
	struct gpu_machine *machine = &crash->f.machine;

	kept_copy(&crash->copy, &crash->shared);
	gpu_machine_start(machine, gpu_features);
	g_assert_cmpint(machine->device->impl->save(machine->device, &crash->copy.base, true), ==, 0);
	for (uint16_t i = 1; i <= STEPS; i++)
		executed[i] = vtr_saved_executed(machine->gpu->saved, VTR_GPU_CONTROLQ,
		                                 &(struct vtr_chain){ .head = HEAD, .ticket = UINT64_C(100) + i });
	return describe(machine->gpu);
}

static void carry_out_all(void *data)
{
	struct crash *crash = data;

	for (unsigned i = 1; i <= STEPS; i++) {
		*crash->step = i;
		carry_out(crash->saved, i);
	}
}

static void assert_before_or_after(void *data)
{
	struct crash *crash = data;
	const unsigned step = *crash->step;
	bool executed[STEPS + 1];

	g_autofree char *found = try_successor(crash, executed);
	const bool after = area_of(&crash->shared)->header.committed >= step;
	g_assert_cmpstr(found, ==, crash->after[after ? step : step - 1]);
	/* the chains before it began at the same descriptor, and are gone */
	g_assert_cmpint(executed[step], ==, after && step != NO_MARK);
	for (unsigned i = step + 1; i <= STEPS; i++)
		g_assert_false(executed[i]);
}

static void crash_set_up(struct crash *crash)
{
	bool executed[STEPS + 1];

	for (unsigned i = 0; i < LONG; i++)
		long_backing[i] = (struct vtr_mem_entry){ .address = i * 4096, .length = 4096 };
	set_up(&crash->f);
	kept_init(&crash->shared);
	kept_init(&crash->copy);
	crash->step = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	crash->saved = vtr_saved_create(&crash->shared.base);
	for (unsigned i = 0; i <= STEPS; i++) {
		if (i)
			carry_out(crash->saved, i);
		crash->after[i] = try_successor(crash, executed);
	}
}

static void crash_tear_down(struct crash *crash)
{
	for (unsigned i = 0; i <= STEPS; i++)
		g_free(crash->after[i]);
	vtr_saved_destroy(crash->saved);
	munmap((void *)crash->step, 4096);
	kept_finish(&crash->copy);
	kept_finish(&crash->shared);
	tear_down(&crash->f);
}

static void test_killed(void)
{
	struct single_step_window windows[2];
	struct crash crash = { 0 };

	crash_set_up(&crash);
	g_assert_cmpstr(crash.after[1], ==, "2d 1 64x64; ");
	g_assert_cmpstr(crash.after[6], ==,
	                "2d 1 64x64 entries 3 first 0 last 0x2000; blob 2 8192 entries 130 first 0 last 0x81000 uuid abab; "
	                "scanout 0 shows 2 64x32; cursor 0 is 1 at 0,0; ");
	g_assert_cmpstr(crash.after[12], ==,
	                "2d 1 64x64 entries 70 first 0xa000 last 0x4f000; blob 2 4096 entries 1 first 0 last 0; "
	                "scanout 0 shows 1 64x32; cursor 0 is 1 at 77,0; ");
	vtr_saved_destroy(crash.saved);
	crash.saved = vtr_saved_create(&crash.shared.base);
	windows[0] = (struct single_step_window){ area_of(&crash.shared), head_size };
	windows[1] = (struct single_step_window){ area_of(&crash.shared)->blocks, blocks_size };
	g_assert_cmpuint(single_step(carry_out_all, assert_before_or_after, &crash, windows, 2), >, 5 * STEPS);
	crash_tear_down(&crash);
}

/* ---- memory that lies ---- */

struct lie {
	const char *name;
	void (*tell)(struct vtr_saved_area *area);
	int result;        /* of save() */
	const char *found; /* of what carry_out() made, by a successor that is made */
};

#define BLOB2 "blob 2 4096 entries 1 first 0 last 0; "
#define SHOWN "scanout 0 shows 1 64x32; "
#define CURSOR "cursor 0 is 1 at 77,0; "

static void lie_magic(struct vtr_saved_area *area)
{
	area->header.magic[3]++;
}

static void lie_version(struct vtr_saved_area *area)
{
	area->header.version++;
}

static void lie_slots(struct vtr_saved_area *area)
{
	area->header.n_resources = VTR_MAX_RESOURCES + 1;
}

static void lie_committed(struct vtr_saved_area *area)
{
	area->header.committed = UINT64_MAX;
}

static void lie_block(struct vtr_saved_area *area)
{
	area->resources[0].first_block = VTR_SAVED_BLOCKS;
}

static void lie_loop(struct vtr_saved_area *area)
{
	const uint32_t block = area->resources[0].first_block;

	area->blocks[block].next = block;
}

static void lie_shared_block(struct vtr_saved_area *area)
{
	area->resources[1].first_block = area->resources[0].first_block;
}

static void lie_entries(struct vtr_saved_area *area)
{
	area->resources[0].n_entries = UINT32_MAX;
}

static void lie_no_entries(struct vtr_saved_area *area)
{
	area->resources[0].n_entries = 0;
}

static void lie_command(struct vtr_saved_area *area)
{
	area->resources[1].command.hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF;
}

static void lie_size(struct vtr_saved_area *area)
{
	area->resources[1].command.create_blob.size = UINT64_MAX;
}

static void lie_same_id(struct vtr_saved_area *area)
{
	area->resources[1].command.create_blob.resource_id = 1;
}

static void lie_small_backing(struct vtr_saved_area *area)
{
	area->blocks[area->resources[1].first_block].entries[0].length = 4095;
}

static void lie_scanout(struct vtr_saved_area *area)
{
	for (unsigned i = 0; i < 2; i++)
		area->scanouts[0][i].command.set.r.width = 65;
}

static void lie_scanout_command(struct vtr_saved_area *area)
{
	for (unsigned i = 0; i < 2; i++)
		area->scanouts[0][i].command.hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF;
}

static void lie_scanout_id(struct vtr_saved_area *area)
{
	for (unsigned i = 0; i < 2; i++)
		area->scanouts[0][i].command.set.scanout_id = 1u << 31;
}

static void lie_noise(struct vtr_saved_area *area)
{
	GRand *random = g_rand_new_with_seed(1);

	for (uint32_t *word = (uint32_t *)(void *)area->marks; word < (uint32_t *)(void *)&area->resources[USED_SLOTS]; word++)
		*word = g_rand_int(random);
	area->header.n_resources = USED_SLOTS;
	area->header.committed = VTR_SAVED_MAX_CHANGE;
	g_rand_free(random);
}

#define D2 "2d 1 64x64"
#define D2_BACKED D2 " entries 70 first 0xa000 last 0x4f000; "

static const struct lie lies[] = {
	{ "magic", lie_magic, -EPROTO, NULL },
	{ "version", lie_version, -EPROTO, NULL },
	{ "slots", lie_slots, -EPROTO, NULL },
	{ "committed", lie_committed, -EPROTO, NULL },
	{ "block-beyond-the-end", lie_block, 0, D2 "; " BLOB2 SHOWN CURSOR },
	{ "blocks-that-loop", lie_loop, 0, D2 "; " BLOB2 SHOWN CURSOR },
	{ "block-of-two", lie_shared_block, 0, D2_BACKED "blob 2 4096; " SHOWN CURSOR },
	{ "too-many-entries", lie_entries, 0, D2 "; " BLOB2 SHOWN CURSOR },
	{ "no-entries", lie_no_entries, 0, D2 "; " BLOB2 SHOWN CURSOR },
	{ "command", lie_command, 0, D2_BACKED SHOWN CURSOR },
	{ "size", lie_size, 0, D2_BACKED SHOWN CURSOR },
	{ "same-id", lie_same_id, 0, D2_BACKED SHOWN CURSOR },
	{ "small-backing", lie_small_backing, 0, D2_BACKED "blob 2 4096; " SHOWN CURSOR },
	{ "scanout", lie_scanout, 0, D2_BACKED BLOB2 CURSOR },
	{ "scanout-command", lie_scanout_command, 0, D2_BACKED BLOB2 CURSOR },
	{ "scanout-id", lie_scanout_id, 0, D2_BACKED BLOB2 SHOWN CURSOR },
	{ "noise", lie_noise, 0, NULL },
};

static void test_lie(gconstpointer data)
{
	const struct lie *lie = data;
	struct crash crash = { 0 };

	crash_set_up(&crash);
	lie->tell(area_of(&crash.shared));
	kept_copy(&crash.copy, &crash.shared);
	gpu_machine_start(&crash.f.machine, gpu_features);
	g_assert_cmpint(crash.f.machine.device->impl->save(crash.f.machine.device, &crash.copy.base, true), ==, lie->result);
	if (lie->found) {
		g_autofree char *found = describe(crash.f.machine.gpu);

		g_assert_cmpstr(found, ==, lie->found);
	}
	if (!lie->result && lie->found) { /* and what is kept from then on is the truth again */
		g_autofree char *before = describe(crash.f.machine.gpu), *after = NULL;
		struct gpu_blob_request create = gpu_create_blob(9, 0);

		GPU_ASSERT_OK(&crash.f.machine, create);
		gpu_machine_start(&crash.f.machine, gpu_features);
		g_assert_cmpint(crash.f.machine.device->impl->save(crash.f.machine.device, &crash.copy.base, true), ==, 0);
		g_assert_nonnull(vtr_resource_find(crash.f.machine.gpu, 9));
		vtr_resource_destroy(crash.f.machine.gpu, vtr_resource_find(crash.f.machine.gpu, 9));
		after = describe(crash.f.machine.gpu);
		g_assert_cmpstr(before, ==, after);
	}
	crash_tear_down(&crash);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	vtr_log_set_level(VTR_LOG_ERROR); /* a thousand times that a guest goes on */
	g_test_add_func("/saved/picture-back", test_picture_back);
	g_test_add_func("/saved/memory-later", test_memory_later);
	g_test_add_func("/saved/3d-is-not-kept", test_3d_is_not_kept);
	g_test_add_func("/saved/3d-detached-later", test_3d_detached_later);
	g_test_add_func("/saved/guest-goes-on", test_guest_goes_on);
	g_test_add_func("/saved/uuid", test_uuid);
	g_test_add_func("/saved/slots-used-again", test_reuse);
	g_test_add_func("/saved/no-room", test_no_room);
	g_test_add_func("/saved/done-once", test_done_once);
	g_test_add_func("/saved/killed-after-any-instruction", test_killed);
	ADD_ROWS("/saved/lies/", lies, test_lie);
	return g_test_run();
}
