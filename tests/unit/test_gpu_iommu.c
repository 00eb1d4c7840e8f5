/* SPDX-License-Identifier: MIT */
/* The device behind an IOMMU: commands wait for translations, queues not for each other, and nobody for ever. */
#include "gpu_3d.h"
#include "memory/iommu.h"

enum { PAGE = 4096, PIXELS = 0x10000 };

static const uint8_t greys[] = { 0x11, 0x5a, 0xc3 };

/* The machine, and a VMM whose translations are identical. It answers from the loop, unless it is to hold or refuse what lies below
 * GPU_RINGS. */
struct vmm {
	struct gpu_machine machine;
	struct vtr_memory_file *file;
	struct vtr_source *event;
	uint64_t asked[VTR_MAX_MISSES];
	uint64_t number[VTR_MAX_MISSES];
	unsigned n_asked, misses;
	bool hold, refuse, refuse_all;
};

static int miss(void *data, uint64_t number, uint64_t address, unsigned access)
{
	struct vmm *vmm = data;

	vmm->number[vmm->n_asked] = number;
	vmm->asked[vmm->n_asked++] = address;
	vmm->misses++;
	vtr_event_raise(vmm->event);
	return 0;
}

static const struct vtr_iommu_impl impl = { .miss = miss };

static void answer(void *data)
{
	struct vmm *vmm = data;
	unsigned kept = 0;

	for (unsigned i = 0; i < vmm->n_asked; i++) {
		const uint64_t address = vmm->asked[i], page = address & ~(uint64_t)(PAGE - 1);

		if (address < GPU_RINGS && vmm->hold) {
			vmm->number[kept] = vmm->number[i];
			vmm->asked[kept++] = address;
		} else if (page >= GPU_RAM || (address < GPU_RINGS && vmm->refuse) || vmm->refuse_all) {
			vtr_memory_miss_failed(vmm->machine.memory, vmm->number[i]);
		} else {
			g_assert_cmpint(vtr_memory_translate(vmm->machine.memory, page, PAGE, vmm->file, page,
			                                     VTR_ACCESS_READ | VTR_ACCESS_WRITE),
			                ==, 0);
		}
	}
	vmm->n_asked = kept;
}

static void release(struct vmm *vmm)
{
	vmm->hold = false;
	vtr_event_raise(vmm->event);
}

static void set_up_options(struct vmm *vmm, const struct vtr_gpu_options *options, uint64_t features)
{
	*vmm = (struct vmm){ 0 };
	gpu_machine_create(&vmm->machine, options, 1, VTR_DEMAND_PIXELS);
	vmm->event = vtr_loop_add_event(vmm->machine.loop, answer, vmm);
	g_assert_cmpint(vtr_memory_set_iommu(vmm->machine.memory, vmm->machine.loop, &impl, vmm), ==, 0);
	vmm->file = vtr_memory_open(vmm->machine.memory, dup(vmm->machine.ram.fd), 0, GPU_RAM);
	g_assert_nonnull(vmm->file);
	gpu_machine_start(&vmm->machine, features);
}

static void set_up(struct vmm *vmm)
{
	set_up_options(vmm, &(struct vtr_gpu_options){ .max_hostmem = VTR_DEFAULT_MAX_HOSTMEM }, gpu_features);
}

static void tear_down(struct vmm *vmm)
{
	vtr_memory_close(vmm->file);
	vtr_source_remove(vmm->event);
	gpu_machine_destroy(&vmm->machine);
}

static void invalidate_pixels(struct vmm *vmm)
{
	g_assert_cmpint(vtr_memory_invalidate(vmm->machine.memory, 0, GPU_RINGS), ==, 0);
}

static void assert_shown(struct vmm *vmm, uint8_t grey)
{
	const uint32_t pixel = grey * 0x01010101u;

	GPU_WAIT(&vmm->machine, atomic_load(&vmm->machine.display.pixel[0]) == pixel);
	g_assert_cmphex(atomic_load(&vmm->machine.display.last_pixel[0]), ==, pixel);
}

