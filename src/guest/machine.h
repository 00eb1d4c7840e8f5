/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_MACHINE_H
#define VTR_GUEST_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/guest.h>
#include <vitrine/transport.h>

#include "guest/area.h"
#include "guest/assigned.h"
#include "guest/function.h"
#include "guest/link.h"
#include "guest/ring.h"

/* The insides of struct vtr_guest, for the runners and checks that do what no driver does. */

enum vtr_guest_queue_index { VTR_GUEST_CONTROL, VTR_GUEST_CURSOR, VTR_GUEST_QUEUES };

struct vtr_guest_queue {
	struct vtr_guest_ring ring;
	int eventfd; /* interrupts of this queue */
};

struct vtr_guest {
	struct vtr_guest_options options;
	int timeout_ms;
	struct vtr_guest_link *link; /* owned */
	struct vtr_guest_area areas[VTR_GUEST_MEMORY_COUNT];
	struct vtr_guest_assigned *assigned; /* owned; NULL: the guest's BAR is a memfd of its own */
	struct vtr_guest_area extra[2];      /* what a check gives the device besides, for requests about it; the check's own */
	struct vtr_guest_queue queues[VTR_GUEST_QUEUES];
	uint64_t config_events;   /* configuration interrupts seen so far */
	uint64_t features;        /* negotiated */
	bool three_d;             /* this driver knows contexts: accepts VIRGL and CONTEXT_INIT, too */
	uint16_t queue_limit;     /* entries of a ring at most, a power of two; 0: VTR_GUEST_RING_MAX */
	uint64_t fence;           /* last fence id used */
	uint64_t dma_bytes;       /* read and written by requests of the device */
	struct vtr_error failure; /* the last one */
};

/* Remembers a failure for vtr_guest_error() and returns -code. */
int vtr_guest_fail(struct vtr_guest *guest, int code, const char *format, ...) VTR_PRINTF(3, 4);

/* Is there memory of this kind? Memory without an fd needs a link on which the device can ask for it. */
bool vtr_guest_has_memory(const struct vtr_guest *guest, enum vtr_guest_memory kind);
/* Gives an area to the device or takes it back; the contents stay. 0 or -errno. */
int vtr_guest_map(struct vtr_guest *guest, enum vtr_guest_memory kind);
int vtr_guest_unmap(struct vtr_guest *guest, enum vtr_guest_memory kind);

/* Memory at this guest address, or NULL when it is not all in one area, or cannot be mapped. */
void *vtr_guest_data(struct vtr_guest *guest, uint64_t address, uint64_t length);

/* Writes guest memory wherever it is. 0 or -errno: EFAULT, or the error of the connection to the assigned device. */
int vtr_guest_write(struct vtr_guest *guest, uint64_t address, const void *bytes, size_t length);
int vtr_guest_fill(struct vtr_guest *guest, uint64_t address, uint8_t value, uint64_t length);

/* From here on the client's server's requests for memory are served. */
void vtr_guest_serve_memory(struct vtr_guest *guest, struct vtr_vfio_user_client *client);

/* vtr_guest_start() with the rings in memory of the given kind. */
int vtr_guest_start_in(struct vtr_guest *guest, uint64_t features, enum vtr_guest_memory rings);

/* The parts of it, for a device that has accepted its features (also after a queue reset): an empty ring in memory of this kind,
 * and that as the queue. */
int vtr_guest_lay_queue(struct vtr_guest *guest, enum vtr_guest_queue_index index, enum vtr_guest_memory memory);
int vtr_guest_setup_queue(struct vtr_guest *guest, enum vtr_guest_queue_index index, enum vtr_guest_memory memory);

/* The features that the device offers; 0 when it does not answer. */
uint64_t vtr_guest_offered(struct vtr_guest *guest);
/* The device status; 0 when the device does not answer. */
uint8_t vtr_guest_status(struct vtr_guest *guest);
/* A 32-bit field of struct virtio_gpu_config; 0 when the device does not answer. */
uint32_t vtr_guest_config(struct vtr_guest *guest, uint32_t offset);

/* One command on its way. */
struct vtr_guest_message {
	uint64_t request, response; /* guest addresses */
	size_t request_size, response_size;
	int head; /* of its chain */
};

/* Copies request into system memory and makes it available, with room for response_size bytes of answer; no doorbell. 0 or -errno.
 */
int vtr_guest_post(struct vtr_guest *guest, enum vtr_guest_queue_index index, struct vtr_guest_message *message,
                   const void *request, size_t request_size, size_t response_size);
/* Rings the doorbell when the device wants it; `always`: in any case. 0 or -errno. */
int vtr_guest_kick(struct vtr_guest *guest, enum vtr_guest_queue_index index, bool always);
/* Waits for the next used chain. 0; -ETIMEDOUT; -EIO when the device asks for a reset; -EPROTO; or the connection's error. */
int vtr_guest_collect(struct vtr_guest *guest, enum vtr_guest_queue_index index, uint16_t *head, uint32_t *written, int timeout_ms);

/* Posts, kicks and collects one message on any queue; as vtr_guest_command(). */
long vtr_guest_exchange(struct vtr_guest *guest, enum vtr_guest_queue_index index, const void *request, size_t request_size,
                        void *response, size_t response_size);

/* Waits until config_events is above `seen`. 0, -ETIMEDOUT, or the connection's error. */
int vtr_guest_wait_config(struct vtr_guest *guest, uint64_t seen, int timeout_ms);

/* Serves the device until eventfd fires (which is read) or something else happened that may be worth a look. 0, -ETIMEDOUT, or the
 * connection's error. */
int vtr_guest_wait_event(struct vtr_guest *guest, int eventfd, int timeout_ms);

/* Lets the device's own requests be served for so long. 0 or the connection's error. */
int vtr_guest_idle(struct vtr_guest *guest, int ms);

/* False once the connection, or that to the assigned device, is lost for good. */
bool vtr_guest_connected(const struct vtr_guest *guest);

/* The device's process: as given, or the peer of the socket; 0 when unknown. */
uint32_t vtr_guest_peer_pid(const struct vtr_guest *guest);

#endif
