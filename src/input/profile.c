/* SPDX-License-Identifier: MIT */
/*
 * The four kinds of devices, and the configuration space that describes them (virtio 1.3, 5.8.4 and 5.8.5).
 *
 * What a guest takes a device for depends on its bits. The keyboard has no buttons, or it would count as a joystick. The tablet has
 * a mouse's buttons and no BTN_TOUCH, which makes it an absolute mouse to udev and libinput. The touch screen is INPUT_PROP_DIRECT
 * and has, besides its slots, the axes of a single finger for programs that know no more.
 */
#include "input/profile.h"

#include <linux/input-event-codes.h>
#include <linux/input.h>
#include <string.h>

#define BITS(table)                                                                                                                \
	{                                                                                                                          \
		table, sizeof(table) / sizeof((table)[0])                                                                          \
	}

enum { VENDOR = 0x1af4, VERSION = 1 };

/* Everything that is a key, with a few numbers among them that mean nothing yet; what lies between the ranges is BTN_* and gaps. */
static const struct vtr_input_range keyboard_keys[] = {
	{ KEY_ESC, KEY_KPDOT },        { KEY_ZENKAKUHANKAKU, KEY_F24 },           { KEY_PLAYCD, KEY_MICMUTE },
	{ KEY_OK, KEY_LIGHTS_TOGGLE }, { KEY_ALS_TOGGLE, BTN_TRIGGER_HAPPY - 1 },
};
static const struct vtr_input_range keyboard_leds[] = { { LED_NUML, LED_SCROLLL } };
static const struct vtr_input_range buttons[] = { { BTN_LEFT, BTN_TASK } };
static const struct vtr_input_range wheels[] = { { REL_HWHEEL, REL_HWHEEL },
	                                         { REL_WHEEL, REL_WHEEL },
	                                         { REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES } };
static const struct vtr_input_range mouse_axes[] = {
	{ REL_X, REL_Y }, { REL_HWHEEL, REL_HWHEEL }, { REL_WHEEL, REL_WHEEL }, { REL_WHEEL_HI_RES, REL_HWHEEL_HI_RES }
};
static const struct vtr_input_range mouse_properties[] = { { INPUT_PROP_POINTER, INPUT_PROP_POINTER } };
static const struct vtr_input_range touch_keys[] = { { BTN_TOUCH, BTN_TOUCH } };
static const struct vtr_input_range touch_properties[] = { { INPUT_PROP_DIRECT, INPUT_PROP_DIRECT } };

static const struct vtr_input_axis tablet_axes[] = {
	{ ABS_X, VTR_INPUT_ABS_MAX },
	{ ABS_Y, VTR_INPUT_ABS_MAX },
};
static const struct vtr_input_axis touch_axes[] = {
	{ ABS_X, VTR_INPUT_ABS_MAX },
	{ ABS_Y, VTR_INPUT_ABS_MAX },
	{ ABS_MT_SLOT, VTR_INPUT_CONTACTS - 1 },
	{ ABS_MT_POSITION_X, VTR_INPUT_ABS_MAX },
	{ ABS_MT_POSITION_Y, VTR_INPUT_ABS_MAX },
	{ ABS_MT_TRACKING_ID, VTR_INPUT_TRACKING_MAX },
};

const struct vtr_input_profile vtr_input_profiles[VTR_INPUT_KINDS] = {
	[VTR_INPUT_KEYBOARD] = {
		.kind = "keyboard",
		.name = "Vitrine Keyboard",
		.serial = "vitrine-keyboard",
		.product = 1,
		.class_code = 0x090000,
		.repeats = true,
		.keys = BITS(keyboard_keys),
		.leds = BITS(keyboard_leds),
	},
	[VTR_INPUT_TABLET] = {
		.kind = "tablet",
		.name = "Vitrine Tablet",
		.serial = "vitrine-tablet",
		.product = 2,
		.class_code = 0x098000,
		.keys = BITS(buttons),
		.relative = BITS(wheels),
		.axes = tablet_axes,
		.n_axes = sizeof(tablet_axes) / sizeof(tablet_axes[0]),
	},
	[VTR_INPUT_MOUSE] = {
		.kind = "mouse",
		.name = "Vitrine Mouse",
		.serial = "vitrine-mouse",
		.product = 3,
		.class_code = 0x090200,
		.properties = BITS(mouse_properties),
		.keys = BITS(buttons),
		.relative = BITS(mouse_axes),
	},
	[VTR_INPUT_TOUCH] = {
		.kind = "touch",
		.name = "Vitrine Touchscreen",
		.serial = "vitrine-touch",
		.product = 4,
		.class_code = 0x098000,
		.properties = BITS(touch_properties),
		.keys = BITS(touch_keys),
		.axes = touch_axes,
		.n_axes = sizeof(touch_axes) / sizeof(touch_axes[0]),
	},
};

