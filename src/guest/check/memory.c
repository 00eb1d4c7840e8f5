/* SPDX-License-Identifier: MIT */
/* Memory that comes, goes, lies where it likes, or is none: DMA_MAP and DMA_UNMAP against live resources and rings. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/check/check.h"
#include "util/fd.h"

enum { ID = 1, W = 320, H = 200, PAGE = 4096 };

#define BLOB VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB)
#define SPARE UINT64_C(0x600000000000) /* an address where the guest has nothing of its own */

static const enum vtr_guest_memory ram = VTR_GUEST_RAM, bar = VTR_GUEST_BAR, remote = VTR_GUEST_REMOTE;

static bool unmap(struct vtr_check *check, enum vtr_guest_memory kind)
{
	return vtr_expect_success(check, "taking memory away", vtr_guest_unmap(check->guest, kind));
}

static bool map(struct vtr_check *check, enum vtr_guest_memory kind)
{
	return vtr_expect_success(check, "giving memory", vtr_guest_map(check->guest, kind));
}

/* A queue may live in any memory, also where the device has to ask for each byte. */
static bool rings_in(struct vtr_check *check, const void *row)
{
	if (!vtr_expect_success(check, "start", vtr_guest_start_in(check->guest, UINT64_MAX, *(const enum vtr_guest_memory *)row)))
		return false;
	for (int i = 0; i < 50; i++)
		if (!vtr_expect_alive(check))
			return false;
	return vtr_expect_success(check, "MOVE_CURSOR", vtr_command_move_cursor(check->guest, 0, 1, 1));
}

/* The picture's memory goes and comes back; flushes in between are answered, whatever with. */
static bool unmap_and_map(struct vtr_check *check, const void *row)
{
	enum vtr_guest_memory kind = *(const enum vtr_guest_memory *)row;
	struct vtr_guest *guest = check->guest;
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ kind, W, H, .ranges = 21 }, ID, 1);

	for (uint32_t frame = 2; passed && frame < 6; frame++) {
		passed = unmap(check, kind) &&
		         vtr_expect_answer(check, "RESOURCE_FLUSH without the memory",
		                           vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
		         map(check, kind);
		vtr_image_draw_all(&image, &(struct vtr_pattern){ W, H, frame });
		passed = passed && vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
	}
	vtr_image_finish(&image);
	return passed;
}

/* Between two commands of one resource. */
static bool unmap_before_scanout(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_pattern pattern = { W, H, 3 };
	struct vtr_image image = { 0 };

	if (!vtr_expect_success(check, "laying out an image",
	                        vtr_image_init(&image, guest, &(struct vtr_image_layout){ bar, W, H, .ranges = 21 })))
		return false;
	vtr_image_draw_all(&image, &pattern);
	bool passed = vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_image_create_blob(&image, ID)) && unmap(check, bar) &&
	              vtr_expect_answer(check, "SET_SCANOUT_BLOB without the memory", vtr_image_show(&image, ID, 0)) &&
	              map(check, bar) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB and RESOURCE_FLUSH", vtr_image_show(&image, ID, 0)) &&
	              vtr_expect_pattern(check, 0, &pattern);
	vtr_image_finish(&image);
	return passed;
}

static bool create_without_memory(struct vtr_check *check, const void *row)
{
	struct virtio_gpu_mem_entry entry = { check->guest->areas[bar].address, PAGE, 0 };

	return unmap(check, bar) &&
	       vtr_expect_response(check, "RESOURCE_CREATE_BLOB where memory was",
	                           vtr_command_create_blob(check->guest, ID, PAGE, &entry, 1), VIRTIO_GPU_RESP_ERR_UNSPEC) &&
	       map(check, bar) &&
	       vtr_expect_ok(check, "RESOURCE_CREATE_BLOB where memory is again",
	                     vtr_command_create_blob(check->guest, ID, PAGE, &entry, 1));
}

