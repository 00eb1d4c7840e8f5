/* SPDX-License-Identifier: MIT */
#ifndef VTR_VIRTIO_DEVICE_H
#define VTR_VIRTIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/virtio.h>

#include "virtio/queue.h"
#include "virtio/saved_memory.h"

/*
 * A virtio device: what a device type (gpu, input) implements, and what a transport (the PCI function, vhost-user) drives. The
 * device type knows no transport, the transport no device type. Everything runs on the device thread.
 *
 * While a device type's access to remote memory waits for the VMM, the transport may add and remove memory, and must hold back all
 * else that reaches the device: register accesses and resets come after the access has returned.
 */
enum { VTR_VIRTIO_MAX_QUEUES = 4 };

struct vtr_virtio_device_impl {
	/* Feature bits of the device type; the core adds VERSION_1, INDIRECT_DESC, EVENT_IDX, RING_RESET, ACCESS_PLATFORM. */
	uint64_t (*features)(struct vtr_virtio_device *device);
	/* Copies length bytes of the device configuration at offset; the caller made sure that the range lies inside config_size.
	 * Both may be NULL when config_size is 0, config_write also when nothing can be written. */
	void (*config_read)(struct vtr_virtio_device *device, uint32_t offset, void *buffer, uint32_t length);
	void (*config_write)(struct vtr_virtio_device *device, uint32_t offset, const void *buffer, uint32_t length);
	/* The driver set DRIVER_OK. May be NULL. */
	void (*activate)(struct vtr_virtio_device *device);
	/* queue may hold new chains: pop until there is none (or -EAGAIN: the core calls again). Called from the loop, never from
	 * inside a transport's message handler. Whoever stops earlier, after some chains and so as not to starve others, is called
	 * again by itself; whoever took none, because it can hold no more, calls vtr_virtio_kick() when it can. A broken queue is
	 * the core's to report. */
	void (*notify)(struct vtr_virtio_device *device, unsigned queue);
	/* Forget all chains of this queue (vtr_chain_free); the queue is about to be reset (RING_RESET). */
	void (*queue_reset)(struct vtr_virtio_device *device, unsigned queue);
	/* The transport is about to stop this queue, and may resume it: what was taken from it is answered now. NULL: nothing is
	 * ever kept. */
	void (*drain)(struct vtr_virtio_device *device, unsigned queue);
	/* Another device of the VM wants the object that the guest knows by this UUID, a dmabuf: an fd (CLOEXEC) of the caller's,
	 * or -errno. NULL: this type exports none. */
	int (*export_object)(struct vtr_virtio_device *device, const uint8_t uuid[16]);
	/* The shared memory regions of the device (virtio 1.3, 2.10): bytes of the one with that id, a power of two not below the
	 * page size, or 0: there is none. Never changes. NULL: there are none. */
	uint64_t (*shm_size)(const struct vtr_virtio_device *device, uint8_t shmid);
	/* Back to the state after power-on: all resources gone, all chains forgotten. */
	void (*reset)(struct vtr_virtio_device *device);
	/* What a successor of this process has to know of the driver. saved_size: bytes of memory that it takes; save: it is kept
	 * up to date there until the next reset, after what the memory holds has been brought back (restore: 0, or -errno and
	 * nothing is saved) or forgotten. Both NULL: there is nothing to save. */
	size_t (*saved_size)(void);
	int (*save)(struct vtr_virtio_device *device, struct vtr_saved_memory *memory, bool restore);
	/* In place of reset when the VMM is gone: everything of the guest goes just so, but what people see of the device may stay
	 * as it was until the next reset. Memory can still be read where that does not mean asking the VMM. NULL: reset. */
	void (*abandoned)(struct vtr_virtio_device *device);
};

/* A part of a shared memory region. */
struct vtr_virtio_shm_range {
	uint8_t shmid;
	uint64_t offset, size; /* bytes, multiples of the page size, inside the region */
};

