/* SPDX-License-Identifier: MIT */
/* Pictures in the BAR of an assigned device, and what its VMM and driver may do to the BAR meanwhile. */
#include <errno.h>
#include <stdlib.h>

#include "guest/check/check.h"
#include "util/fd.h"

enum { ID = 1, W = 256, H = 128, PAGE = 4096, STRIDE = W * 4 };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)

static const struct vtr_image_layout layout = { VTR_GUEST_BAR, W, H, .ranges = 21 };

static bool unmap(struct vtr_check *check)
{
	return vtr_expect_success(check, "taking the BAR away", vtr_guest_unmap(check->guest, VTR_GUEST_BAR));
}

static bool map(struct vtr_check *check)
{
	return vtr_expect_success(check, "giving the BAR", vtr_guest_map(check->guest, VTR_GUEST_BAR));
}

/* Whatever has happened: the BAR is where it was at the beginning. */
static void go_home(struct vtr_check *check)
{
	struct vtr_guest *guest = check->guest;

	if (guest->areas[VTR_GUEST_BAR].mapped)
		vtr_guest_unmap(guest, VTR_GUEST_BAR);
	vtr_guest_assigned_place(guest, false);
}

/* What the device says of itself is what was made of it. */
static bool looks(struct vtr_check *check, const void *row)
{
	struct vtr_guest_assigned *assigned = check->guest->assigned;
	const struct vtr_vfio_region *bar = vtr_vfio_device_region(assigned->device, assigned->bar);
	uint64_t address = bar->address;

	return vtr_expect_value(check, "BARs that moved by themselves", (uint64_t)vtr_vfio_device_refresh(assigned->device), 0) &&
	       vtr_expect_value(check, "the BAR is decoded", bar->decoded, true) &&
	       vtr_expect_value(check, "its address", bar->address, address) &&
	       vtr_expect_value(check, "where its memory begins", check->guest->areas[VTR_GUEST_BAR].address,
	                        address + assigned->area) &&
	       vtr_expect_value(check, "the BAR may be mapped",
	                        !!(vtr_vfio_device_capabilities(assigned->device) & VTR_VFIO_REGION_MMAP), bar->n_areas > 0);
}

/* A dmabuf of it can be made, or it is known that none can. */
static bool dmabuf(struct vtr_check *check, const void *row)
{
	struct vtr_guest_assigned *assigned = check->guest->assigned;
	const struct vtr_vfio_range ranges[] = { { assigned->bar, assigned->area + 2 * PAGE, PAGE },
		                                 { assigned->bar, assigned->area, PAGE } };
	bool can = vtr_vfio_device_probe_dmabuf(assigned->device, NULL) == 0;
	struct vtr_error error = { 0 };
	int fd = vtr_vfio_device_create_dmabuf(assigned->device, ranges, 2, &error);

	if (fd < 0 && can)
		return vtr_check_fail(check, "a dmabuf of two pages: expected one, got: %s", error.text);
	bool passed = can || vtr_expect_value(check, "the refusal is that of the probe", (uint64_t)error.code, EOPNOTSUPP);
	vtr_fd_close(&fd);
	return passed;
}

/* Drawn by messages instead of into the mapping. */
static bool picture_by_messages(struct vtr_check *check, const void *row)
{
	struct vtr_guest_assigned *assigned = check->guest->assigned;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &layout, ID, 1);

	assigned->by_messages = true;
	vtr_image_draw_all(&image, &(struct vtr_pattern){ W, H, 2 });
	assigned->by_messages = false;
	/* a read comes back behind the writes before it */
	passed = passed && vtr_expect_value(check, "news of the BARs", (uint64_t)vtr_vfio_device_refresh(assigned->device), 0) &&
	         vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, vtr_check_whole(&image))) &&
	         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 2 });
	vtr_image_finish(&image);
	return passed;
}

/* The upper half of the picture in RAM, the lower in the BAR. */
static bool show_halves(struct vtr_check *check, struct vtr_image halves[2])
{
	struct vtr_guest *guest = check->guest;
	struct vtr_pattern pattern = { W, H, 3 };
	struct vtr_framebuffer framebuffer = { W, H, halves[0].framebuffer.format, STRIDE, 0 };
	struct vtr_rect all = { 0, 0, W, H };
	uint32_t n = halves[0].n_entries + halves[1].n_entries;
	struct virtio_gpu_mem_entry *entries = calloc(n, sizeof(*entries));
	uint8_t line[STRIDE];

	for (uint32_t y = 0; y < H; y++) {
		vtr_pattern_row(&pattern, 0, y, W, framebuffer.format, line);
		vtr_image_write(&halves[y / (H / 2)], y % (H / 2) * STRIDE, line, STRIDE);
	}
	for (uint32_t i = 0; entries && i < n; i++)
		entries[i] = i < halves[0].n_entries ? halves[0].entries[i] : halves[1].entries[i - halves[0].n_entries];
	bool passed = entries &&
	              vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, STRIDE * H, entries, n)) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) &&
	              vtr_expect_pattern(check, 0, &pattern);
	free(entries);
	return passed;
}

