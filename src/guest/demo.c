/* SPDX-License-Identifier: MIT */
/*
 * A moving picture: two blobs, each of many shuffled ranges; one is drawn while the other is shown, then they change places with
 * SET_SCANOUT_BLOB and a fenced RESOURCE_FLUSH, as a page flip of Linux does; or one blob, drawn into in its place. The fence paces
 * the loop, as it would a guest's compositor.
 */
#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include <vitrine/limits.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>

#include "guest/command.h"
#include "guest/image.h"
#include "guest/machine.h"

enum { FIRST_ID = 1, CURSOR_ID = FIRST_ID + VTR_GUEST_DEMO_BUFFERS, DEFAULT_RANGES = 63, NS_PER_S = 1000000000 };

static int fail(const struct vtr_guest *guest, const char *what, uint32_t response)
{
	if (response)
		vtr_log(VTR_LOG_ERROR, "%s: the device answered %s", what, vtr_command_response_name(response));
	else
		vtr_log(VTR_LOG_ERROR, "%s: %s", what, vtr_guest_error(guest));
	return response ? VTR_GUEST_FAILED : VTR_GUEST_GONE;
}

/* What the device prefers for this scanout, where the user did not say. */
static int choose_size(struct vtr_guest *guest, const struct vtr_guest_demo *demo, struct vtr_image_layout *layout)
{
	struct virtio_gpu_resp_display_info info;

	if (!layout->width || !layout->height) {
		uint32_t response = vtr_command_display_info(guest, &info);

		if (response != VIRTIO_GPU_RESP_OK_DISPLAY_INFO)
			return fail(guest, "asking for the display's size", response);
		const struct virtio_gpu_display_one *one = &info.pmodes[demo->scanout % VIRTIO_GPU_MAX_SCANOUTS];
		layout->width = one->r.width;
		layout->height = one->r.height;
	}
	if (!layout->width || !layout->height) {
		vtr_log(VTR_LOG_ERROR, "scanout %u has no size: choose one with --size WxH", demo->scanout);
		return VTR_GUEST_FAILED;
	}
	return VTR_GUEST_OK;
}

static bool goes_on(const struct vtr_guest_demo *demo, uint64_t frame, uint64_t started_ns)
{
	return (!demo->frames || frame < demo->frames) &&
	       (!demo->seconds || vtr_now_ns() - started_ns < (uint64_t)demo->seconds * NS_PER_S);
}

static uint32_t count_buffers(const struct vtr_guest_demo *demo)
{
	return demo->buffers ? demo->buffers : VTR_GUEST_DEMO_BUFFERS;
}

static uint32_t show(struct vtr_image *image, uint32_t resource, const struct vtr_guest_demo *demo)
{
	uint32_t response = vtr_image_show(image, resource, demo->scanout);

	for (uint32_t head = 1; head < demo->heads && response == VIRTIO_GPU_RESP_OK_NODATA; head++)
		response = vtr_image_show(image, resource, demo->scanout + head);
	return response;
}

static int play(struct vtr_guest *guest, const struct vtr_guest_demo *demo, struct vtr_image images[], FILE *out)
{
	struct vtr_framebuffer *size = &images[0].framebuffer;
	uint64_t frame = 0, started = vtr_now_ns();

	for (; goes_on(demo, frame, started); frame++) {
		uint32_t buffer = (uint32_t)(frame % count_buffers(demo));
		struct vtr_image *image = &images[buffer];

		vtr_image_draw_all(image, &(struct vtr_pattern){ size->width, size->height, (uint32_t)frame });
		uint32_t response = show(image, FIRST_ID + buffer, demo);
		if (response != VIRTIO_GPU_RESP_OK_NODATA)
			return fail(guest, "showing a frame", response);
	}
	double seconds = (double)(vtr_now_ns() - started) / NS_PER_S;
	fprintf(out,
	        "%" PRIu64 " frames of %ux%u in %u ranges of %s memory, %.1f s, %.1f frames/s, last frame number %" PRIu64 "\n",
	        frame, size->width, size->height, images[0].n_entries, vtr_guest_memory_name(demo->memory), seconds,
	        seconds > 0 ? (double)frame / seconds : 0, frame ? frame - 1 : 0);
	fflush(out);
	return VTR_GUEST_OK;
}

