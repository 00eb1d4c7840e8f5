/* SPDX-License-Identifier: MIT */
#ifndef VTR_GUEST_FUNCTION_H
#define VTR_GUEST_FUNCTION_H

#include <stdbool.h>
#include <stdint.h>

#include <vitrine/error.h>
#include <vitrine/transport.h>

/*
 * A virtio PCI function as a driver sees it through vfio-user (virtio 1.3, 4.1): identification, BARs, the structures that the
 * vendor capabilities point to, MSI-X. Registers are read and written where the capabilities say, never at fixed places.
 *
 * Accesses return values, not errors: the first failure is kept in `error` and everything after it reads 0 and writes nothing, so
 * that a sequence is checked once at its end.
 */
enum { VTR_GUEST_BARS = 6 };

struct vtr_guest_bar {
	uint64_t size;   /* as config space says when sized; 0: none, or the upper half of the one before */
	uint64_t region; /* as vfio-user says */
	bool is_64, prefetchable, io;
};

struct vtr_guest_structure {
	bool found;
	uint8_t type;     /* VIRTIO_PCI_CAP_* */
	uint8_t position; /* of the capability in config space */
	uint8_t bar;
	uint32_t offset, length;
};

struct vtr_guest_function {
	struct vtr_vfio_user_client *client; /* not owned */
	int error;                           /* -errno of the first access that failed */

	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision, interrupt_pin;
	uint32_t class_code;
	struct vtr_guest_bar bars[VTR_GUEST_BARS];
	struct vtr_guest_structure common, notify, isr, config, pci;
	uint32_t notify_multiplier;
	uint8_t msix_position; /* 0: none */
	uint16_t msix_vectors;
	uint8_t msix_table_bar, msix_pba_bar;
	uint32_t msix_table_offset, msix_pba_offset;
	uint32_t n_capabilities;
	uint32_t region_flags[9]; /* VFIO_REGION_INFO_FLAG_*, by region */
};

/* Reads all of the above. 0 or -errno with *error (may be NULL) filled: EPROTO when this is no usable modern virtio function. */
int vtr_guest_function_init(struct vtr_guest_function *function, struct vtr_vfio_user_client *client, struct vtr_error *error);

/* Little-endian registers of width 1, 2, 4 (or 8: two of 4, as virtio 1.3, 4.1.3.1 wants) in a structure; in config space. */
uint64_t vtr_guest_function_read(struct vtr_guest_function *function, const struct vtr_guest_structure *structure, uint32_t offset,
                                 unsigned width);
void vtr_guest_function_write(struct vtr_guest_function *function, const struct vtr_guest_structure *structure, uint32_t offset,
                              unsigned width, uint64_t value);
uint32_t vtr_guest_config_space_read(struct vtr_guest_function *function, uint32_t offset, unsigned width);
void vtr_guest_config_space_write(struct vtr_guest_function *function, uint32_t offset, unsigned width, uint32_t value);

/* The device's offered feature bits; 0 on failure. */
uint64_t vtr_guest_function_features(struct vtr_guest_function *function);
/* Device status (virtio 1.3, 2.1). */
uint8_t vtr_guest_function_status(struct vtr_guest_function *function);
void vtr_guest_function_set_status(struct vtr_guest_function *function, uint8_t status);

/* Writes 0 to the status and waits until it reads 0. 0 or -errno. */
int vtr_guest_function_reset(struct vtr_guest_function *function, int timeout_ms);

/* ACKNOWLEDGE, DRIVER, features, FEATURES_OK (virtio 1.3, 3.1.1 steps 2 to 6). 0, -ENOTSUP when the device refuses the features, or
 * -errno. */
int vtr_guest_function_negotiate(struct vtr_guest_function *function, uint64_t features);

/* Ends a sequence: returns the first error since the last call and forgets it. */
int vtr_guest_function_check(struct vtr_guest_function *function);

#endif
