/* SPDX-License-Identifier: MIT */
/* What each command of the control queue takes and what it refuses, a row each. */
#include "gpu_machine.h"

enum { PIXELS = 0x10000 };

static void start(struct gpu_machine *machine, const struct vtr_gpu_options *options)
{
	gpu_machine_create(machine, options, 2, VTR_DEMAND_NONE);
	gpu_machine_start(machine, gpu_features);
}

static struct vtr_gpu_status device_status(struct gpu_machine *machine)
{
	struct vtr_gpu_status status;

	vtr_gpu_status(machine->gpu, &status);
	return status;
}

static uint32_t unref(struct gpu_machine *machine, uint32_t id)
{
	struct virtio_gpu_resource_unref request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = id };

	return GPU_CALL(machine, request)->type;
}

/* Names short enough for a table: responses, and the two formats that guests use (as DRM calls them). */
enum {
	OK = VIRTIO_GPU_RESP_OK_NODATA,
	UNSPEC = VIRTIO_GPU_RESP_ERR_UNSPEC,
	MEMORY = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
	SCANOUT = VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID,
	RESOURCE = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
	PARAMETER = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
	XRGB = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
	ARGB = VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM,
};

/* ---- RESOURCE_CREATE_2D ---- */

static const struct create_2d_row {
	const char *name;
	uint32_t id, format, width, height, answer;
} create_2d_rows[] = {
	{ "good", 1, ARGB, 64, 64, OK },
	{ "one-pixel", 1, ARGB, 1, 1, OK },
	{ "widest", 1, ARGB, VTR_MAX_DIMENSION, 1, OK },
	{ "highest", 1, ARGB, 1, VTR_MAX_DIMENSION, OK },
	{ "bgrx", 1, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 1, 1, OK },
	{ "argb", 1, VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, 1, 1, OK },
	{ "xrgb", 1, VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM, 1, 1, OK },
	{ "rgba", 1, VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, 1, 1, OK },
	{ "xbgr", 1, VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM, 1, 1, OK },
	{ "abgr", 1, VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, 1, 1, OK },
	{ "rgbx", 1, VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM, 1, 1, OK },
	{ "no-id", 0, ARGB, 64, 64, RESOURCE },
	{ "no-format", 1, 0, 64, 64, PARAMETER },
	{ "unknown-format", 1, 5, 64, 64, PARAMETER },
	{ "no-width", 1, ARGB, 0, 64, PARAMETER },
	{ "no-height", 1, ARGB, 64, 0, PARAMETER },
	{ "too-wide", 1, ARGB, VTR_MAX_DIMENSION + 1, 1, PARAMETER },
	{ "too-high", 1, ARGB, 1, UINT32_MAX, PARAMETER },
	{ "too-much", 1, ARGB, 1024, 1025, MEMORY },
};

static void test_create_2d(gconstpointer data)
{
	const struct create_2d_row *row = data;
	struct virtio_gpu_resource_create_2d create = gpu_create_2d(row->id);
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ .max_hostmem = 4 << 20 });
	create.format = row->format;
	create.width = row->width;
	create.height = row->height;
	g_assert_cmphex(GPU_CALL(&machine, create)->type, ==, row->answer);
	g_assert_cmpuint(device_status(&machine).resources, ==, row->answer == OK);
	if (row->answer == OK) {
		g_assert_cmphex(GPU_CALL(&machine, create)->type, ==, RESOURCE); /* taken */
		g_assert_cmpuint(device_status(&machine).hostmem, >=, 4 * row->width * row->height);
		g_assert_cmphex(unref(&machine, row->id), ==, OK);
	}
	g_assert_cmpuint(device_status(&machine).hostmem, ==, 0);
	gpu_machine_destroy(&machine);
}