/* Serves the device until somebody closes standard input, or the device leaves. */
static void keep_showing(struct vtr_guest *guest)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char bytes[256];

	while (vtr_guest_connected(guest) && !vtr_guest_idle(guest, 100))
		if (poll(&input, 1, 0) > 0 && read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0)
			return;
}

/* The blobs, created but not shown. */
static int make_blobs(struct vtr_guest *guest, const struct vtr_guest_demo *demo, const struct vtr_image_layout *layout,
                      struct vtr_image images[])
{
	for (uint32_t i = 0; i < count_buffers(demo); i++) {
		if (vtr_image_init(&images[i], guest, layout)) {
			vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(guest));
			return VTR_GUEST_FAILED;
		}
		uint32_t response = vtr_image_create_blob(&images[i], FIRST_ID + i);
		if (response != VIRTIO_GPU_RESP_OK_NODATA)
			return fail(guest, "creating a blob", response);
	}
	return VTR_GUEST_OK;
}

/* A blob has no format; a cursor's is B8G8R8A8, as the Linux driver has it. */
static int show_cursor(struct vtr_guest *guest, const struct vtr_guest_demo *demo)
{
	const struct vtr_image_layout layout = { .memory = demo->memory, .width = VTR_CURSOR_SIZE, .height = VTR_CURSOR_SIZE };
	struct vtr_image image;

	if (vtr_image_init(&image, guest, &layout)) {
		vtr_log(VTR_LOG_ERROR, "%s", vtr_guest_error(guest));
		return VTR_GUEST_FAILED;
	}
	for (uint32_t y = 0; y < VTR_CURSOR_SIZE; y++)
		for (uint32_t x = 0; x < VTR_CURSOR_SIZE; x++) {
			uint32_t argb = vtr_pattern_cursor(x, y);

			vtr_image_write(&image, (y * VTR_CURSOR_SIZE + x) * sizeof(argb), &argb, sizeof(argb));
		}
	uint32_t response = vtr_image_create_blob(&image, CURSOR_ID);
	vtr_image_finish(&image);
	if (response != VIRTIO_GPU_RESP_OK_NODATA)
		return fail(guest, "creating a cursor", response);
	if (vtr_command_update_cursor(guest, demo->scanout, CURSOR_ID, demo->cursor_x, demo->cursor_y, 0, 0))
		return fail(guest, "showing a cursor", 0);
	return VTR_GUEST_OK;
}

static int run(struct vtr_guest *guest, const struct vtr_guest_demo *demo, FILE *out)
{
	struct vtr_image_layout layout = {
		.memory = demo->memory,
		.width = demo->width,
		.height = demo->height,
		.ranges = demo->ranges ? demo->ranges : DEFAULT_RANGES,
	};
	struct vtr_image images[VTR_GUEST_DEMO_BUFFERS] = { 0 };

	if (vtr_guest_start(guest, UINT64_MAX))
		return fail(guest, "starting the device", 0);
	if (!(vtr_guest_features(guest) & UINT64_C(1) << VIRTIO_GPU_F_RESOURCE_BLOB)) {
		vtr_log(VTR_LOG_ERROR, "the device does not offer RESOURCE_BLOB, which the demo is about");
		return VTR_GUEST_FAILED;
	}
	int code = choose_size(guest, demo, &layout);
	if (code == VTR_GUEST_OK)
		code = make_blobs(guest, demo, &layout, images);
	if (code == VTR_GUEST_OK && demo->cursor)
		code = show_cursor(guest, demo);
	if (code == VTR_GUEST_OK)
		code = play(guest, demo, images, out);
	if (code == VTR_GUEST_OK && demo->keep)
		keep_showing(guest);
	for (size_t i = 0; i < VTR_GUEST_DEMO_BUFFERS; i++)
		vtr_image_finish(&images[i]);
	return code;
}

int vtr_guest_demo(const struct vtr_guest_options *options, const struct vtr_guest_demo *demo, FILE *out)
{
	struct vtr_error error;
	struct vtr_guest *guest = vtr_guest_open(options, &error);

	if (!guest) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		return VTR_GUEST_GONE;
	}
	int code = run(guest, demo, out);
	vtr_guest_close(guest);
	return code;
}