/* Posts a request to the control queue, whose answer is not there after a while. Returns the answer's address. */
static uint64_t post_waiting(struct vmm *vmm, const void *request, uint32_t size)
{
	uint64_t response = gpu_machine_post(&vmm->machine, 0, request, size, sizeof(struct virtio_gpu_resp_edid));
	struct vtr_iommu_status before, after;

	g_assert_cmpuint(gpu_machine_run(&vmm->machine, 1, 50), ==, 0);
	/* While it waits nobody tries again. */
	vtr_memory_iommu_status(vmm->machine.memory, &before);
	g_assert_cmpuint(gpu_machine_run(&vmm->machine, 1, 50), ==, 0);
	vtr_memory_iommu_status(vmm->machine.memory, &after);
	g_assert_cmpuint(after.hits, ==, before.hits);
	g_assert_cmpuint(after.misses, ==, before.misses);
	g_assert_cmpuint(after.pending, >, 0);
	return response;
}

static void assert_answer(struct vmm *vmm, uint64_t response, uint32_t type)
{
	const struct virtio_gpu_ctrl_hdr *header = (const void *)gpu_machine_at(&vmm->machine, response);

	g_assert_cmpuint(gpu_machine_run(&vmm->machine, 1, 5000), ==, 1);
	g_assert_cmphex(header->type, ==, type);
}

static void assert_alive(struct vmm *vmm)
{
	const struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	const struct virtio_gpu_ctrl_hdr *header = gpu_machine_call(&vmm->machine, &request, sizeof(request));

	g_assert_cmphex(header->type, ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
}

/* ---- rows ---- */

static void test_picture(void)
{
	struct vmm vmm;

	set_up(&vmm);
	for (unsigned i = 0; i < G_N_ELEMENTS(greys); i++) {
		gpu_machine_paint(&vmm.machine, PIXELS, greys[i]);
		if (!i)
			gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS);
		gpu_machine_flush(&vmm.machine, 1);
		assert_shown(&vmm, greys[i]);
	}
	tear_down(&vmm);
}

static void test_other_queue_goes_on(void)
{
	const struct virtio_gpu_update_cursor move = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR, .pos = { 0, 3, 4, 0 } };
	struct gpu_blob_request create = gpu_create_blob(1, PIXELS);
	struct vring_used_elem element;
	struct vmm vmm;

	set_up(&vmm);
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &create, sizeof(create));
	for (unsigned i = 0; i < 3; i++) {
		gpu_machine_post(&vmm.machine, 1, &move, sizeof(move), 0);
		GPU_WAIT(&vmm.machine, vring_take_used(&vmm.machine.rings[1], &element));
	}
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	tear_down(&vmm);
}

static void test_refused(void)
{
	struct gpu_blob_request create = gpu_create_blob(1, PIXELS);
	struct vmm vmm;

	set_up(&vmm);
	vmm.refuse = true;
	g_assert_cmphex(GPU_CALL(&vmm.machine, create)->type, ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	vmm.refuse = false;
	GPU_ASSERT_OK(&vmm.machine, create); /* the same, once there is memory */
	tear_down(&vmm);
}

static void test_timeout(void)
{
	struct gpu_blob_request create = gpu_create_blob(1, PIXELS);
	struct vmm vmm;

	set_up(&vmm);
	vtr_iommu_set_limits(vmm.machine.memory, VTR_MAX_TRANSLATIONS, 300);
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &create, sizeof(create));
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_ERR_UNSPEC);
	assert_alive(&vmm);
	tear_down(&vmm);
}