static bool picture_in_both(struct vtr_check *check, const void *row)
{
	struct vtr_image halves[2] = { 0 };
	bool passed = true;

	for (unsigned i = 0; i < 2 && passed; i++) {
		struct vtr_image_layout half = { i ? VTR_GUEST_BAR : VTR_GUEST_RAM, W, H / 2, .ranges = 7 };

		passed = vtr_expect_success(check, "laying out an image", vtr_image_init(&halves[i], check->guest, &half));
	}
	passed = passed && show_halves(check, halves);
	vtr_image_finish(&halves[0]);
	vtr_image_finish(&halves[1]);
	return passed;
}

/* The guest moves the BAR: what is shown goes on at the new place, and the old one is no memory. */
static bool moved(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry old = { guest->areas[VTR_GUEST_BAR].address, PAGE, 0 };
	struct vtr_image images[2] = { 0 };
	bool passed = vtr_check_show(check, &images[0], &layout, ID, 4) && unmap(check) &&
	              vtr_expect_success(check, "moving the BAR", vtr_guest_assigned_place(guest, true)) && map(check) &&
	              vtr_expect_response(check, "RESOURCE_CREATE_BLOB where the BAR was",
	                                  vtr_command_create_blob(guest, ID + 1, PAGE, &old, 1), VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	              vtr_expect_answer(check, "RESOURCE_FLUSH of what lay there",
	                                vtr_command_flush(guest, ID, vtr_check_whole(&images[0]))) &&
	              vtr_check_show(check, &images[1], &layout, ID + 2, 5) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 5 });

	go_home(check);
	vtr_image_finish(&images[0]);
	vtr_image_finish(&images[1]);
	return passed;
}

/* Memory decoding off and on again under a live scanout: the picture stays, and goes on. */
static bool decoding_off(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &layout, ID, 6);

	for (uint32_t frame = 7; passed && frame < 10; frame++) {
		passed = unmap(check) &&
		         vtr_expect_success(check, "memory decoding off", vtr_guest_assigned_decode(guest, false)) &&
		         vtr_expect_answer(check, "RESOURCE_FLUSH meanwhile",
		                           vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
		         vtr_expect_success(check, "memory decoding on", vtr_guest_assigned_decode(guest, true)) && map(check);
		vtr_image_draw_all(&image, &(struct vtr_pattern){ W, H, frame });
		passed = passed && vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
	}
	go_home(check);
	vtr_image_finish(&image);
	return passed;
}

/* DEVICE_RESET of the assigned device, as by a driver that hangs: its BARs are gone until they are placed again. */
static bool reset(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_assigned *assigned = guest->assigned;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &layout, ID, 10) && unmap(check) &&
	              vtr_expect_success(check, "DEVICE_RESET", vtr_vfio_user_reset(assigned->client)) &&
	              vtr_expect_value(check, "BARs have gone", (uint64_t)vtr_vfio_device_refresh(assigned->device), 1) &&
	              vtr_expect_answer(check, "RESOURCE_FLUSH meanwhile", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	              vtr_expect_success(check, "placing the BARs again", vtr_guest_assigned_place(guest, false)) && map(check);

	vtr_image_draw_all(&image, &(struct vtr_pattern){ W, H, 11 });
	passed = passed && vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 11 });
	go_home(check);
	vtr_image_finish(&image);
	return passed;
}

static const struct vtr_check_case cases[] = {
	{ "looks", looks },
	{ "dmabuf", dmabuf },
	{ "picture-by-messages", picture_by_messages, NULL, BLOB, true },
	{ "picture-in-ram-and-bar", picture_in_both, NULL, BLOB, true },
	{ "moved", moved, NULL, BLOB },
	{ "decoding-off", decoding_off, NULL, BLOB },
	{ "reset", reset, NULL, BLOB },
};

const struct vtr_check_family vtr_check_assigned = { "assigned", cases, VTR_CHECK_COUNT(cases), .assigned = true };
