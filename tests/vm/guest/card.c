/* SPDX-License-Identifier: MIT */
/*
 * The display's DRM device by its ioctls alone: one connector with the CRTC of the same number, the connector's preferred mode.
 */
#include <drm.h>
#include <drm_fourcc.h>
#include <drm_mode.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"

enum { MAX_MODES = 128, WAIT_MS = 5000, CURSOR_SIZE = 64 };

static uint64_t user(const void *pointer)
{
	return (uintptr_t)pointer;
}

/* The first connected connector's modes; the preferred one is kept in card->mode. */
static int find_mode(struct card *card)
{
	struct drm_mode_modeinfo *modes = calloc(MAX_MODES, sizeof(*modes));
	struct drm_mode_get_connector probe = { .connector_id = card->connector };
	struct drm_mode_get_connector get = { .connector_id = card->connector, .modes_ptr = user(modes) };
	uint32_t best = 0;
	int ret;

	/* the first call probes the connector, so its count is that of the second */
	ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_GETCONNECTOR, &probe), "probe the connector");
	if (ret < 0)
		goto fail;
	get.count_modes = probe.count_modes < MAX_MODES ? probe.count_modes : MAX_MODES;
	ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_GETCONNECTOR, &get), "read the connector's modes");
	if (ret < 0)
		goto fail;
	if (get.count_modes == 0) {
		errno = ENODEV;
		ret = guest_check(-1, "the connector has no modes");
		goto fail;
	}
	for (uint32_t i = get.count_modes; i-- > 0;)
		if (modes[i].type & DRM_MODE_TYPE_PREFERRED)
			best = i;
	modes[0] = modes[best];
	card->mode = modes;
	card->width = modes[0].hdisplay;
	card->height = modes[0].vdisplay;
	return 0;
fail:
	free(modes);
	return ret;
}

/* Millihertz: the kernel's own number is rounded. */
static uint32_t refresh_of(const struct drm_mode_modeinfo *mode)
{
	uint64_t total = (uint64_t)mode->htotal * mode->vtotal;

	return total ? (uint32_t)((mode->clock * UINT64_C(1000000) + total / 2) / total) : 0;
}

static int print_connector(int fd, unsigned index, uint32_t id)
{
	static struct drm_mode_modeinfo modes[MAX_MODES];
	struct drm_mode_get_connector probe = { .connector_id = id };
	int ret = guest_check(ioctl(fd, DRM_IOCTL_MODE_GETCONNECTOR, &probe), "probe a connector");

	if (ret < 0)
		return ret;
	struct drm_mode_get_connector get = { .connector_id = id, .modes_ptr = user(modes) };
	get.count_modes = probe.count_modes < MAX_MODES ? probe.count_modes : MAX_MODES;
	ret = guest_check(ioctl(fd, DRM_IOCTL_MODE_GETCONNECTOR, &get), "read a connector's modes");
	if (ret < 0)
		return ret;
	printf("@@CONNECTOR %u %s", index, get.connection == 1 ? "connected" : "disconnected");
	for (uint32_t i = 0; i < get.count_modes && i < MAX_MODES; i++)
		printf(" %ux%u@%u%s", modes[i].hdisplay, modes[i].vdisplay, refresh_of(&modes[i]),
		       modes[i].type & DRM_MODE_TYPE_PREFERRED ? "*" : "");
	printf("\n");
	return 0;
}

int card_print_connectors(const struct card *card)
{
	uint32_t connectors[16];
	struct drm_mode_card_res resources = { .connector_id_ptr = user(connectors), .count_connectors = 16 };
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_GETRESOURCES, &resources), "read the card's resources");

	for (unsigned i = 0; ret >= 0 && i < resources.count_connectors && i < 16; i++)
		ret = print_connector(card->fd, i, connectors[i]);
	return ret;
}

int card_open(struct card *card, const char *path, uint32_t output)
{
	uint32_t crtcs[16], connectors[16];
	struct drm_mode_card_res resources = {
		.crtc_id_ptr = user(crtcs), .connector_id_ptr = user(connectors), .count_crtcs = 16, .count_connectors = 16
	};
	int ret;

	for (int waited = 0; (card->fd = open(path, O_RDWR | O_CLOEXEC)) < 0 && waited < WAIT_MS; waited += 100)
		usleep(100 * 1000);
	if (card->fd < 0)
		return guest_check(-1, path);
	ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_GETRESOURCES, &resources), "read the card's resources");
	if (ret < 0)
		goto fail;
	if (resources.count_crtcs <= output || resources.count_connectors <= output) {
		errno = ENODEV;
		ret = guest_check(-1, "the card has no such CRTC or connector");
		goto fail;
	}
	card->crtc = crtcs[output];
	card->connector = connectors[output];
	ret = find_mode(card);
	if (ret < 0)
		goto fail;
	return 0;
fail:
	close(card->fd);
	card->fd = -1;
	return ret;
}

void card_close(struct card *card)
{
	if (card->fd >= 0)
		close(card->fd);
	free(card->mode);
	*card = (struct card){ .fd = -1 };
}

int card_add_fb(struct card *card, struct frame *frame, uint32_t offset)
{
	struct drm_mode_fb_cmd2 fb = {
		.width = frame->image.width,
		.height = frame->image.height,
		.pixel_format = DRM_FORMAT_XRGB8888,
		.handles = { frame->handle },
		.pitches = { frame->image.stride },
		.offsets = { offset },
	};
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_ADDFB2, &fb), "make a framebuffer");

	frame->fb = fb.fb_id;
	return ret;
}