/* An invalidation takes the picture's memory; the picture stays, and the next flush asks for it. */
static void test_invalidated(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct vmm vmm;

	set_up(&vmm);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[0]);
	gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS);
	gpu_machine_flush(&vmm.machine, 1);
	assert_shown(&vmm, greys[0]);
	invalidate_pixels(&vmm);
	unsigned misses = vmm.misses;
	gpu_machine_paint(&vmm.machine, PIXELS, greys[1]);
	gpu_machine_settle(&vmm.machine);
	assert_shown(&vmm, greys[0]);
	g_assert_cmpuint(vmm.misses, ==, misses); /* not before it is used */
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &flush, sizeof(flush));
	assert_shown(&vmm, greys[0]);
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	assert_shown(&vmm, greys[1]);
	tear_down(&vmm);
}

static void test_invalidated_for_good(void)
{
	struct virtio_gpu_resource_flush flush = gpu_flush(1, 1);
	struct virtio_gpu_resource_unref unref = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = 1 };
	struct vmm vmm;

	set_up(&vmm);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[0]);
	gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS);
	gpu_machine_flush(&vmm.machine, 1);
	invalidate_pixels(&vmm);
	vmm.refuse = true;
	g_assert_cmphex(GPU_CALL(&vmm.machine, flush)->type, ==, VIRTIO_GPU_RESP_ERR_UNSPEC);
	assert_shown(&vmm, greys[0]);
	GPU_ASSERT_OK(&vmm.machine, unref);
	tear_down(&vmm);
}

/* Somebody wants to see the picture while its memory is away and no command comes. */
static void test_display_asks(void)
{
	struct vmm vmm;

	set_up(&vmm);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[0]);
	gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS);
	gpu_machine_flush(&vmm.machine, 1);
	assert_shown(&vmm, greys[0]);
	invalidate_pixels(&vmm);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[1]);
	vtr_gpu_devices_changed(vmm.machine.gpu); /* presents again */
	assert_shown(&vmm, greys[1]);
	tear_down(&vmm);
}

static void test_transfer(void)
{
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(1);
	struct virtio_gpu_set_scanout set = { .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		                              .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                              .resource_id = 1 };
	struct virtio_gpu_transfer_to_host_2d transfer = { .hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		                                           .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                           .resource_id = 1 };
	struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entry;
	} attach = { { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = 1, .nr_entries = 1 },
		     { .addr = PIXELS, .length = GPU_BYTES } };
	struct vmm vmm;

	set_up(&vmm);
	GPU_ASSERT_OK(&vmm.machine, create);
	GPU_ASSERT_OK(&vmm.machine, attach);
	GPU_ASSERT_OK(&vmm.machine, set);
	invalidate_pixels(&vmm);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[2]);
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &transfer, sizeof(transfer));
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	gpu_machine_flush(&vmm.machine, 1);
	assert_shown(&vmm, greys[2]);
	tear_down(&vmm);
}

/* The cursor's image waits on its own queue. */
static void test_cursor(void)
{
	const struct virtio_gpu_update_cursor update = { .hdr.type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .resource_id = 1 };
	struct gpu_blob_request create = gpu_create_blob(1, PIXELS);
	struct vring_used_elem element;
	struct vmm vmm;

	set_up(&vmm);
	create.blob.size = create.entry.length = VTR_CURSOR_SIZE * VTR_CURSOR_SIZE * 4;
	GPU_ASSERT_OK(&vmm.machine, create);
	invalidate_pixels(&vmm);
	vmm.hold = true;
	gpu_machine_post(&vmm.machine, 1, &update, sizeof(update), 0);
	assert_alive(&vmm);
	g_assert_false(vring_take_used(&vmm.machine.rings[1], &element));
	release(&vmm);
	GPU_WAIT(&vmm.machine, vring_take_used(&vmm.machine.rings[1], &element));
	tear_down(&vmm);
}

struct big_blob {
	struct virtio_gpu_resource_create_blob blob;
	struct virtio_gpu_mem_entry entries[200];
};