/* The flush is in the queue when its memory goes. */
static bool unmap_under_flush(struct vtr_check *check, const void *row)
{
	enum vtr_guest_memory kind = *(const enum vtr_guest_memory *)row;
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_resource_flush flush = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 7 },
		.r = { 0, 0, W, H },
		.resource_id = ID,
	};
	struct vtr_image image = { 0 };
	bool passed = vtr_check_show(check, &image, &(struct vtr_image_layout){ kind, W, H, .ranges = 21 }, ID, 1);

	for (int round = 0; passed && round < 20; round++) {
		struct vtr_guest_message message;
		uint32_t written;
		uint16_t head;

		passed = vtr_expect_success(check, "posting",
		                            vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &flush, sizeof(flush), 24)) &&
		         vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) &&
		         unmap(check, kind) &&
		         vtr_expect_success(check, "the flush comes back",
		                            vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)) &&
		         map(check, kind);
	}
	passed = passed && vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(&image))) &&
	         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });
	vtr_image_finish(&image);
	return passed;
}

/* A revoked buffer of Linux is DETACH_BACKING on a live scanout, later ATTACH_BACKING and a flush, no SET_SCANOUT_BLOB. */
static bool detach_and_attach(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_image_layout layout = { *(const enum vtr_guest_memory *)row, W, H, .ranges = 21 };
	struct vtr_image images[2] = { 0 };
	bool passed = vtr_check_show(check, &images[0], &layout, ID, 1) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 }) &&
	              vtr_expect_success(check, "laying out an image", vtr_image_init(&images[1], guest, &layout));

	for (uint32_t frame = 2; passed && frame < 6; frame++) {
		struct vtr_image *image = &images[frame % 2];

		passed = vtr_expect_ok(check, "RESOURCE_DETACH_BACKING of what is shown", vtr_command_detach(guest, ID));
		/* not before: a display that shows the memory itself would have it on the screen */
		vtr_image_draw_all(image, &(struct vtr_pattern){ W, H, frame });
		passed = passed && vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame - 1 }) /* the picture stays */ &&
		         vtr_expect_answer(check, "RESOURCE_FLUSH without backing",
		                           vtr_command_flush(guest, ID, vtr_check_whole(image))) &&
		         vtr_expect_ok(check, "RESOURCE_ATTACH_BACKING",
		                       vtr_command_attach(guest, ID, image->entries, image->n_entries)) &&
		         vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, vtr_check_whole(image))) &&
		         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, frame });
	}
	vtr_image_finish(&images[0]);
	vtr_image_finish(&images[1]);
	return passed;
}

/* The rings themselves go away: no answer can come, nothing is written where memory was, and the device lives. */
static bool unmap_rings(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const struct vring_used *used = guest->queues[VTR_GUEST_CONTROL].ring.used;
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct vtr_guest_message message;

	if (!vtr_expect_alive(check)) /* the device has used the rings */
		return false;
	uint16_t before = used->idx;
	return unmap(check, VTR_GUEST_SYSTEM) &&
	       vtr_expect_success(check, "posting",
	                          vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &request, sizeof(request), 408)) &&
	       vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) &&
	       vtr_expect_success(check, "waiting", vtr_guest_idle(guest, 50)) &&
	       vtr_expect_value(check, "the used index where no memory is", used->idx, before) && map(check, VTR_GUEST_SYSTEM) &&
	       vtr_expect_recovery(check);
}

struct map_row {
	uint64_t address, size;
	uint64_t offset;
};

/* Ranges that cannot be; the fd is a memfd of 64 KiB. */
static bool bad_map(struct vtr_check *check, const void *row)
{
	const struct map_row *r = row;
	int fd = vtr_memfd_create("small", 65536);

	if (fd < 0)
		return vtr_check_fail(check, "expected a memfd, got %s", strerror(-fd));
	int result = vtr_vfio_user_dma_map(vtr_guest_client_of(check->guest), r->address, r->size, fd, r->offset, true);
	vtr_fd_close(&fd);
	return vtr_expect_refusal(check, "giving memory", result) && vtr_expect_alive(check);
}

