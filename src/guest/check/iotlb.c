/* SPDX-License-Identifier: MIT */
/*
 * The device IOTLB (ACCESS_PLATFORM over vhost-user): every address that the device gets is an IOVA, which it has to ask for, may
 * not use beyond what it was told, and has to forget when it is told so.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <unistd.h>

#include "guest/check/check.h"
#include "guest/link_vhost.h"
#include "transport/vhost_user/frontend.h"
#include "util/fd.h"

enum { ID = 1, W = 320, H = 200, PAGE = 4096, BYTES = W * H * 4, ROOM = (BYTES + PAGE - 1) / PAGE * PAGE };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)
#define SPARE UINT64_C(0x600000000000) /* an IOVA where the guest has nothing of its own */

static const struct vtr_framebuffer framebuffer = { W, H, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W * 4, 0 };
static const struct vtr_rect all = { 0, 0, W, H };

static struct vtr_vhost_user_frontend *frontend_of(struct vtr_check *check)
{
	return vtr_guest_vhost_of(check->guest)->frontend;
}

static struct vtr_vhost_user_frontend_status numbers(struct vtr_check *check)
{
	struct vtr_vhost_user_frontend_status status;

	vtr_vhost_user_frontend_status(frontend_of(check), &status);
	return status;
}

/* ---- misses and hits ---- */

static bool hits(struct vtr_check *check, const void *row)
{
	for (int i = 0; i < 10; i++)
		if (!vtr_expect_alive(check))
			return false;
	uint64_t misses = numbers(check).misses;
	for (int i = 0; i < 200; i++)
		if (!vtr_expect_alive(check))
			return false;
	return vtr_expect_value(check, "the device has asked for addresses", misses > 0, true) &&
	       vtr_expect_value(check, "misses where it knows all addresses", numbers(check).misses, misses);
}

/* Invalidating what the device uses all the time costs new misses, nothing else. */
static bool invalidate_rings(struct vtr_check *check, const void *row)
{
	const struct vhost_user_iotlb everything = { .size = UINT64_MAX, .type = VHOST_USER_IOTLB_INVALIDATE };

	for (int i = 0; i < 20; i++) {
		uint64_t misses = numbers(check).misses;

		if (!vtr_expect_alive(check) ||
		    !vtr_expect_success(check, "invalidating everything",
		                        vtr_vhost_user_tell(frontend_of(check), VHOST_USER_IOTLB_MSG, &everything,
		                                            sizeof(everything), NULL, 0)) ||
		    !vtr_expect_alive(check) ||
		    !vtr_expect_value(check, "the device has asked again", numbers(check).misses > misses, true))
			return false;
	}
	return true;
}

/* ---- addresses that nobody knows ---- */

static uint32_t create_at(struct vtr_check *check, uint64_t address, uint32_t id)
{
	struct virtio_gpu_mem_entry entry = { address, PAGE, 0 };

	return vtr_command_create_blob(check->guest, id, PAGE, &entry, 1);
}

static bool refused_miss(struct vtr_check *check, const void *row)
{
	uint32_t misses = vtr_guest_vhost_of(check->guest)->unknown_misses;

	return vtr_expect_response(check, "RESOURCE_CREATE_BLOB at an IOVA that is refused", create_at(check, SPARE, ID),
	                           VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       vtr_expect_value(check, "the device has asked", vtr_guest_vhost_of(check->guest)->unknown_misses > misses, true) &&
	       vtr_expect_alive(check);
}

/* Posts the creation of a blob at SPARE and waits until the device has asked for it. */
static bool ask_for_spare(struct vtr_check *check)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_vhost *link = vtr_guest_vhost_of(guest);
	struct {
		struct virtio_gpu_resource_create_blob create;
		struct virtio_gpu_mem_entry entry;
	} request = { { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB,
		        .resource_id = ID,
		        .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
		        .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE,
		        .nr_entries = 1,
		        .size = PAGE },
		      { SPARE, PAGE, 0 } };
	struct vtr_guest_message message;
	uint32_t before = link->unknown_misses;

	link->holds_misses = true;
	if (!vtr_expect_success(check, "posting",
	                        vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &request, sizeof(request), 24)) ||
	    !vtr_expect_success(check, "kick", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)))
		return false;
	for (int waited = 0; link->unknown_misses == before && waited < guest->timeout_ms; waited += 20)
		if (!vtr_expect_success(check, "waiting", vtr_guest_idle(guest, 20)))
			return false;
	return vtr_expect_value(check, "the device has asked", link->unknown_misses > before, true);
}

static bool collect(struct vtr_check *check, uint32_t expected)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_ring *ring = &guest->queues[VTR_GUEST_CONTROL].ring;
	uint32_t written;
	uint16_t head;

	if (!vtr_expect_success(check, "the answer",
	                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)))
		return false;
	/* the answer's descriptor is the last of the table, or of the chain */
	const struct vring_desc *desc = &ring->desc[head];
	if (desc->flags & VRING_DESC_F_INDIRECT)
		desc = vtr_guest_data(guest, desc->addr, desc->len);
	while (desc->flags & VRING_DESC_F_NEXT)
		desc = ring->desc[head].flags & VRING_DESC_F_INDIRECT ? desc + 1 : &ring->desc[desc->next];
	const struct virtio_gpu_ctrl_hdr *response = vtr_guest_data(guest, desc->addr, sizeof(*response));
	return vtr_expect_response(check, "RESOURCE_CREATE_BLOB", response->type, expected);
}