static void test_many_images(void)
{
	struct gpu_machine machine;
	struct virtio_gpu_resource_create_2d create;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	for (uint32_t id = 1; id <= VTR_MAX_IMAGES; id++) {
		create = gpu_create_2d(id);
		GPU_ASSERT_OK(&machine, create);
	}
	create = gpu_create_2d(VTR_MAX_IMAGES + 1);
	g_assert_cmphex(GPU_CALL(&machine, create)->type, ==, MEMORY);
	g_assert_cmphex(unref(&machine, 7), ==, OK);
	GPU_ASSERT_OK(&machine, create);
	vtr_virtio_reset(machine.device);
	g_assert_cmpuint(device_status(&machine).resources, ==, 0);
	g_assert_cmpuint(device_status(&machine).hostmem, ==, 0);
	gpu_machine_destroy(&machine);
}

/* ---- RESOURCE_CREATE_BLOB ---- */

static const struct blob_row {
	const char *name;
	uint32_t id, mem, flags, entries;
	uint64_t size, address;
	uint32_t length, answer;
} blob_rows[] = {
	{ "good", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 7, 1, 4096, PIXELS, 4096, OK },
	{ "odd-size", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4095, PIXELS + 1, 4096, OK },
	{ "backing-comes-later", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 0, VTR_MAX_BLOB_SIZE, 0, 0, OK },
	{ "no-id", 0, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4096, PIXELS, 4096, RESOURCE },
	{ "host-memory", 1, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, 0, 4096, 0, 0, PARAMETER },
	{ "no-memory", 1, 0, 0, 1, 4096, PIXELS, 4096, PARAMETER },
	{ "unknown-flag", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 8, 1, 4096, PIXELS, 4096, PARAMETER },
	{ "no-size", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 0, PIXELS, 4096, PARAMETER },
	{ "too-large", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 0, VTR_MAX_BLOB_SIZE + 1, 0, 0, PARAMETER },
	{ "2^63", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 0, UINT64_C(1) << 63, 0, 0, PARAMETER },
	{ "entries-too-small", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4097, PIXELS, 4096, PARAMETER },
	{ "empty-entry", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4096, PIXELS, 0, PARAMETER },
	{ "entry-nowhere", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4096, GPU_RAM - 1, 4096, UNSPEC },
	{ "entry-wraps", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 1, 4096, UINT64_MAX, 4096, UNSPEC },
	{ "entries-missing", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, 2, 4096, PIXELS, 4096, UNSPEC },
	{ "entries-2^32", 1, VIRTIO_GPU_BLOB_MEM_GUEST, 0, UINT32_MAX, 4096, PIXELS, 4096, UNSPEC },
};

static void test_create_blob(gconstpointer data)
{
	const struct blob_row *row = data;
	struct gpu_blob_request create = gpu_create_blob(row->id, row->address);
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	create.blob.blob_mem = row->mem;
	create.blob.blob_flags = row->flags;
	create.blob.nr_entries = row->entries;
	create.blob.size = row->size;
	create.entry.length = row->length;
	g_assert_cmphex(GPU_CALL(&machine, create)->type, ==, row->answer);
	g_assert_cmpuint(device_status(&machine).resources, ==, row->answer == OK);
	g_assert_cmpuint(device_status(&machine).entries, ==, row->answer == OK ? row->entries : 0);
	g_assert_cmpuint(device_status(&machine).errors, ==, row->answer != OK);
	if (row->answer == OK)
		g_assert_cmphex(unref(&machine, row->id), ==, OK);
	g_assert_cmphex(unref(&machine, row->id), ==, RESOURCE);
	g_assert_cmpuint(device_status(&machine).entries, ==, 0);
	gpu_machine_destroy(&machine);
}