static bool bad_unmap(struct vtr_check *check, const void *row)
{
	const struct vtr_guest_area *area = &check->guest->areas[bar];
	struct vtr_vfio_user_client *client = vtr_guest_client_of(check->guest);

	return vtr_expect_refusal(check, "DMA_UNMAP of nothing", vtr_vfio_user_dma_unmap(client, SPARE, PAGE)) &&
	       vtr_expect_refusal(check, "DMA_UNMAP of a part", vtr_vfio_user_dma_unmap(client, area->address, PAGE)) &&
	       vtr_expect_refusal(check, "DMA_UNMAP that wraps", vtr_vfio_user_dma_unmap(client, SPARE, UINT64_MAX)) &&
	       vtr_expect_refusal(check, "DMA_UNMAP of no size", vtr_vfio_user_dma_unmap(client, SPARE, 0)) &&
	       vtr_expect_alive(check);
}

/* fds that are no memory: refused, or taken as memory that has to be asked for; never a crash. */
static bool fds_that_are_no_memory(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	int fds[4] = { -1, -1, -1, -1 };
	bool passed = true;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return vtr_check_fail(check, "expected a pipe, got none");
	fds[2] = open("/dev/null", O_RDWR | O_CLOEXEC);
	fds[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 4 && passed; i++) {
		uint64_t address = SPARE + (uint64_t)i * 65536;
		struct virtio_gpu_mem_entry entry = { address, PAGE, 0 };

		if (!guest->link->impl->map(guest->link, address, 65536, fds[i], 0, true)) {
			passed = vtr_expect_answer(check, "RESOURCE_CREATE_BLOB in it",
			                           vtr_command_create_blob(guest, ID + (uint32_t)i, PAGE, &entry, 1));
			guest->link->impl->unmap(guest->link, address, 65536);
		}
		passed = passed && vtr_expect_alive(check);
	}
	for (int i = 0; i < 4; i++)
		vtr_fd_close(&fds[i]);
	return passed;
}

/* A screenshot where there may be no picture to be had: asked for and not waited for long. */
static void try_shot(struct vtr_guest *guest)
{
	enum { SHOT_MS = 1000 };
	int timeout_ms = guest->timeout_ms;
	struct vtr_shot shot;

	guest->timeout_ms = SHOT_MS;
	if (guest->options.control && !vtr_shot_take(&shot, guest, 0, false, NULL))
		vtr_shot_finish(&shot);
	guest->timeout_ms = timeout_ms;
}

/* A picture in more pieces of remote memory than any device will ask for one by one: it need not be shown, but the device lives,
 * has time for its control socket, and shows the next one. */
static bool scattered(struct vtr_check *check, const void *row)
{
	enum { PIECE = 16, STEP = 2048, N = 50000, WIDTH = 400, HEIGHT = N * PIECE / 4 / WIDTH };
	struct vtr_guest *guest = check->guest;
	struct vtr_framebuffer framebuffer = { WIDTH, HEIGHT, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, WIDTH * 4, 0 };
	struct vtr_rect all = { 0, 0, WIDTH, HEIGHT };
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_REMOTE], (uint64_t)N * STEP, PAGE);
	struct virtio_gpu_mem_entry *entries = calloc(N, sizeof(*entries));
	struct vtr_image image = { 0 };
	bool passed = entries && address;

	if (!passed)
		vtr_check_fail(check, "expected memory for %d entries, got none", N);
	for (uint32_t i = 0; i < N && passed; i++)
		entries[i] = (struct virtio_gpu_mem_entry){ address + (uint64_t)(N - 1 - i) * STEP, PIECE, 0 };
	passed =
		passed &&
		vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, (uint64_t)N * PIECE, entries, N)) &&
		vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer));
	for (int i = 0; i < 3 && passed; i++) {
		passed = vtr_expect_answer(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) && vtr_expect_alive(check);
		if (i == 1)
			try_shot(guest);
	}
	passed = passed && vtr_check_show(check, &image, &(struct vtr_image_layout){ ram, W, H, .ranges = 21 }, ID + 1, 1) &&
	         vtr_expect_pattern(check, 0, &(struct vtr_pattern){ W, H, 1 });
	vtr_image_finish(&image);
	free(entries);
	return passed;
}

