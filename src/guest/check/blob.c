/* SPDX-License-Identifier: MIT */
/* Blob resources and their mem entries: RESOURCE_CREATE_BLOB, RESOURCE_ATTACH_BACKING, RESOURCE_ASSIGN_UUID (virtio 1.3, 5.7.6.8).
 */
#include <stdlib.h>
#include <string.h>

#include <vitrine/limits.h>

#include "guest/check/check.h"

enum { ID = 1, OTHER = 2, UNKNOWN = 77, PAGE = 4096 };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

/* Where an entry's address is taken from. */
enum place {
	START,   /* of the RAM area */
	END,     /* of it */
	NOWHERE, /* where no memory is */
	TOP,     /* of the address space: UINT64_MAX */
};

struct entry_row {
	enum place place;
	int64_t offset;
	uint32_t length;
};

struct blob_row {
	uint32_t id, memory, flags;
	uint64_t size;
	uint32_t n_entries;
	struct entry_row entries[4];
	uint32_t claimed; /* nr_entries of the request, when it is not n_entries */
	uint32_t expected;
};

static uint64_t address_of(const struct vtr_guest *guest, const struct entry_row *entry)
{
	const struct vtr_guest_area *ram = &guest->areas[VTR_GUEST_RAM];
	const uint64_t places[] = {
		[START] = ram->address,
		[END] = ram->address + ram->size,
		[NOWHERE] = UINT64_C(0x700000000000),
		[TOP] = UINT64_MAX,
	};

	return places[entry->place] + (uint64_t)entry->offset;
}

static bool create(struct vtr_check *check, const void *row)
{
	const struct blob_row *r = row;
	struct virtio_gpu_mem_entry entries[4];
	struct virtio_gpu_resource_create_blob request = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		.resource_id = r->id,
		.blob_mem = r->memory,
		.blob_flags = r->flags,
		.nr_entries = r->claimed ? r->claimed : r->n_entries,
		.size = r->size,
	};

	for (uint32_t i = 0; i < r->n_entries; i++)
		entries[i] = (struct virtio_gpu_mem_entry){ address_of(check->guest, &r->entries[i]), r->entries[i].length, 0 };
	uint32_t response = vtr_command_entries(check->guest, &request, sizeof(request), entries, r->n_entries);
	if (!vtr_expect_response(check, "RESOURCE_CREATE_BLOB", response, r->expected))
		return false;
	/* what was refused must not be there */
	uint32_t unref =
		r->expected == VIRTIO_GPU_RESP_OK_NODATA ? VIRTIO_GPU_RESP_OK_NODATA : VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	return vtr_expect_response(check, "RESOURCE_UNREF", vtr_command_unref(check->guest, r->id), unref) &&
	       vtr_expect_alive(check);
}

static bool create_twice(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, PAGE, 0 };

	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, PAGE, &entry, 1)) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB with an id in use",
	                           vtr_command_create_blob(guest, ID, PAGE, &entry, 1), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_2D with an id in use",
	                           vtr_command_create_2d(guest, ID, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, 16, 16),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

/* As many entries as the limit allows, each a small piece of the next: W x H pixels in pieces of 16 bytes. */
static bool many_entries(struct vtr_check *check, const void *row)
{
	enum { N = VTR_MAX_ENTRIES, PIECE = 16, STEP = 32, W = 1024, H = N * PIECE / 4 / W };
	struct vtr_guest *guest = check->guest;
	struct vtr_pattern pattern = { W, H, 21 };
	struct vtr_framebuffer framebuffer = { W, H, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W * 4, 0 };
	struct vtr_rect all = { 0, 0, W, H };
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_RAM], (uint64_t)N * STEP, PAGE);
	struct virtio_gpu_mem_entry *entries = calloc(N + 1, sizeof(*entries));

	if (!entries || !address) {
		free(entries);
		return vtr_check_fail(check, "expected memory for 262144 entries, got none");
	}
	for (uint32_t i = 0; i < N; i++) {
		uint32_t from = N - 1 - i; /* backwards, so that nothing can be merged */

		entries[i] = (struct virtio_gpu_mem_entry){ address + (uint64_t)from * STEP, PIECE, 0 };
		vtr_pattern_row(&pattern, i % (W / 4) * 4, i / (W / 4), 4, framebuffer.format,
		                vtr_guest_data(guest, entries[i].addr, PIECE));
	}
	entries[N] = entries[0];
	bool passed = vtr_expect_response(check, "RESOURCE_CREATE_BLOB with 262145 entries",
	                                  vtr_command_create_blob(guest, ID, (uint64_t)N * PIECE, entries, N + 1),
	                                  VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	              vtr_expect_ok(check, "RESOURCE_CREATE_BLOB with 262144 entries",
	                            vtr_command_create_blob(guest, ID, (uint64_t)N * PIECE, entries, N)) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) &&
	              vtr_expect_pattern(check, 0, &pattern);
	free(entries);
	return passed;
}