/* Few entries over many small regions are many spans: those are counted, too. */
static void test_many_spans(void)
{
	enum { REGIONS = 2048, ENTRIES = 128, BLOBS = VTR_MAX_TOTAL_ENTRIES / (REGIONS * ENTRIES) };
	static struct {
		struct virtio_gpu_resource_create_blob blob;
		struct virtio_gpu_mem_entry entries[ENTRIES];
	} create;
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	for (unsigned i = 0; i < REGIONS; i++)
		g_assert_cmpint(vtr_memory_add(machine.memory, GPU_RAM + i, 1, -1, 0, true), ==, 0);
	create.blob = gpu_create_blob(0, 0).blob;
	create.blob.nr_entries = ENTRIES;
	for (unsigned i = 0; i < ENTRIES; i++)
		create.entries[i] = (struct virtio_gpu_mem_entry){ .addr = GPU_RAM, .length = REGIONS };
	for (uint32_t id = 1; id <= BLOBS; id++) {
		create.blob.resource_id = id;
		GPU_ASSERT_OK(&machine, create);
	}
	create.blob.resource_id = BLOBS + 1;
	g_assert_cmphex(GPU_CALL(&machine, create)->type, ==, MEMORY);
	g_assert_cmphex(unref(&machine, 1), ==, OK);
	GPU_ASSERT_OK(&machine, create);
	gpu_machine_destroy(&machine);
}

/* ---- SET_SCANOUT_BLOB: a framebuffer of 64x32 pixels in a blob that holds just that at offset 128 ---- */

enum { BLOB_SIZE = GPU_BYTES + 128 };

static const struct layout_row {
	const char *name;
	uint32_t scanout, id, format, width, height, stride, offset;
	struct virtio_gpu_rect r;
	uint32_t answer;
} layout_rows[] = {
	{ "good", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, OK },
	{ "part", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 63, 31, 1, 1 }, OK },
	{ "last-row-just-fits", 0, 1, XRGB, 64, 32, GPU_STRIDE, 128, { 0, 0, 64, 32 }, OK },
	{ "one-byte-too-much", 0, 1, XRGB, 64, 32, GPU_STRIDE, 129, { 0, 0, 64, 32 }, PARAMETER },
	/* the last row need not be as long as the stride */
	{ "wide-stride-just-fits", 0, 1, XRGB, 32, 32, 260, 132, { 0, 0, 32, 32 }, OK },
	{ "wide-stride-does-not", 0, 1, XRGB, 32, 32, 260, 133, { 0, 0, 32, 32 }, PARAMETER },
	{ "stride-too-small", 0, 1, XRGB, 64, 32, GPU_STRIDE - 1, 0, { 0, 0, 64, 32 }, PARAMETER },
	{ "no-stride", 0, 1, XRGB, 64, 32, 0, 0, { 0, 0, 64, 32 }, PARAMETER },
	{ "stride-too-large", 0, 1, XRGB, 64, 32, UINT32_MAX, 0, { 0, 0, 64, 32 }, PARAMETER },
	{ "one-row-of-any-stride", 0, 1, XRGB, 64, 1, UINT32_MAX, 0, { 0, 0, 64, 1 }, OK },
	{ "offset-too-large", 0, 1, XRGB, 64, 32, GPU_STRIDE, UINT32_MAX, { 0, 0, 64, 32 }, PARAMETER },
	{ "all-too-large", 0, 1, XRGB, VTR_MAX_DIMENSION, VTR_MAX_DIMENSION, UINT32_MAX, UINT32_MAX, { 0, 0, 64, 32 }, PARAMETER },
	{ "no-width", 0, 1, XRGB, 0, 32, GPU_STRIDE, 0, { 0, 0, 1, 1 }, PARAMETER },
	{ "no-height", 0, 1, XRGB, 64, 0, GPU_STRIDE, 0, { 0, 0, 1, 1 }, PARAMETER },
	{ "too-wide", 0, 1, XRGB, VTR_MAX_DIMENSION + 1, 1, UINT32_MAX, 0, { 0, 0, 1, 1 }, PARAMETER },
	{ "empty-rect", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 0, 32 }, PARAMETER },
	{ "flat-rect", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 0 }, PARAMETER },
	{ "rect-too-wide", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 1, 0, 64, 32 }, PARAMETER },
	{ "rect-too-high", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 1, 64, 32 }, PARAMETER },
	{ "rect-wraps", 0, 1, XRGB, 64, 32, GPU_STRIDE, 0, { UINT32_MAX, 0, 2, 1 }, PARAMETER },
	{ "unknown-format", 0, 1, 77, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, PARAMETER },
	{ "second-scanout", 1, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, OK },
	{ "beyond-the-last-scanout", 2, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, SCANOUT },
	{ "no-such-scanout", UINT32_MAX, 1, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, SCANOUT },
	{ "unknown-resource", 0, 9, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, RESOURCE },
	{ "image", 0, 2, XRGB, 64, 32, GPU_STRIDE, 0, { 0, 0, 64, 32 }, PARAMETER },
	{ "disable", 0, 0, 0, 0, 0, 0, 0, { 0, 0, 0, 0 }, OK },
};