/* Every entry misses: they are asked for in few rounds, and the request is read once. */
static void test_many_entries(void)
{
	struct vmm vmm;
	struct big_blob big = { .blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		                          .resource_id = 1,
		                          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		                          .nr_entries = G_N_ELEMENTS(big.entries),
		                          .size = G_N_ELEMENTS(big.entries) * PAGE } };

	set_up(&vmm);
	for (unsigned i = 0; i < G_N_ELEMENTS(big.entries); i++)
		big.entries[i] = (struct virtio_gpu_mem_entry){ .addr = (i * 7 % 200 * 2 + 1) * PAGE, .length = PAGE };
	g_assert_cmpuint((200 * 2 + 1) * PAGE, <, GPU_RINGS);
	assert_alive(&vmm);
	vmm.misses = 0;
	GPU_ASSERT_OK(&vmm.machine, big);
	g_assert_cmpuint(vmm.misses, >=, G_N_ELEMENTS(big.entries));
	g_assert_cmpuint(vmm.misses, <=, G_N_ELEMENTS(big.entries) + 4); /* the request and its answer */
	tear_down(&vmm);
}

/* A command that asks for more than can be asked for at a time leaves room for the other queue's misses. */
static void test_other_queue_in_between(void)
{
	const struct virtio_gpu_update_cursor move = { .hdr.type = VIRTIO_GPU_CMD_MOVE_CURSOR, .pos = { 0, 3, 4, 0 } };
	struct vring_used_elem element;
	struct vmm vmm;
	struct big_blob big = { .blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		                          .resource_id = 1,
		                          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		                          .nr_entries = G_N_ELEMENTS(big.entries),
		                          .size = PAGE } };

	set_up(&vmm);
	for (unsigned i = 0; i < G_N_ELEMENTS(big.entries); i++)
		big.entries[i] = (struct virtio_gpu_mem_entry){ .addr = 2 * i * PAGE, .length = PAGE };
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &big, sizeof(big));
	g_assert_cmpuint(vmm.n_asked, ==, VTR_MISSES_AHEAD);
	gpu_machine_post(&vmm.machine, 1, &move, sizeof(move), 0);
	GPU_WAIT(&vmm.machine, vring_take_used(&vmm.machine.rings[1], &element));
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	tear_down(&vmm);
}

enum ending { RESET, QUEUE_RESET, ABANDONED };
static const struct end {
	const char *name;
	enum ending ending;
} endings[] = { { "reset", RESET }, { "queue-reset", QUEUE_RESET }, { "front-end-leaves", ABANDONED } };

/* A command that waits is forgotten with its queue; what comes of its misses later is nobody's. */
static void test_ended_while_waiting(const void *data)
{
	const struct end *row = data;
	struct big_blob big = { .blob = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		                          .resource_id = 1,
		                          .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		                          .nr_entries = 2,
		                          .size = 2 * PAGE } };
	struct vmm vmm;

	big.entries[0] = (struct virtio_gpu_mem_entry){ .addr = 0, .length = PAGE };
	big.entries[1] = (struct virtio_gpu_mem_entry){ .addr = 4 * PAGE, .length = PAGE };
	set_up(&vmm);
	vmm.hold = true;
	post_waiting(&vmm, &big, sizeof(big));
	switch (row->ending) {
	case RESET:
		vtr_virtio_reset(vmm.machine.device);
		gpu_machine_start(&vmm.machine, gpu_features);
		break;
	case QUEUE_RESET:
		vtr_virtio_reset_queue(vmm.machine.device, 0);
		gpu_machine_start_queue(&vmm.machine, 0);
		break;
	case ABANDONED:
		vtr_virtio_abandon(vmm.machine.device);
		vtr_memory_set_iommu(vmm.machine.memory, NULL, NULL, NULL);
		vmm.n_asked = 0;
		g_assert_cmpint(vtr_memory_set_iommu(vmm.machine.memory, vmm.machine.loop, &impl, &vmm), ==, 0);
		gpu_machine_start(&vmm.machine, gpu_features);
		break;
	}
	release(&vmm);
	gpu_machine_settle(&vmm.machine);
	gpu_machine_paint(&vmm.machine, PIXELS, greys[1]);
	gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS); /* the id is free: nothing came of the command */
	gpu_machine_flush(&vmm.machine, 1);
	assert_shown(&vmm, greys[1]);
	tear_down(&vmm);
}