/* A memory file that its owner truncates while the device shows it: no SIGBUS. */
static bool truncated(struct vtr_check *check, const void *row)
{
	enum { BYTES = (W * H * 4 + PAGE - 1) / PAGE * PAGE };
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { SPARE, BYTES, 0 };
	struct vtr_framebuffer framebuffer = { W, H, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W * 4, 0 };
	struct vtr_rect all = { 0, 0, W, H };
	int fd = memfd_create("unsealed", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, BYTES) < 0)
		return vtr_check_fail(check, "expected a memfd, got none");
	bool passed = vtr_expect_success(check, "giving memory", guest->link->impl->map(guest->link, SPARE, BYTES, fd, 0, true)) &&
	              vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, BYTES, &entry, 1)) &&
	              vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	              vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all));
	if (passed && ftruncate(fd, 0) == 0) {
		passed = vtr_expect_answer(check, "RESOURCE_FLUSH after truncating", vtr_command_flush(guest, ID, all));
		try_shot(guest);
		passed = passed &&
		         vtr_expect_success(check, "taking memory away", guest->link->impl->unmap(guest->link, SPARE, BYTES)) &&
		         vtr_expect_alive(check);
	}
	vtr_fd_close(&fd);
	return passed;
}

/* Answers that the device may not write: nothing is written, and the device lives. */
static bool read_only(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	uint64_t address = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], sizeof(request), 16);
	struct vtr_guest_segment segments[] = { { address, sizeof(request), false }, { SPARE, 408, true } };
	int fd = vtr_memfd_create("read-only", 65536);
	uint8_t bytes[408], zeros[408] = { 0 };
	uint32_t written;
	uint16_t head;

	if (fd < 0)
		return vtr_check_fail(check, "expected a memfd, got %s", strerror(-fd));
	memcpy(vtr_guest_data(guest, address, sizeof(request)), &request, sizeof(request));
	bool passed = vtr_expect_success(check, "giving memory", guest->link->impl->map(guest->link, SPARE, 65536, fd, 0, false));
	vtr_guest_ring_add(&guest->queues[VTR_GUEST_CONTROL].ring, segments, 2);
	passed = passed && vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true));
	if (passed) /* the chain back or a request for a reset, both are right */
		vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, 1000);
	passed = passed &&
	         vtr_expect_value(check, "bytes read back", (uint64_t)pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes)) &&
	         vtr_expect_value(check, "read-only memory was written", (uint64_t)memcmp(bytes, zeros, sizeof(bytes)), 0) &&
	         vtr_expect_recovery(check) &&
	         vtr_expect_success(check, "taking memory away", guest->link->impl->unmap(guest->link, SPARE, 65536));
	vtr_fd_close(&fd);
	return passed;
}

/* One entry over the border of two regions that touch: the halves of one file, the other way round. */
enum { HALF = W * H * 2 / PAGE * PAGE, BOTH = 2 * HALF, BOTH_ROWS = BOTH / (W * 4) };

/* Over vfio-user one request takes both. */
static bool unmap_both(struct vtr_check *check)
{
	struct vtr_guest_link *link = check->guest->link;

	if (vtr_guest_client_of(check->guest))
		return vtr_expect_success(check, "DMA_UNMAP of both", link->impl->unmap(link, SPARE, BOTH));
	return vtr_expect_success(check, "taking the first away", link->impl->unmap(link, SPARE, HALF)) &&
	       vtr_expect_success(check, "taking the second away", link->impl->unmap(link, SPARE + HALF, HALF));
}

static bool show_halves(struct vtr_check *check, uint8_t *file, int fd)
{
	struct vtr_guest *guest = check->guest;
	struct virtio_gpu_mem_entry entry = { SPARE, BOTH, 0 };
	struct vtr_pattern pattern = { W, BOTH_ROWS, 77 };
	struct vtr_framebuffer framebuffer = { W, BOTH_ROWS, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM, W * 4, 0 };
	struct vtr_rect all = { 0, 0, W, BOTH_ROWS };
	uint8_t line[W * 4];

	for (uint32_t y = 0; y < BOTH_ROWS; y++) {
		vtr_pattern_row(&pattern, 0, y, W, framebuffer.format, line);
		for (size_t i = 0; i < sizeof(line); i++)
			file[(y * sizeof(line) + i + HALF) % BOTH] = line[i];
	}
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t address = SPARE + i * HALF, offset = i ? 0 : HALF;

		guest->extra[i] =
			(struct vtr_guest_area){ .address = address, .size = HALF, .data = file + offset, .mapped = true };
		if (!vtr_expect_success(check, "giving memory",
		                        guest->link->impl->map(guest->link, address, HALF, fd, offset, true)))
			return false;
	}
	return vtr_expect_ok(check, "RESOURCE_CREATE_BLOB", vtr_command_create_blob(guest, ID, BOTH, &entry, 1)) &&
	       vtr_expect_ok(check, "SET_SCANOUT_BLOB", vtr_command_set_scanout_blob(guest, 0, ID, all, &framebuffer)) &&
	       vtr_expect_ok(check, "RESOURCE_FLUSH", vtr_command_flush(guest, ID, all)) &&
	       vtr_expect_pattern(check, 0, &pattern) && unmap_both(check);
}