static void test_layout(gconstpointer data)
{
	const struct layout_row *row = data;
	struct gpu_blob_request blob = gpu_create_blob(1, PIXELS);
	struct virtio_gpu_resource_create_2d image = gpu_create_2d(2);
	struct virtio_gpu_set_scanout_blob set = gpu_set_scanout_blob(row->scanout, row->id);
	struct vtr_scanout_status status = { 0 };
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	blob.blob.size = blob.entry.length = BLOB_SIZE;
	GPU_ASSERT_OK(&machine, blob);
	GPU_ASSERT_OK(&machine, image);
	set.format = row->format;
	set.width = row->width;
	set.height = row->height;
	set.strides[0] = row->stride;
	set.offsets[0] = row->offset;
	set.r = row->r;
	g_assert_cmphex(GPU_CALL(&machine, set)->type, ==, row->answer);
	vtr_gpu_scanout_status(machine.gpu, row->scanout, &status);
	g_assert_cmpint(status.enabled, ==, row->answer == OK && row->id);
	if (status.enabled) {
		g_assert_cmpuint(status.resource, ==, row->id);
		g_assert_cmpuint(status.width, ==, row->r.width);
		g_assert_cmpuint(status.height, ==, row->r.height);
		g_assert_cmpstr(status.name, ==, row->scanout ? "vitrine-1" : "vitrine-0");
		g_assert_cmpstr(status.display, ==, "test");
		/* destroyed while shown: black */
		g_assert_cmphex(unref(&machine, row->id), ==, OK);
		vtr_gpu_scanout_status(machine.gpu, row->scanout, &status);
		g_assert_false(status.enabled);
		g_assert_cmpuint(status.resource, ==, 0);
		g_assert_cmpuint(status.format, ==, 0);
	}
	gpu_machine_destroy(&machine);
}

/* ---- TRANSFER_TO_HOST_2D: an image of 64x32 whose backing is as large ---- */

static const struct transfer_row {
	const char *name;
	uint32_t id;
	struct virtio_gpu_rect r;
	uint64_t offset;
	uint32_t answer;
} transfer_rows[] = {
	{ "all", 1, { 0, 0, 64, 32 }, 0, OK },
	{ "last-pixel", 1, { 63, 31, 1, 1 }, GPU_BYTES - 4, OK },
	{ "beyond-by-a-byte", 1, { 63, 31, 1, 1 }, GPU_BYTES - 3, PARAMETER },
	{ "two-rows-at-the-end", 1, { 0, 30, 64, 2 }, GPU_BYTES - 2 * GPU_STRIDE, OK },
	{ "two-rows-beyond", 1, { 0, 30, 64, 2 }, GPU_BYTES - 2 * GPU_STRIDE + 1, PARAMETER },
	{ "offset-overflows", 1, { 0, 0, 64, 32 }, UINT64_MAX, PARAMETER },
	{ "empty", 1, { 0, 0, 0, 0 }, 0, PARAMETER },
	{ "too-wide", 1, { 1, 0, 64, 32 }, 0, PARAMETER },
	{ "wraps", 1, { UINT32_MAX, 0, 2, 1 }, 0, PARAMETER },
	{ "unknown-resource", 9, { 0, 0, 64, 32 }, 0, RESOURCE },
	{ "no-backing", 2, { 0, 0, 64, 32 }, 0, UNSPEC },
	{ "blob", 3, { 0, 0, 64, 32 }, UINT64_MAX, OK }, /* the Linux driver does it, and nothing is to be done */
};