/* While one queue waits for an answer the other goes on; when there is never one, the command fails and the next ones do not. */
static bool unanswered_miss(struct vtr_check *check, const void *row)
{
	bool passed = ask_for_spare(check);

	for (uint32_t i = 0; passed && i < 20; i++)
		passed = vtr_expect_success(check, "MOVE_CURSOR meanwhile", vtr_command_move_cursor(check->guest, 0, i, i));
	passed = passed && collect(check, VIRTIO_GPU_RESP_ERR_UNSPEC);
	vtr_guest_vhost_of(check->guest)->holds_misses = false;
	return passed && vtr_expect_alive(check);
}

static bool late_answer(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	int fd = vtr_memfd_create("spare", PAGE);
	bool passed =
		vtr_expect_success(check, "a memfd", fd < 0 ? fd : 0) && ask_for_spare(check) &&
		vtr_expect_success(check, "giving memory there", guest->link->impl->map(guest->link, SPARE, PAGE, fd, 0, true)) &&
		collect(check, VIRTIO_GPU_RESP_OK_NODATA);

	vtr_guest_vhost_of(guest)->holds_misses = false;
	vtr_fd_close(&fd);
	return passed && vtr_expect_success(check, "taking it away", guest->link->impl->unmap(guest->link, SPARE, PAGE)) &&
	       vtr_expect_alive(check);
}

/* ---- what is shown ---- */

/* Two pictures in one file, whose halves the same IOVAs lead to in turn. */
static bool draw_both(int fd)
{
	uint8_t line[W * 4];

	for (uint32_t picture = 0; picture < 2; picture++) {
		struct vtr_pattern pattern = { W, H, 10 + picture };

		for (uint32_t y = 0; y < H; y++) {
			vtr_pattern_row(&pattern, 0, y, W, framebuffer.format, line);
			if (pwrite(fd, line, sizeof(line), (off_t)(picture * ROOM + y * sizeof(line))) != sizeof(line))
				return false;
		}
	}
	return true;
}

static bool flush_and_compare(struct vtr_check *check, uint32_t frame)
{
	return vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(check->guest, ID, all)) &&
	       vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
}

static bool swap_pictures(struct vtr_check *check, uint64_t physical)
{
	struct vtr_vhost_user_frontend *frontend = frontend_of(check);
	struct virtio_gpu_mem_entry entry = { SPARE, ROOM, 0 };

	if (!vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(check->guest, ID, ROOM, &entry, 1)) ||
	    !vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(check->guest, 0, ID, all, &framebuffer)) ||
	    !flush_and_compare(check, 10))
		return false;
	for (uint32_t i = 1; i < 6; i++) {
		if (!vtr_expect_success(check, "invalidating what is shown",
		                        vtr_vhost_user_frontend_iotlb_remove(frontend, SPARE, ROOM)) ||
		    !vtr_expect_answer(check, "RESOURCE_FLUSH without the memory", vtr_command_flush(check->guest, ID, all)) ||
		    !vtr_expect_success(check, "leading it elsewhere",
		                        vtr_vhost_user_frontend_iotlb_add(frontend, SPARE, ROOM, physical + i % 2 * ROOM, true)) ||
		    !flush_and_compare(check, 10 + i % 2))
			return false;
	}
	return true;
}

static bool remap_shown(struct vtr_check *check, const void *row)
{
	struct vtr_vhost_user_frontend *frontend = frontend_of(check);
	const uint64_t physical = UINT64_C(0x6f0000000000);
	int fd = vtr_memfd_create("pictures", 2 * ROOM);
	bool passed =
		vtr_expect_success(check, "a memfd", fd < 0 ? fd : 0) &&
		vtr_expect_value(check, "two pictures are drawn", draw_both(fd), true) &&
		vtr_expect_success(check, "giving memory",
	                           vtr_vhost_user_frontend_add_memory(frontend, physical, 2 * ROOM, ~physical & ~0xffffull, fd, 0));

	if (passed) {
		passed = vtr_expect_success(check, "an entry",
		                            vtr_vhost_user_frontend_iotlb_add(frontend, SPARE, ROOM, physical, true)) &&
		         swap_pictures(check, physical);
		vtr_vhost_user_frontend_iotlb_remove(frontend, SPARE, ROOM);
		vtr_vhost_user_frontend_remove_memory(frontend, physical, 2 * ROOM);
	}
	vtr_fd_close(&fd);
	return passed;
}