/* What came of vtr_virtio_shm_map() or _unmap(): 0; -EREMOTEIO: the VMM refused; -ETIMEDOUT: it has not answered, and may still do
 * what it was asked for; -ECONNRESET: nobody is there any more who could. From the loop. */
typedef void (*vtr_virtio_shm_done)(int result, void *data);

/* Set by the transport. */
struct vtr_virtio_transport_impl {
	void (*interrupt_queue)(void *data, unsigned queue); /* used ring changed and the driver wants to know */
	void (*interrupt_config)(void *data);                /* configuration or status changed */
	/* export_object can be asked for this one from now on, or no longer. NULL: there is nobody who would. */
	void (*object_added)(void *data, const uint8_t uuid[16]);
	void (*object_removed)(void *data, const uint8_t uuid[16]);
	/* As vtr_virtio_shm_map() and vtr_virtio_shm_unmap(). Both NULL: this transport has no shared memory regions. */
	int (*shm_map)(void *data, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset, bool writable,
	               vtr_virtio_shm_done done, void *done_data);
	int (*shm_unmap)(void *data, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done, void *done_data);
};

/* Answers of a queue that could not be written yet, in the order they were given. */
struct vtr_virtio_answers {
	struct vtr_virtio_answer *head, *tail; /* tail: while there is a head */
};

struct vtr_virtio_device {
	const struct vtr_virtio_device_impl *impl;
	uint16_t id;
	unsigned n_queues;
	uint32_t config_size;
	struct vtr_memory *memory;
	struct vtr_loop *loop;
	struct vtr_virtqueue queues[VTR_VIRTIO_MAX_QUEUES];

	/* negotiated state */
	uint64_t requested_features; /* as the driver last wrote them */
	uint64_t driver_features;    /* accepted with FEATURES_OK */
	uint8_t status;              /* VIRTIO_CONFIG_S_* */
	uint8_t config_generation;

	const struct vtr_virtio_transport_impl *transport; /* NULL without one */
	void *transport_data;
	struct vtr_source *kick;                                  /* loop event: deferred notifies */
	uint32_t kicked;                                          /* bit per queue */
	struct vtr_virtio_answers answers[VTR_VIRTIO_MAX_QUEUES]; /* at most as many as chains are in flight */
};

/* Embedded: queue_sizes holds n_queues maximum sizes (powers of two, at most VTR_MAX_QUEUE_SIZE). memory and loop are used, not
 * owned. 0 or -errno; vtr_virtio_device_finish() is fine after either. */
int vtr_virtio_device_init(struct vtr_virtio_device *device, const struct vtr_virtio_device_impl *impl, uint16_t id,
                           unsigned n_queues, const uint16_t *queue_sizes, uint32_t config_size, struct vtr_memory *memory,
                           struct vtr_loop *loop);
/* Ends the core's part; does not call impl->reset. */
void vtr_virtio_device_finish(struct vtr_virtio_device *device);

/* ---- for device types ---- */
bool vtr_virtio_has_feature(const struct vtr_virtio_device *device, unsigned bit); /* negotiated */
void vtr_virtio_config_changed(struct vtr_virtio_device *device); /* new generation, configuration interrupt when DRIVER_OK */
/* Answers the chain: writes size bytes of response to its beginning (none when it has no room for all), pushes it and interrupts
 * when the driver asked for it. The chain is the core's from now on, and the response copied if need be: what cannot be written now
 * is written from the loop, in the order of the calls, and forgotten when the queue is reset. */
void vtr_virtio_answer(struct vtr_virtio_device *device, unsigned queue, struct vtr_chain *chain, const void *response,
                       uint32_t size);
/* The same for a chain whose bytes, `written`, are there already. */
void vtr_virtio_complete(struct vtr_virtio_device *device, unsigned queue, struct vtr_chain *chain, uint32_t written);
void vtr_virtio_object_added(struct vtr_virtio_device *device, const uint8_t uuid[16]);
void vtr_virtio_object_removed(struct vtr_virtio_device *device, const uint8_t uuid[16]);
/* The guest sees range.size bytes at fd_offset of fd (not taken) in that range of a shared memory region, when done has been called
 * with 0. The VMM deals with requests in the order in which they were made, forgets all mappings when the device is reset, and
 * keeps them when we are gone. 0: done is called, once, later; -EOPNOTSUPP: the transport, or this VMM, has no such regions;
 * -EAGAIN: not
 * while the device's queues are stopped; or another -errno: it cannot be asked now. */