static void test_transfer(gconstpointer data)
{
	const struct transfer_row *row = data;
	struct virtio_gpu_resource_create_2d image = gpu_create_2d(1), bare = gpu_create_2d(2);
	struct gpu_blob_request blob = gpu_create_blob(3, PIXELS);
	struct {
		struct virtio_gpu_resource_attach_backing attach;
		struct virtio_gpu_mem_entry entry;
	} attach = {
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = 1, .nr_entries = 1 },
		.entry = { .addr = PIXELS, .length = GPU_BYTES },
	};
	struct virtio_gpu_set_scanout set = { .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		                              .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                              .resource_id = 1 };
	struct virtio_gpu_transfer_to_host_2d transfer = {
		.hdr.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
		.r = row->r,
		.offset = row->offset,
		.resource_id = row->id,
	};
	struct gpu_machine machine;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	GPU_ASSERT_OK(&machine, image);
	GPU_ASSERT_OK(&machine, bare);
	GPU_ASSERT_OK(&machine, blob);
	GPU_ASSERT_OK(&machine, attach);
	GPU_ASSERT_OK(&machine, set);
	g_assert_cmphex(GPU_CALL(&machine, attach)->type, ==, UNSPEC); /* it has one */
	g_assert_cmphex(GPU_CALL(&machine, transfer)->type, ==, row->answer);
	g_assert_cmpuint(gpu_machine_status(&machine, 0).bytes_copied, ==,
	                 row->answer == OK && row->id == 1 ? 4 * row->r.width * row->r.height : 0);
	gpu_machine_destroy(&machine);
}

/* ---- others ---- */

static void test_uuid(void)
{
	struct gpu_machine machine;
	struct gpu_blob_request blobs[] = { gpu_create_blob(1, PIXELS), gpu_create_blob(2, PIXELS) };
	struct virtio_gpu_resource_assign_uuid assign = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, .resource_id = 1 };
	struct virtio_gpu_resp_resource_uuid first, again, other;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	GPU_ASSERT_OK(&machine, blobs[0]);
	GPU_ASSERT_OK(&machine, blobs[1]);
	memcpy(&first, GPU_CALL(&machine, assign), sizeof(first));
	memcpy(&again, GPU_CALL(&machine, assign), sizeof(again));
	assign.resource_id = 2;
	memcpy(&other, GPU_CALL(&machine, assign), sizeof(other));
	g_assert_cmphex(first.hdr.type, ==, VIRTIO_GPU_RESP_OK_RESOURCE_UUID);
	g_assert_cmpmem(first.uuid, 16, again.uuid, 16);
	g_assert_cmpint(memcmp(first.uuid, other.uuid, 16), !=, 0);
	g_assert_cmphex(first.uuid[6] >> 4, ==, 4);
	g_assert_cmphex(first.uuid[8] >> 6, ==, 2);
	assign.resource_id = 3;
	g_assert_cmphex(GPU_CALL(&machine, assign)->type, ==, RESOURCE);
	gpu_machine_destroy(&machine);
}

/* Commands of features that the driver did not accept are unknown. */
static void test_features(void)
{
	struct gpu_machine machine;
	struct gpu_blob_request blob = gpu_create_blob(1, PIXELS);
	struct virtio_gpu_cmd_get_edid edid = { .hdr.type = VIRTIO_GPU_CMD_GET_EDID };
	struct virtio_gpu_resource_assign_uuid assign = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ASSIGN_UUID, .resource_id = 1 };

	start(&machine, &(struct vtr_gpu_options){ 0 });
	gpu_machine_start(&machine, UINT64_C(1) << VIRTIO_F_VERSION_1);
	g_assert_cmphex(GPU_CALL(&machine, blob)->type, ==, UNSPEC);
	g_assert_cmphex(GPU_CALL(&machine, edid)->type, ==, UNSPEC);
	g_assert_cmphex(GPU_CALL(&machine, assign)->type, ==, UNSPEC);
	gpu_machine_start(&machine, gpu_features);
	g_assert_cmphex(GPU_CALL(&machine, edid)->type, ==, VIRTIO_GPU_RESP_OK_EDID);
	edid.scanout = 2;
	g_assert_cmphex(GPU_CALL(&machine, edid)->type, ==, SCANOUT);
	gpu_machine_destroy(&machine);
}