/* A page of a picture goes and comes back. */
static bool invalidate_part(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_vhost_user_frontend *frontend = frontend_of(check);
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, W, H, .ranges = 21 }, ID, 1);
	uint64_t page = passed ? image.entries[7].addr : 0;
	const struct vhost_user_iotlb gone = { .iova = page, .size = PAGE, .type = VHOST_USER_IOTLB_INVALIDATE };

	for (uint32_t frame = 2; passed && frame < 6; frame++) {
		/* the table still has it, so the device gets it again when it asks */
		passed = vtr_expect_success(check, "invalidating a page",
		                            vtr_vhost_user_tell(frontend, VHOST_USER_IOTLB_MSG, &gone, sizeof(gone), NULL, 0));
		vtr_image_draw_all(&image, &(struct vtr_pattern){ W, H, frame });
		passed = passed && vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
	}
	vtr_image_finish(&image);
	return passed;
}

/* ---- permissions ---- */

/* A request in memory that may only be read is read. (What may not be written: memory/read-only.) */
static bool reads_read_only(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	uint64_t response = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], 408, 16);
	const struct vtr_guest_segment segments[] = { { SPARE, sizeof(request), false }, { response, 408, true } };
	int fd = vtr_memfd_create("read-only", PAGE);
	uint32_t written = 0;
	uint16_t head;
	bool passed = vtr_expect_success(check, "a memfd", fd < 0 ? fd : 0) &&
	              vtr_expect_value(check, "bytes in it", (uint64_t)pwrite(fd, &request, sizeof(request), 0), sizeof(request)) &&
	              vtr_expect_success(check, "giving memory", guest->link->impl->map(guest->link, SPARE, PAGE, fd, 0, false));

	if (passed) {
		vtr_guest_ring_add(&guest->queues[VTR_GUEST_CONTROL].ring, segments, 2);
		passed = vtr_expect_success(check, "kick", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) &&
		         vtr_expect_success(check, "the answer",
		                            vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) &&
		         vtr_expect_value(check, "bytes written", written, 408);
		guest->link->impl->unmap(guest->link, SPARE, PAGE);
	}
	vtr_fd_close(&fd);
	return passed && vtr_expect_alive(check);
}

/* ---- messages that cannot be ---- */

static bool bad_message(struct vtr_check *check, const void *row)
{
	int result = vtr_vhost_user_tell(frontend_of(check), VHOST_USER_IOTLB_MSG, row, sizeof(struct vhost_user_iotlb), NULL, 0);

	if (!vtr_guest_connected(check->guest))
		return vtr_check_fail(check, "expected a refusal, got a closed connection");
	return vtr_expect_value(check, "the message is refused (-errno)", (uint64_t)-result, EREMOTEIO) && vtr_expect_alive(check);
}

#define MESSAGE(...)                                                                                                               \
	bad_message, &(const struct vhost_user_iotlb)                                                                              \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}

enum { RO = VHOST_USER_IOTLB_ACCESS_RO, UPDATE = VHOST_USER_IOTLB_UPDATE };

static const struct vtr_check_case cases[] = {
	{ "hits", hits },
	{ "invalidate-rings", invalidate_rings },
	{ "refused-miss", refused_miss, NULL, BLOB },
	{ "unanswered-miss", unanswered_miss, NULL, BLOB },
	{ "late-answer", late_answer, NULL, BLOB },
	{ "remap-shown", remap_shown, NULL, BLOB },
	{ "invalidate-part", invalidate_part, NULL, BLOB },
	{ "reads-read-only", reads_read_only },
	{ "message-type-0", MESSAGE(SPARE, PAGE, PAGE, RO, 0, { 0 }) },
	{ "message-type-99", MESSAGE(SPARE, PAGE, PAGE, RO, 99, { 0 }) },
	{ "message-miss", MESSAGE(SPARE, PAGE, PAGE, RO, VHOST_USER_IOTLB_MISS, { 0 }) },
	{ "message-access-fail", MESSAGE(SPARE, PAGE, PAGE, RO, VHOST_USER_IOTLB_ACCESS_FAIL, { 0 }) },
	{ "update-no-permission", MESSAGE(SPARE, PAGE, PAGE, 0, UPDATE, { 0 }) },
	{ "update-odd-permission", MESSAGE(SPARE, PAGE, PAGE, 7, UPDATE, { 0 }) },
	{ "update-no-size", MESSAGE(SPARE, 0, PAGE, RO, UPDATE, { 0 }) },
	{ "update-wraps", MESSAGE(UINT64_MAX - 4095, 2 * PAGE, PAGE, RO, UPDATE, { 0 }) },
	{ "update-to-nowhere", MESSAGE(SPARE, PAGE, 0x123456000, RO, UPDATE, { 0 }) },
	{ "invalidate-no-size", MESSAGE(SPARE, 0, 0, 0, VHOST_USER_IOTLB_INVALIDATE, { 0 }) },
	{ "invalidate-wraps", MESSAGE(UINT64_MAX - 4095, 2 * PAGE, 0, 0, VHOST_USER_IOTLB_INVALIDATE, { 0 }) },
};

const struct vtr_check_family vtr_check_iotlb = { "iotlb", cases, VTR_CHECK_COUNT(cases), .links = VTR_ON_IOMMU };