bool vtr_input_has(const struct vtr_input_bits *bits, uint32_t code)
{
	for (size_t i = 0; i < bits->count; i++)
		if (code >= bits->ranges[i].first && code <= bits->ranges[i].last)
			return true;
	return false;
}

/* ---- the configuration space ---- */

static void put_string(struct virtio_input_config *config, const char *text)
{
	config->size = (uint8_t)strnlen(text, sizeof(config->u.string)); /* without a zero at the end */
	memcpy(config->u.string, text, config->size);
}

static void put_bit(struct virtio_input_config *config, uint32_t bit)
{
	config->u.bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
	if (config->size <= bit / 8)
		config->size = (uint8_t)(bit / 8 + 1);
}

static void put_bits(struct virtio_input_config *config, const struct vtr_input_bits *bits)
{
	for (size_t i = 0; i < bits->count; i++)
		for (uint32_t bit = bits->ranges[i].first; bit <= bits->ranges[i].last; bit++)
			put_bit(config, bit);
}

static void put_events(struct virtio_input_config *config, const struct vtr_input_profile *profile, uint8_t type)
{
	switch (type) {
	case EV_KEY:
		put_bits(config, &profile->keys);
		break;
	case EV_REL:
		put_bits(config, &profile->relative);
		break;
	case EV_ABS:
		for (size_t i = 0; i < profile->n_axes; i++)
			put_bit(config, profile->axes[i].code);
		break;
	case EV_LED:
		put_bits(config, &profile->leds);
		break;
	case EV_REP:
		if (profile->repeats) {
			put_bit(config, REP_DELAY);
			put_bit(config, REP_PERIOD);
		}
		break;
	default:
		break;
	}
}

static void put_axis(struct virtio_input_config *config, const struct vtr_input_profile *profile, uint8_t code)
{
	for (size_t i = 0; i < profile->n_axes; i++)
		if (profile->axes[i].code == code) {
			config->u.abs.max = (uint32_t)profile->axes[i].max;
			config->size = sizeof(config->u.abs);
		}
}

void vtr_input_configuration(const struct vtr_input_profile *profile, uint8_t select, uint8_t subsel,
                             struct virtio_input_config *config)
{
	*config = (struct virtio_input_config){ .select = select, .subsel = subsel };
	if (select == VIRTIO_INPUT_CFG_EV_BITS) {
		put_events(config, profile, subsel);
	} else if (select == VIRTIO_INPUT_CFG_ABS_INFO) {
		put_axis(config, profile, subsel);
	} else if (subsel == 0) {
		if (select == VIRTIO_INPUT_CFG_ID_NAME)
			put_string(config, profile->name);
		else if (select == VIRTIO_INPUT_CFG_ID_SERIAL)
			put_string(config, profile->serial);
		else if (select == VIRTIO_INPUT_CFG_PROP_BITS)
			put_bits(config, &profile->properties);
		if (select == VIRTIO_INPUT_CFG_ID_DEVIDS) {
			config->u.ids = (struct virtio_input_devids){ BUS_VIRTUAL, VENDOR, profile->product, VERSION };
			config->size = sizeof(config->u.ids);
		}
	}
}

const char *vtr_input_kind_name(enum vtr_input_kind kind)
{
	return vtr_input_profiles[kind].kind;
}

uint32_t vtr_input_class_code(enum vtr_input_kind kind)
{
	return vtr_input_profiles[kind].class_code;
}