int vtr_virtio_shm_map(struct vtr_virtio_device *device, const struct vtr_virtio_shm_range *range, int fd, uint64_t fd_offset,
                       bool writable, vtr_virtio_shm_done done, void *data);
/* Takes away what one vtr_virtio_shm_map() has placed there. done may be NULL. */
int vtr_virtio_shm_unmap(struct vtr_virtio_device *device, const struct vtr_virtio_shm_range *range, vtr_virtio_shm_done done,
                         void *data);
/* Sets DEVICE_NEEDS_RESET (virtio 1.3, 2.1.2) and tells the driver; queues stop until reset. reason goes to the debug log. */
void vtr_virtio_broken(struct vtr_virtio_device *device, const char *reason);

/* ---- for transports ---- */
/* Bytes of the shared memory region with that id; 0: the device has none of it. */
uint64_t vtr_virtio_shm_size(const struct vtr_virtio_device *device, uint8_t shmid);
void vtr_virtio_set_transport(struct vtr_virtio_device *device, const struct vtr_virtio_transport_impl *impl, void *data);
/* Not the device but the VMM says how large queues may be: up to size, a power of two, at most VTR_MAX_QUEUE_SIZE. Before any queue
 * is used. */
void vtr_virtio_set_max_queue_size(struct vtr_virtio_device *device, uint16_t size);
/* The driver's answer to the features, remembered until FEATURES_OK and ignored after it. Masks nothing, refuses: -EINVAL when a
 * bit was not offered or VERSION_1 is missing; FEATURES_OK will then not stay. */
int vtr_virtio_set_driver_features(struct vtr_virtio_device *device, uint64_t features);
/* Writes the status as the driver does (virtio 1.3, 2.1): bits are only added; 0 resets the device. FEATURES_OK is dropped again
 * when the features are not acceptable, DRIVER_OK without FEATURES_OK is ignored. */
void vtr_virtio_set_status(struct vtr_virtio_device *device, uint8_t status);
void vtr_virtio_reset(struct vtr_virtio_device *device);
/* The VMM is gone, and its memory is about to go: impl->abandoned, and the core is as after reset. A reset has to come before the
 * next driver does. */
void vtr_virtio_abandon(struct vtr_virtio_device *device);
/* Starts a queue whose size and addresses are set. 0; -EINVAL when there is no such queue, it runs already, or FEATURES_OK is not
 * set yet. */
int vtr_virtio_enable_queue(struct vtr_virtio_device *device, unsigned queue);
/* One queue back to the state after reset (virtio 1.3, 2.6.1). */
void vtr_virtio_reset_queue(struct vtr_virtio_device *device, unsigned queue);
/* Stops a queue that the transport may resume, the device keeping all else: what is under way is answered first, as far as memory
 * can be reached. Returns where it stopped, the next available index (0 for a queue that does not run). */
uint16_t vtr_virtio_stop_queue(struct vtr_virtio_device *device, unsigned queue);
/* As vtr_virtio_enable_queue() for a queue that stopped at last_avail: where its used ring goes on is in guest memory. */
int vtr_virtio_resume_queue(struct vtr_virtio_device *device, unsigned queue, uint16_t last_avail);
/* The driver rang: impl->notify will be called from the loop; after DRIVER_OK if that is still to come. Any number is fine. */
void vtr_virtio_kick(struct vtr_virtio_device *device, unsigned queue);
/* The same for who comes from the loop and has nobody waiting for an answer: the queue is served at once. */
void vtr_virtio_serve(struct vtr_virtio_device *device, unsigned queue);

#endif