static uint32_t row_of_8(const void *data, uint32_t x, uint32_t y)
{
	return vtr_pattern_pixel(data, x, y % 8);
}

/* The same page again and again is allowed and shows the same rows again and again. */
static bool overlapping_entries(struct vtr_check *check, const void *row)
{
	enum { W = 128, H = 64, N = H / 8 }; /* a page holds 8 rows */
	struct vtr_guest *guest = check->guest;
	struct vtr_pattern pattern = { W, H, 2 };
	struct vtr_framebuffer framebuffer = { W, H, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W * 4, 0 };
	struct vtr_rect all = { 0, 0, W, H };
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_BAR], PAGE, PAGE);
	struct virtio_gpu_mem_entry entries[N];
	uint8_t line[W * 4];

	for (uint32_t y = 0; y < 8; y++) {
		vtr_pattern_row(&pattern, 0, y, W, framebuffer.format, line);
		if (!vtr_expect_success(check, "drawing", vtr_guest_write(guest, address + y * W * 4, line, sizeof(line))))
			return false;
	}
	for (uint32_t i = 0; i < N; i++)
		entries[i] = (struct virtio_gpu_mem_entry){ address, PAGE, 0 };
	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, N * PAGE, entries, N)) &&
	       vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) &&
	       vtr_expect_pixels(check, 0, false, W, H, row_of_8, &pattern);
}

/* Linux may create a blob without entries and attach them later. */
static bool entries_later(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_pattern pattern = { 160, 100, 31 };
	struct vtr_image image = { 0 };
	struct vtr_image_layout layout = { VTR_GUEST_BAR, 160, 100, .ranges = 7 };

	if (!vtr_expect_success(check, "laying out an image", vtr_image_init(&image, guest, &layout)))
		return false;
	vtr_image_draw_all(&image, &pattern);
	bool passed =
		vtr_expect_ok(check, "RESOURCE_CREATE_BLOB without entries",
	                      vtr_command_create_blob(guest, ID, image.size, NULL, 0)) &&
		vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, image.entries, image.n_entries)) &&
		vtr_expect_ok(check, "SET_SCANOUT_BLOB and RESOURCE_FLUSH", vtr_image_show(&image, ID, 0)) &&
		vtr_expect_pattern(check, 0, &pattern);
	vtr_image_finish(&image);
	return passed;
}

static bool attach_errors(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	uint64_t ram = guest->areas[VTR_GUEST_RAM].address;
	struct virtio_gpu_mem_entry good = { ram, PAGE, 0 }, half = { ram, PAGE / 2, 0 }, empty = { ram, 0, 0 },
				    lost = { UINT64_C(0x700000000000), PAGE, 0 };
	struct virtio_gpu_resource_attach_backing claims = {
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING,
		.resource_id = ID,
		.nr_entries = UINT32_MAX,
	};

	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB without entries", vtr_command_create_blob(guest, ID, PAGE, NULL, 0)) &&
	       vtr_expect_error(check, "RESOURCE_ATTACH_BACKING of no entries", vtr_command_attach(guest, ID, NULL, 0)) &&
	       vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of less than the blob", vtr_command_attach(guest, ID, &half, 1),
	                           VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of an entry of no length",
	                           vtr_command_attach(guest, ID, &empty, 1), VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER) &&
	       vtr_expect_response(check, "RESOURCE_ATTACH_BACKING of an entry that is nowhere",
	                           vtr_command_attach(guest, ID, &lost, 1), VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_response(check, "RESOURCE_ATTACH_BACKING that claims 2^32-1 entries",
	                           vtr_command_entries(guest, &claims, sizeof(claims), &good, 1), VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING", vtr_command_attach(guest, ID, &good, 1)) &&
	       vtr_expect_ok(check, "RESOURCE_DETACH_BACKING", vtr_command_detach(guest, ID));
}

/* Linux sends this for dumb buffers that are blobs. */
static bool transfer_is_no_op(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, 64, 64 }, ID, 3) &&
	              vtr_expect_ok(check, "TRANSFER_TO_HOST_2D of a blob",
	                            vtr_command_transfer(check->guest, ID, vtr_check_whole(&image), 0));

	vtr_image_finish(&image);
	return passed;
}