static int map_dumb(struct card *card, struct frame *frame)
{
	struct drm_mode_map_dumb map = { .handle = frame->handle };
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_MAP_DUMB, &map), "ask for a dumb buffer's mapping");
	void *at;

	if (ret < 0)
		return ret;
	at = mmap(NULL, frame->map_size, PROT_READ | PROT_WRITE, MAP_SHARED, card->fd, (off_t)map.offset);
	if (at == MAP_FAILED)
		return guest_check(-1, "map a dumb buffer");
	frame->map = at;
	return 0;
}

static int create_dumb(struct card *card, uint32_t width, uint32_t height, struct frame *frame)
{
	struct drm_mode_create_dumb create = { .width = width, .height = height, .bpp = 32 };
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_CREATE_DUMB, &create), "create a dumb buffer");

	if (ret < 0)
		return ret;
	frame->handle = create.handle;
	frame->map_size = create.size;
	ret = map_dumb(card, frame);
	frame->image = (struct image){ .pixels = frame->map, .width = width, .height = height, .stride = create.pitch };
	return ret;
}

int card_dumb_frame(struct card *card, struct frame *frame)
{
	int ret;

	*frame = FRAME_NONE;
	ret = create_dumb(card, card->width, card->height, frame);
	if (ret == 0)
		ret = card_add_fb(card, frame, 0);
	if (ret < 0)
		card_free_frame(card, frame);
	return ret;
}

int card_import_frame(struct card *card, struct frame *frame, uint32_t offset)
{
	struct drm_prime_handle prime = { .fd = frame->dmabuf };
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime), "import the dmabuf into the card");

	if (ret < 0)
		return ret;
	frame->handle = prime.handle;
	return card_add_fb(card, frame, offset);
}

int card_show(struct card *card, const struct frame *frame)
{
	struct drm_mode_crtc set = {
		.crtc_id = card->crtc,
		.fb_id = frame->fb,
		.set_connectors_ptr = user(&card->connector),
		.count_connectors = 1,
		.mode = *card->mode,
		.mode_valid = 1,
	};

	return guest_check(ioctl(card->fd, DRM_IOCTL_MODE_SETCRTC, &set), "set the CRTC");
}

int card_flip(struct card *card, const struct frame *frame)
{
	struct drm_mode_crtc_page_flip flip = { .crtc_id = card->crtc, .fb_id = frame->fb, .flags = DRM_MODE_PAGE_FLIP_EVENT };
	struct pollfd wait = { .fd = card->fd, .events = POLLIN };
	struct drm_event_vblank event;
	int ret = guest_check(ioctl(card->fd, DRM_IOCTL_MODE_PAGE_FLIP, &flip), "flip");

	if (ret < 0)
		return ret;
	if (poll(&wait, 1, WAIT_MS) == 0)
		errno = ETIMEDOUT;
	else if (read(card->fd, &event, sizeof(event)) == (ssize_t)sizeof(event) && event.base.type == DRM_EVENT_FLIP_COMPLETE)
		return 0;
	return guest_check(-1, "wait for the flip");
}

int card_flush(struct card *card, const struct frame *frame)
{
	struct drm_mode_fb_dirty_cmd dirty = { .fb_id = frame->fb };

	return guest_check(ioctl(card->fd, DRM_IOCTL_MODE_DIRTYFB, &dirty), "flush the framebuffer");
}

int card_set_cursor_image(struct card *card, uint32_t handle)
{
	struct drm_mode_cursor2 cursor = {
		.flags = DRM_MODE_CURSOR_BO,
		.crtc_id = card->crtc,
		.width = CURSOR_SIZE,
		.height = CURSOR_SIZE,
		.handle = handle,
		/* must not move the image: a position is that of its upper left corner */
		.hot_x = 9,
		.hot_y = 20,
	};

	return guest_check(ioctl(card->fd, DRM_IOCTL_MODE_CURSOR2, &cursor), "set the cursor");
}

int card_set_cursor(struct card *card, uint32_t seed)
{
	struct frame image = FRAME_NONE;
	int ret = create_dumb(card, CURSOR_SIZE, CURSOR_SIZE, &image);

	if (ret == 0) {
		picture_draw_cursor((uint32_t *)(void *)image.map, seed);
		ret = card_set_cursor_image(card, image.handle);
	}
	card_free_frame(card, &image); /* the plane keeps what it shows */
	return ret;
}

int card_move_cursor(struct card *card, int32_t x, int32_t y)
{
	struct drm_mode_cursor cursor = { .flags = DRM_MODE_CURSOR_MOVE, .crtc_id = card->crtc, .x = x, .y = y };

	return guest_check(ioctl(card->fd, DRM_IOCTL_MODE_CURSOR, &cursor), "move the cursor");
}

int card_hide_cursor(struct card *card)
{
	struct drm_mode_cursor cursor = { .flags = DRM_MODE_CURSOR_BO, .crtc_id = card->crtc };

	return guest_check(ioctl(card->fd, DRM_IOCTL_MODE_CURSOR, &cursor), "hide the cursor");
}

void card_free_frame(struct card *card, struct frame *frame)
{
	struct drm_gem_close gem = { .handle = frame->handle };

	if (frame->fb)
		ioctl(card->fd, DRM_IOCTL_MODE_RMFB, &frame->fb);
	if (frame->handle)
		ioctl(card->fd, DRM_IOCTL_GEM_CLOSE, &gem);
	if (frame->map)
		munmap(frame->map, frame->map_size);
	if (frame->dmabuf >= 0)
		close(frame->dmabuf);
	*frame = FRAME_NONE;
}