static void interrupted(void *data)
{
	++*(unsigned *)data;
}

static void queue_interrupted(void *data, unsigned queue)
{
}

/* A new mode: an event, a new generation, an interrupt; the driver clears the event. */
static void test_mode_change(void)
{
	static const struct vtr_virtio_transport_impl transport = { queue_interrupted, interrupted };
	static const uint32_t event = VIRTIO_GPU_EVENT_DISPLAY, other = ~event;
	const struct virtio_gpu_ctrl_hdr get_info = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct vtr_mode mode = { 1024, 768, 75000 };
	struct virtio_gpu_resp_display_info info;
	struct virtio_gpu_config config;
	struct gpu_machine machine;
	unsigned interrupts = 0;

	start(&machine, &(struct vtr_gpu_options){ 0 });
	vtr_virtio_set_transport(machine.device, &transport, &interrupts);
	uint8_t generation = machine.device->config_generation;
	vtr_output_set_mode(vtr_outputs_get(machine.outputs, 1), &mode);
	GPU_WAIT(&machine, interrupts == 1);
	g_assert_cmpuint(machine.device->config_generation, !=, generation);
	machine.device->impl->config_read(machine.device, 0, &config, sizeof(config));
	g_assert_cmphex(config.events_read, ==, event);
	g_assert_cmphex(config.events_clear, ==, 0);
	g_assert_cmpuint(config.num_scanouts, ==, 2);

	memcpy(&info, GPU_CALL(&machine, get_info), sizeof(info));
	g_assert_cmphex(info.hdr.type, ==, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
	g_assert_true(info.pmodes[0].enabled && info.pmodes[1].enabled && !info.pmodes[2].enabled);
	g_assert_cmpuint(info.pmodes[1].r.x, ==, 1280);
	g_assert_cmpuint(info.pmodes[1].r.width, ==, 1024);
	g_assert_cmpuint(info.pmodes[1].r.height, ==, 768);

	const uint32_t clear_offset = offsetof(struct virtio_gpu_config, events_clear);
	machine.device->impl->config_write(machine.device, clear_offset, &other, sizeof(other));
	machine.device->impl->config_write(machine.device, 0, &event, sizeof(event));
	machine.device->impl->config_read(machine.device, 0, &config, sizeof(config));
	g_assert_cmphex(config.events_read, ==, event);
	machine.device->impl->config_write(machine.device, clear_offset, &event, sizeof(event));
	machine.device->impl->config_read(machine.device, 0, &config, sizeof(config));
	g_assert_cmphex(config.events_read, ==, 0);

	/* a monitor that is pulled leaves no gap */
	vtr_output_move(vtr_outputs_get(machine.outputs, 0), NULL);
	GPU_WAIT(&machine, interrupts == 2);
	memcpy(&info, GPU_CALL(&machine, get_info), sizeof(info));
	g_assert_true(!info.pmodes[0].enabled && info.pmodes[1].enabled);
	g_assert_cmpuint(info.pmodes[0].r.width, ==, 0);
	g_assert_cmpuint(info.pmodes[1].r.x, ==, 0);
	vtr_virtio_set_transport(machine.device, NULL, NULL);
	gpu_machine_destroy(&machine);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/gpu/create-2d/", create_2d_rows, test_create_2d);
	ADD_ROWS("/unit/gpu/create-blob/", blob_rows, test_create_blob);
	ADD_ROWS("/unit/gpu/set-scanout-blob/", layout_rows, test_layout);
	ADD_ROWS("/unit/gpu/transfer/", transfer_rows, test_transfer);
	g_test_add_func("/unit/gpu/many-images", test_many_images);
	g_test_add_func("/unit/gpu/many-spans", test_many_spans);
	g_test_add_func("/unit/gpu/uuid", test_uuid);
	g_test_add_func("/unit/gpu/features", test_features);
	g_test_add_func("/unit/gpu/mode-change", test_mode_change);
	return g_test_run();
}