/* A ring that nobody translates any more is a broken one. */
static void test_ring_refused(void)
{
	const struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct vmm vmm;

	set_up(&vmm);
	assert_alive(&vmm);
	g_assert_cmpint(vtr_memory_invalidate(vmm.machine.memory, GPU_RINGS, 2 * GPU_RING), ==, 0);
	vmm.refuse_all = true;
	gpu_machine_post(&vmm.machine, 0, &request, sizeof(request), sizeof(struct virtio_gpu_resp_edid));
	GPU_WAIT(&vmm.machine, vtr_virtio_status(vmm.machine.device) & VIRTIO_CONFIG_S_NEEDS_RESET);
	vmm.refuse_all = false;
	gpu_machine_start(&vmm.machine, gpu_features);
	assert_alive(&vmm);
	tear_down(&vmm);
}

/* Everything is taken back all the time: slower, and no different. */
static void test_invalidated_all_the_time(void)
{
	struct vmm vmm;

	set_up(&vmm);
	for (unsigned i = 0; i < 60; i++) {
		struct virtio_gpu_resource_flush flush = gpu_flush(1, i + 1);

		gpu_machine_paint(&vmm.machine, PIXELS, (uint8_t)(i + 1));
		if (!i)
			gpu_machine_show_blob(&vmm.machine, 0, 1, PIXELS);
		gpu_machine_post(&vmm.machine, 0, &flush, sizeof(flush), sizeof(struct virtio_gpu_resp_edid));
		for (unsigned turn = 0; turn <= i % 8; turn++)
			vtr_loop_dispatch(vmm.machine.loop, 0);
		g_assert_cmpint(vtr_memory_invalidate(vmm.machine.memory, 0, GPU_RAM), ==, 0);
		g_assert_cmpuint(gpu_machine_run(&vmm.machine, 1, 2000), ==, 1);
		assert_shown(&vmm, (uint8_t)(i + 1));
	}
	tear_down(&vmm);
}

/* ---- 3D ---- */

static void set_up_3d(struct vmm *vmm, struct fake_renderer *fake)
{
	set_up_options(vmm, &(struct vtr_gpu_options){ .renderer = &fake->base }, gpu_3d_features);
}

/* A texture over PIXELS, attached to context 1. */
static void make_texture(struct vmm *vmm)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(1);
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(1);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(1, PIXELS);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 1);

	GPU_ASSERT_OK(&vmm->machine, context);
	GPU_ASSERT_OK(&vmm->machine, create);
	GPU_ASSERT_OK(&vmm->machine, attach);
	GPU_ASSERT_OK(&vmm->machine, join);
}

/* What an invalidation took of a texture comes back before a stream that may use it, or a transfer that does. */
static void test_3d_invalidated(gconstpointer data)
{
	struct virtio_gpu_transfer_host_3d transfer = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	const bool stream = GPOINTER_TO_INT(data);
	struct fake_renderer *fake = fake_renderer_create();
	struct vmm vmm;
	uint64_t response;

	set_up_3d(&vmm, fake);
	make_texture(&vmm);
	g_assert_true(fake_renderer_is_lent(fake, 1));
	invalidate_pixels(&vmm);
	g_assert_false(fake_renderer_is_lent(fake, 1));
	vmm.hold = true;
	if (stream)
		response = post_waiting(&vmm, &submit, sizeof(submit));
	else
		response = post_waiting(&vmm, &transfer, sizeof(transfer));
	g_assert_cmpuint(fake_renderer_count(fake, VTR_RENDER_SUBMIT) + fake_renderer_count(fake, VTR_RENDER_TRANSFER_TO_HOST), ==,
	                 0);
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_true(fake_renderer_is_lent(fake, 1));
	g_assert_cmpuint(vmm.machine.gpu->resources.missed, ==, 0);
	tear_down(&vmm);
	vtr_renderer_destroy(&fake->base);
}