static bool uuid(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, PAGE, 0 };
	uint8_t a[16], again[16], b[16], nothing[16] = { 0 };

	if (!vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, PAGE, &entry, 1)) ||
	    !vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, OTHER, PAGE, &entry, 1)))
		return false;
	return vtr_expect_response(check, "RESOURCE_ASSIGN_UUID", vtr_command_uuid(guest, ID, a),
	                           VIRTIO_GPU_RESP_OK_RESOURCE_UUID) &&
	       vtr_expect_response(check, "RESOURCE_ASSIGN_UUID", vtr_command_uuid(guest, ID, again),
	                           VIRTIO_GPU_RESP_OK_RESOURCE_UUID) &&
	       vtr_expect_response(check, "RESOURCE_ASSIGN_UUID", vtr_command_uuid(guest, OTHER, b),
	                           VIRTIO_GPU_RESP_OK_RESOURCE_UUID) &&
	       vtr_expect_value(check, "a UUID is not 0", memcmp(a, nothing, 16) != 0, true) &&
	       vtr_expect_value(check, "a resource keeps its UUID", memcmp(a, again, 16) == 0, true) &&
	       vtr_expect_value(check, "two resources have two UUIDs", memcmp(a, b, 16) != 0, true) &&
	       vtr_expect_response(check, "RESOURCE_ASSIGN_UUID of an unknown id", vtr_command_uuid(guest, UNKNOWN, a),
	                           VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
}

/* More resources, or more entries in all of them together, than the device holds: refused, and room again after freeing. */
static bool too_many(struct vtr_check *check, const void *row)
{
	uint32_t n_entries = *(const uint32_t *)row, n = 0, response = VIRTIO_GPU_RESP_OK_NODATA;
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry *entries = calloc(n_entries, sizeof(*entries));

	if (!entries)
		return vtr_check_fail(check, "expected memory for %u entries, got none", n_entries);
	for (uint32_t i = 0; i < n_entries; i++)
		entries[i] = (struct virtio_gpu_mem_entry){ guest->areas[VTR_GUEST_RAM].address + i % 2 * PAGE, 16, 0 };
	while (response == VIRTIO_GPU_RESP_OK_NODATA && n < 4 * VTR_MAX_RESOURCES)
		response = vtr_command_create_blob(guest, ++n, 16, entries, n_entries);
	bool passed =
		vtr_expect_response(check, "RESOURCE_CREATE_BLOB, again and again", response, VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY) &&
		vtr_expect_ok(check, "RESOURCE_UNREF of the first", vtr_command_unref(guest, 1)) &&
		vtr_expect_ok(check, "RESOURCE_CREATE_BLOB after that", vtr_command_create_blob(guest, 1, 16, entries, n_entries));
	free(entries);
	return passed;
}

/* Many lives of one id: what it held is given back. */
static bool create_and_unref(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { guest->areas[VTR_GUEST_RAM].address, 64 * PAGE, 0 };

	for (int i = 0; i < 500; i++)
		if (!vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, 64 * PAGE, &entry, 1)) ||
		    !vtr_expect_ok(check, "RESOURCE_UNREF", vtr_command_unref(guest, ID)))
			return false;
	return true;
}

#define OK VIRTIO_GPU_RESP_OK_NODATA
#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER
#define UNSPEC VIRTIO_GPU_RESP_ERR_UNSPEC
#define GUEST_MEMORY VIRTIO_GPU_BLOB_MEM_GUEST, VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE
#define CREATE(...) create, &(const struct blob_row){ __VA_ARGS__ }, BLOB

