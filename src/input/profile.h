/* SPDX-License-Identifier: MIT */
#ifndef VTR_INPUT_PROFILE_H
#define VTR_INPUT_PROFILE_H

#include <linux/virtio_input.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/input.h>

/* What a kind of device is to the guest: its configuration space (virtio 1.3, 5.8.4) as tables. */

enum { VTR_INPUT_ABS_MAX = 32767, VTR_INPUT_TRACKING_MAX = 65535 };

struct vtr_input_range {
	uint16_t first, last;
};

/* Codes of one event type, or properties. */
struct vtr_input_bits {
	const struct vtr_input_range *ranges;
	size_t count;
};

struct vtr_input_axis {
	uint16_t code; /* ABS_* */
	int32_t max;   /* the minimum is 0 */
};

struct vtr_input_profile {
	const char *kind;
	const char *name, *serial;
	uint16_t product;
	uint32_t class_code;
	bool repeats; /* the guest repeats its keys: EV_REP */
	struct vtr_input_bits properties, keys, relative, leds;
	const struct vtr_input_axis *axes;
	size_t n_axes;
};

extern const struct vtr_input_profile vtr_input_profiles[VTR_INPUT_KINDS];

bool vtr_input_has(const struct vtr_input_bits *bits, uint32_t code);

/* Fills config for what the driver selected. Whatever there is no answer to has size 0. */
void vtr_input_configuration(const struct vtr_input_profile *profile, uint8_t select, uint8_t subsel,
                             struct virtio_input_config *config);

#endif
