/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_CHECK_H
#define VTR_GUEST_CHECK_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

#include "guest/command.h"
#include "guest/image.h"
#include "guest/machine.h"
#include "guest/shot.h"

/*
 * A check is a function that returns true, or says with one of the vtr_expect functions what it expected and what it got and
 * returns false. Before each one the device is reset, all memory is given to it and it is started with every feature it offers, so
 * no check knows of another. Checks are rows of const tables, a family a file.
 */
struct vtr_check {
	struct vtr_guest *guest;
	char failure[640]; /* of the check that runs */
};

typedef bool (*vtr_check_func)(struct vtr_check *check, const void *row);

struct vtr_check_case {
	const char *name;
	vtr_check_func run;
	const void *row;   /* for run; may be NULL */
	uint64_t features; /* the device has to offer these, else the check is skipped */
	bool pictures;     /* or input: means nothing when nobody says what is shown */
	unsigned links;    /* VTR_ON_*: there only over these; 0: over all */
};

/* What a check needs of the link to the device. Remote memory is vfio-user's. */
enum { VTR_ON_VFIO_USER = 1, VTR_ON_VHOST_USER = 2, VTR_ON_IOMMU = 4 /* vhost-user whose addresses are IOVAs */ };

struct vtr_check_family {
	const char *name;
	const struct vtr_check_case *cases;
	size_t n_cases;
	bool assigned;  /* there only with a device that is assigned to the guest */
	bool input;     /* there only with input devices */
	bool three_d;   /* there only with --3d; the driver accepts VIRGL and CONTEXT_INIT */
	unsigned links; /* as of each of its cases */
};

#define VTR_FEATURE(name) (UINT64_C(1) << (name))
#define VTR_CHECK_COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern const struct vtr_check_family vtr_check_pci, vtr_check_setup, vtr_check_display, vtr_check_2d, vtr_check_blob,
	vtr_check_scanout, vtr_check_cursor, vtr_check_fence, vtr_check_memory, vtr_check_bad_ring, vtr_check_bad_command,
	vtr_check_assigned, vtr_check_input, vtr_check_vhost, vtr_check_iotlb, vtr_check_3d_capset, vtr_check_3d_context,
	vtr_check_3d_resource, vtr_check_3d_transfer, vtr_check_3d_submit, vtr_check_3d_draw, vtr_check_3d_fence,
	vtr_check_3d_scanout, vtr_check_3d_blob, vtr_check_3d_hostmem;

/* ---- expectations ---- */

/* Says what went wrong and returns false. */
bool vtr_check_fail(struct vtr_check *check, const char *format, ...) VTR_PRINTF(2, 3);

/* A response's type as the command functions return it; 0 is explained with vtr_guest_error(). */
bool vtr_expect_response(struct vtr_check *check, const char *what, uint32_t got, uint32_t expected);
bool vtr_expect_ok(struct vtr_check *check, const char *what, uint32_t got); /* OK_NODATA */
/* Any VIRTIO_GPU_RESP_ERR_*: where the standard leaves open which. */
bool vtr_expect_error(struct vtr_check *check, const char *what, uint32_t got);
/* Any response at all. */
bool vtr_expect_answer(struct vtr_check *check, const char *what, uint32_t got);
/* A result of 0, else -errno. */
bool vtr_expect_success(struct vtr_check *check, const char *what, int result);
/* A failure that leaves the connection alive. */
bool vtr_expect_refusal(struct vtr_check *check, const char *what, int result);
bool vtr_expect_value(struct vtr_check *check, const char *what, uint64_t got, uint64_t expected);
/* The device answers GET_DISPLAY_INFO. */
bool vtr_expect_alive(struct vtr_check *check);
/* Resets and starts the device again, which then answers. */
bool vtr_expect_recovery(struct vtr_check *check);

/* What the screenshot of a scanout has to be: 0xRRGGBB of each pixel. */
typedef uint32_t (*vtr_pixel_func)(const void *data, uint32_t x, uint32_t y);

/* Compares every pixel; true when nobody says what is shown. */
bool vtr_expect_pixels(struct vtr_check *check, uint32_t scanout, bool cursor, uint32_t width, uint32_t height,
                       vtr_pixel_func pixel, const void *data);
bool vtr_expect_pattern(struct vtr_check *check, uint32_t scanout, const struct vtr_pattern *pattern);

/* Nothing is shown: black, in the size of the output. */
bool vtr_expect_blank(struct vtr_check *check, uint32_t scanout);

/* Pattern `inside` in the rectangle, `outside` around it; either moved: pixel x, y of the screen is pixel x + dx, y + dy. */
struct vtr_patchwork {
	struct vtr_pattern outside, inside;
	struct vtr_rect rect;
	uint32_t dx, dy;
};
bool vtr_expect_patchwork(struct vtr_check *check, uint32_t scanout, uint32_t width, uint32_t height,
                          const struct vtr_patchwork *patchwork);

/* An image of this layout with frame number `frame` drawn into it, made resource `resource` and shown on scanout 0. The caller ends
 * image with vtr_image_finish(), also after a failure. */
bool vtr_check_show(struct vtr_check *check, struct vtr_image *image, const struct vtr_image_layout *layout, uint32_t resource,
                    uint32_t frame);

struct vtr_rect vtr_check_whole(const struct vtr_image *image);

#endif