static const struct vtr_check_case cases[] = {
	{ "create", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, 0, PAGE } }, .expected = OK) },
	{ "create-odd-entries", CREATE(ID, GUEST_MEMORY, 10, 2, { { START, 1, 3 }, { START, 4097, 7 } }, .expected = OK) },
	{ "create-more-entries-than-size",
	  CREATE(ID, GUEST_MEMORY, PAGE, 2, { { START, 0, PAGE }, { START, 0, PAGE } }, .expected = OK) },
	{ "create-to-the-end", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { END, -PAGE, PAGE } }, .expected = OK) },
	{ "create-id-0",
	  CREATE(0, GUEST_MEMORY, PAGE, 1, { { START, 0, PAGE } }, .expected = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID) },
	{ "create-twice", create_twice, NULL, BLOB },
	{ "create-no-memory-type", CREATE(ID, 0, 0, PAGE, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-host3d", CREATE(ID, VIRTIO_GPU_BLOB_MEM_HOST3D, 0, PAGE, 0, .expected = PARAMETER) },
	{ "create-host3d-guest",
	  CREATE(ID, VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST, 0, PAGE, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-unknown-memory-type", CREATE(ID, 99, 0, PAGE, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-unknown-flag",
	  CREATE(ID, VIRTIO_GPU_BLOB_MEM_GUEST, 1u << 31, PAGE, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-size-0", CREATE(ID, GUEST_MEMORY, 0, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-size-2^63", CREATE(ID, GUEST_MEMORY, UINT64_C(1) << 63, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-size-2^64-1", CREATE(ID, GUEST_MEMORY, UINT64_MAX, 1, { { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-entries-too-small",
	  CREATE(ID, GUEST_MEMORY, 2 * PAGE + 1, 2, { { START, 0, PAGE }, { START, 0, PAGE } }, .expected = PARAMETER) },
	{ "create-entry-of-no-length",
	  CREATE(ID, GUEST_MEMORY, PAGE, 2, { { START, 0, PAGE }, { START, PAGE, 0 } }, .expected = PARAMETER) },
	{ "create-entry-nowhere", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { NOWHERE, 0, PAGE } }, .expected = UNSPEC) },
	{ "create-second-entry-nowhere",
	  CREATE(ID, GUEST_MEMORY, 2 * PAGE, 2, { { START, 0, PAGE }, { NOWHERE, 0, PAGE } }, .expected = UNSPEC) },
	{ "create-entry-before-memory", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, -1, PAGE } }, .expected = UNSPEC) },
	{ "create-entry-past-memory", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { END, -PAGE + 1, PAGE } }, .expected = UNSPEC) },
	{ "create-entry-wraps", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { TOP, -PAGE + 2, PAGE } }, .expected = UNSPEC) },
	{ "create-entry-of-4-GiB", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, 0, UINT32_MAX } }, .expected = UNSPEC) },
	{ "create-claims-entries", CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, 0, PAGE } }, .claimed = 2, .expected = UNSPEC) },
	{ "create-claims-2^32-1-entries",
	  CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, 0, PAGE } }, .claimed = UINT32_MAX, .expected = UNSPEC) },
	{ "create-claims-2^28-entries",
	  CREATE(ID, GUEST_MEMORY, PAGE, 1, { { START, 0, PAGE } }, .claimed = 1u << 28, .expected = UNSPEC) },
	{ "many-entries", many_entries, NULL, BLOB },
	{ "overlapping-entries", overlapping_entries, NULL, BLOB },
	{ "entries-later", entries_later, NULL, BLOB },
	{ "attach-errors", attach_errors, NULL, BLOB },
	{ "transfer-is-no-op", transfer_is_no_op, NULL, BLOB },
	{ "uuid", uuid, NULL, BLOB | VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) },
	{ "too-many-resources", too_many, &(const uint32_t){ 1 }, BLOB },
	{ "too-many-entries", too_many, &(const uint32_t){ VTR_MAX_ENTRIES }, BLOB },
	{ "create-and-unref", create_and_unref, NULL, BLOB },
};

const struct vtr_check_family vtr_check_blob = { "blob", cases, VTR_CHECK_COUNT(cases) };