/* It does not come back: the transfer cannot be done, and the stream is the renderer's to judge. */
static void test_3d_gone(void)
{
	struct virtio_gpu_transfer_host_3d transfer = gpu_3d_transfer(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 1, 1);
	struct gpu_3d_submit submit = gpu_3d_submit(1, 0);
	struct fake_renderer *fake = fake_renderer_create();
	struct vmm vmm;

	set_up_3d(&vmm, fake);
	make_texture(&vmm);
	invalidate_pixels(&vmm);
	vmm.refuse = true;
	g_assert_cmphex(GPU_CALL(&vmm.machine, transfer)->type, ==, UNSPEC);
	GPU_ASSERT_OK(&vmm.machine, submit);
	g_assert_false(fake_renderer_is_lent(fake, 1));
	vmm.refuse = false;
	GPU_ASSERT_OK(&vmm.machine, transfer);
	tear_down(&vmm);
	vtr_renderer_destroy(&fake->base);
}

/* A blob's memory is asked for when a context wants the blob. */
static void test_3d_guest_blob(void)
{
	struct virtio_gpu_ctx_create context = gpu_3d_ctx_create(1);
	struct gpu_blob_request blob = gpu_create_blob(2, PIXELS);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, 2);
	struct fake_renderer *fake = fake_renderer_create();
	struct vmm vmm;

	set_up_3d(&vmm, fake);
	GPU_ASSERT_OK(&vmm.machine, context);
	GPU_ASSERT_OK(&vmm.machine, blob);
	invalidate_pixels(&vmm);
	vmm.hold = true;
	uint64_t response = post_waiting(&vmm, &join, sizeof(join));
	g_assert_false(fake_renderer_has(fake, 2));
	release(&vmm);
	assert_answer(&vmm, response, VIRTIO_GPU_RESP_OK_NODATA);
	g_assert_true(fake_renderer_is_lent(fake, 2));
	tear_down(&vmm);
	vtr_renderer_destroy(&fake->base);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/gpu_iommu/picture", test_picture);
	g_test_add_func("/gpu_iommu/other-queue-goes-on", test_other_queue_goes_on);
	g_test_add_func("/gpu_iommu/refused", test_refused);
	g_test_add_func("/gpu_iommu/timeout", test_timeout);
	g_test_add_func("/gpu_iommu/invalidated", test_invalidated);
	g_test_add_func("/gpu_iommu/invalidated-for-good", test_invalidated_for_good);
	g_test_add_func("/gpu_iommu/display-asks", test_display_asks);
	g_test_add_func("/gpu_iommu/transfer", test_transfer);
	g_test_add_func("/gpu_iommu/cursor", test_cursor);
	g_test_add_func("/gpu_iommu/many-entries", test_many_entries);
	g_test_add_func("/gpu_iommu/other-queue-in-between", test_other_queue_in_between);
	ADD_ROWS("/gpu_iommu/ended-while-waiting/", endings, test_ended_while_waiting);
	g_test_add_func("/gpu_iommu/ring-refused", test_ring_refused);
	g_test_add_func("/gpu_iommu/invalidated-all-the-time", test_invalidated_all_the_time);
	g_test_add_data_func("/unit/gpu/iommu/3d-stream-after-invalidation", GINT_TO_POINTER(true), test_3d_invalidated);
	g_test_add_data_func("/unit/gpu/iommu/3d-transfer-after-invalidation", GINT_TO_POINTER(false), test_3d_invalidated);
	g_test_add_func("/unit/gpu/iommu/3d-memory-is-gone", test_3d_gone);
	g_test_add_func("/unit/gpu/iommu/3d-guest-blob", test_3d_guest_blob);
	return g_test_run();
}
