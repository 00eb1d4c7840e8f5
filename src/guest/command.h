/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_COMMAND_H
#define VTR_GUEST_COMMAND_H

#include <linux/virtio_gpu.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>

/*
 * The commands of virtio 1.3, 5.7.6, one call each. A call sends the command, waits, and returns the type of the response
 * (VIRTIO_GPU_RESP_*), or 0 when there was none worth the name: the device did not answer, or broke a rule of the protocol (a
 * response without its fence, a size that does not fit the type); vtr_guest_error() then says what.
 */

struct vtr_rect {
	uint32_t x, y, width, height;
};

/* "OK_NODATA", "ERR_INVALID_PARAMETER", ...; "unknown response 0x1234" is built in a buffer that the next call overwrites. */
const char *vtr_command_response_name(uint32_t response);

/* Any request; the answer's header is checked and its bytes are in response. */
uint32_t vtr_command(struct vtr_guest *guest, const void *request, size_t request_size, void *response, size_t response_size);
/* A request with an array of mem entries behind it. */
uint32_t vtr_command_entries(struct vtr_guest *guest, const void *request, size_t request_size,
                             const struct virtio_gpu_mem_entry *entries, size_t n_entries);

uint32_t vtr_command_display_info(struct vtr_guest *guest, struct virtio_gpu_resp_display_info *info);
uint32_t vtr_command_edid(struct vtr_guest *guest, uint32_t scanout, struct virtio_gpu_resp_edid *edid);
uint32_t vtr_command_create_2d(struct vtr_guest *guest, uint32_t resource, uint32_t format, uint32_t width, uint32_t height);
uint32_t vtr_command_create_blob(struct vtr_guest *guest, uint32_t resource, uint64_t size,
                                 const struct virtio_gpu_mem_entry *entries, uint32_t n_entries);
uint32_t vtr_command_unref(struct vtr_guest *guest, uint32_t resource);
uint32_t vtr_command_attach(struct vtr_guest *guest, uint32_t resource, const struct virtio_gpu_mem_entry *entries,
                            uint32_t n_entries);
uint32_t vtr_command_detach(struct vtr_guest *guest, uint32_t resource);
uint32_t vtr_command_transfer(struct vtr_guest *guest, uint32_t resource, struct vtr_rect rect, uint64_t offset);
uint32_t vtr_command_set_scanout(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, struct vtr_rect rect);

/* What SET_SCANOUT_BLOB says beyond the rectangle. */
struct vtr_framebuffer {
	uint32_t width, height, format, stride, offset;
};
uint32_t vtr_command_set_scanout_blob(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, struct vtr_rect rect,
                                      const struct vtr_framebuffer *framebuffer);
uint32_t vtr_command_flush(struct vtr_guest *guest, uint32_t resource, struct vtr_rect rect); /* with a fence */
uint32_t vtr_command_uuid(struct vtr_guest *guest, uint32_t resource, uint8_t uuid[16]);

/* The cursor queue, where commands have no answer (Linux gives no room for one). 0 or -errno. */
int vtr_command_update_cursor(struct vtr_guest *guest, uint32_t scanout, uint32_t resource, uint32_t x, uint32_t y, uint32_t hot_x,
                              uint32_t hot_y);
int vtr_command_move_cursor(struct vtr_guest *guest, uint32_t scanout, uint32_t x, uint32_t y);

#endif