static bool adjacent_regions(struct vtr_check *check, const void *row)
{
	int fd = vtr_memfd_create("halves", BOTH);
	void *file = fd < 0 ? MAP_FAILED : mmap(NULL, BOTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bool passed;

	if (file == MAP_FAILED) {
		passed = vtr_check_fail(check, "expected memory for two halves, got none");
	} else {
		passed = show_halves(check, file, fd);
		memset(check->guest->extra, 0, sizeof(check->guest->extra));
		munmap(file, BOTH);
	}
	vtr_fd_close(&fd);
	return passed;
}

#define MAP(...)                                                                                                                   \
	bad_map, &(const struct map_row)                                                                                           \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}

static const struct vtr_check_case cases[] = {
	{ "rings-in-bar", rings_in, &bar },
	{ "rings-in-remote", rings_in, &remote, .links = VTR_ON_VFIO_USER },
	{ "unmap-and-map-ram", unmap_and_map, &ram, BLOB },
	{ "unmap-and-map-bar", unmap_and_map, &bar, BLOB },
	{ "unmap-and-map-remote", unmap_and_map, &remote, BLOB, .links = VTR_ON_VFIO_USER },
	{ "unmap-before-scanout", unmap_before_scanout, NULL, BLOB },
	{ "create-without-memory", create_without_memory, NULL, BLOB },
	{ "unmap-under-flush-bar", unmap_under_flush, &bar, BLOB },
	{ "unmap-under-flush-remote", unmap_under_flush, &remote, BLOB, .links = VTR_ON_VFIO_USER },
	{ "detach-and-attach-ram", detach_and_attach, &ram, BLOB },
	{ "detach-and-attach-bar", detach_and_attach, &bar, BLOB },
	{ "detach-and-attach-remote", detach_and_attach, &remote, BLOB, .links = VTR_ON_VFIO_USER },
	{ "unmap-rings", unmap_rings },
	{ "map-no-size", MAP(SPARE, 0, 0), .links = VTR_ON_VFIO_USER },
	{ "map-wraps", MAP(UINT64_MAX - 4095, 65536, 0), .links = VTR_ON_VFIO_USER },
	{ "map-past-file", MAP(SPARE, 65536 + 4096, 0), .links = VTR_ON_VFIO_USER },
	{ "map-offset-past-file", MAP(SPARE, 4096, 65536), .links = VTR_ON_VFIO_USER },
	{ "map-offset-wraps", MAP(SPARE, 65536, UINT64_MAX - 4095), .links = VTR_ON_VFIO_USER },
	{ "map-over-other", MAP(UINT64_C(0x100000000), 65536, 0), .links = VTR_ON_VFIO_USER },
	{ "unmap-wrong", bad_unmap, .links = VTR_ON_VFIO_USER },
	{ "fds-that-are-no-memory", fds_that_are_no_memory, NULL, BLOB },
	{ "scattered-remote", scattered, NULL, BLOB, .links = VTR_ON_VFIO_USER },
	{ "truncated", truncated, NULL, BLOB },
	{ "read-only", read_only, .links = VTR_ON_VFIO_USER | VTR_ON_IOMMU },
	{ "adjacent-regions", adjacent_regions, NULL, BLOB },
};

const struct vtr_check_family vtr_check_memory = { "memory", cases, VTR_CHECK_COUNT(cases) };
