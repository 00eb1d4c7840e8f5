/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "display/output.h"

enum { DEFAULT_REFRESH_MHZ = 60000, MIN_REFRESH_MHZ = 1000, MAX_REFRESH_MHZ = 1000000 };

/* Reads digits at *text into *value, at most max; false when there is none or it is larger. */
static bool parse_number(const char **text, uint32_t max, uint32_t *value)
{
	const char *c = *text;
	uint64_t number = 0;

	if (*c < '0' || *c > '9')
		return false;
	for (; *c >= '0' && *c <= '9'; c++) {
		number = number * 10 + (uint64_t)(*c - '0');
		if (number > max)
			return false;
	}
	*text = c;
	*value = (uint32_t)number;
	return true;
}

/* Hertz with up to three decimals, in millihertz; not strtod(), whose decimal point depends on the locale. */
static bool parse_refresh(const char **text, uint32_t *refresh_mhz)
{
	uint32_t hertz, scale = 1000;

	if (!parse_number(text, MAX_REFRESH_MHZ / 1000, &hertz))
		return false;
	*refresh_mhz = hertz * 1000;
	if (**text == '.') {
		for ((*text)++; **text >= '0' && **text <= '9' && scale > 1; (*text)++)
			*refresh_mhz += (uint32_t)(**text - '0') * (scale /= 10);
		if (scale == 1000)
			return false;
	}
	return *refresh_mhz >= MIN_REFRESH_MHZ && *refresh_mhz <= MAX_REFRESH_MHZ;
}

/* Printable ASCII, which is what an EDID can carry; no comma, so that more options may follow one day. */
static bool name_is_valid(const char *name)
{
	size_t length = strlen(name);

	if (length < 1 || length > 31)
		return false;
	for (const char *c = name; *c; c++)
		if (*c < 0x20 || *c > 0x7e || *c == ',')
			return false;
	return true;
}

static bool mode_is_valid(const struct vtr_mode *mode)
{
	return mode->width >= 1 && mode->width <= VTR_MAX_DIMENSION && mode->height >= 1 && mode->height <= VTR_MAX_DIMENSION &&
	       (!mode->refresh_mhz || (mode->refresh_mhz >= MIN_REFRESH_MHZ && mode->refresh_mhz <= MAX_REFRESH_MHZ));
}

int vtr_output_parse(const char *text, struct vtr_mode *mode, char name[32])
{
	struct vtr_mode parsed = { .refresh_mhz = DEFAULT_REFRESH_MHZ };
	const char *new_name = NULL;

	if (!parse_number(&text, VTR_MAX_DIMENSION, &parsed.width) || *text++ != 'x' ||
	    !parse_number(&text, VTR_MAX_DIMENSION, &parsed.height))
		return -EINVAL;
	if (*text == '@') {
		text++;
		if (!parse_refresh(&text, &parsed.refresh_mhz))
			return -EINVAL;
	}
	if (!strncmp(text, ",name=", 6)) {
		new_name = text + 6;
		if (!name_is_valid(new_name))
			return -EINVAL;
		text += strlen(text);
	}
	if (*text || !mode_is_valid(&parsed))
		return -EINVAL;
	*mode = parsed;
	if (new_name)
		strcpy(name, new_name);
	return 0;
}

struct vtr_output *vtr_output_create(struct vtr_outputs *outputs, uint32_t index, struct vtr_display *display,
                                     const struct vtr_mode *mode, const char *name)
{
	if (!mode_is_valid(mode) || (name && !name_is_valid(name))) {
		errno = EINVAL;
		return NULL;
	}
	struct vtr_output *output = calloc(1, sizeof(*output));
	if (!output)
		return NULL;
	output->outputs = outputs;
	output->index = index;
	output->display = display;
	output->mode = *mode;
	if (name)
		strcpy(output->name, name);
	else
		snprintf(output->name, sizeof(output->name), "vitrine-%u", index);
	output->needed.event = (struct vtr_event){ .type = VTR_EVENT_FRAME_NEEDED, .output = index };
	output->mode_changed.event = (struct vtr_event){ .type = VTR_EVENT_MODE_CHANGED, .output = index };
	atomic_store(&output->connected, true);
	pthread_mutex_init(&output->lock, NULL);
	pixman_region32_init(&output->unread);
	vtr_staging_init(output);
	return output;
}

void vtr_output_destroy(struct vtr_output *output)
{
	assert(!output->display && !output->pending && !output->captures);
	vtr_staging_finish(output);
	pixman_region32_fini(&output->unread);
	pthread_mutex_destroy(&output->lock);
	free(output);
}

void vtr_output_disconnect(struct vtr_output *output)
{
	atomic_store(&output->connected, false);
	atomic_store(&output->demand, VTR_DEMAND_NONE);
	vtr_queue_drop(output);
	vtr_captures_fail(output, "the output is not connected");
	vtr_outputs_post(output->outputs, &output->mode_changed);
}

const char *vtr_output_name(const struct vtr_output *output)
{
	return output->name;
}

struct vtr_mode vtr_output_mode(const struct vtr_output *output)
{
	vtr_output_lock(output);
	struct vtr_mode mode = output->mode;
	vtr_output_unlock(output);
	return mode;
}

bool vtr_output_connected(const struct vtr_output *output)
{
	return atomic_load(&output->connected);
}

enum vtr_output_demand vtr_output_demand(const struct vtr_output *output)
{
	return atomic_load(&output->demand);
}

const char *vtr_output_display_name(const struct vtr_output *output)
{
	return output->display ? output->display->impl->name : "none";
}

bool vtr_output_accepts(const struct vtr_output *output, uint32_t format, uint64_t modifier, struct vtr_error *error)
{
	if (!output->display || !vtr_output_connected(output)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV, "the output is not connected");
		return false;
	}
	vtr_output_lock(output);
	struct vtr_error refusal = output->no_dmabufs;
	vtr_output_unlock(output);
	if (refusal.owner != VTR_ERROR_NONE) {
		if (error)
			*error = refusal;
		return false;
	}
	return output->display->impl->accepts(output->display, format, modifier, error);
}

void *vtr_output_user(const struct vtr_output *output)
{
	return output->user;
}

void vtr_output_set_user(struct vtr_output *output, void *user)
{
	output->user = user;
}

void vtr_output_set_demand(struct vtr_output *output, enum vtr_output_demand demand)
{
	if (atomic_exchange(&output->demand, demand) < demand)
		vtr_outputs_post(output->outputs, &output->needed);
}

void vtr_output_set_mode(struct vtr_output *output, const struct vtr_mode *mode)
{
	assert(mode_is_valid(mode));
	vtr_output_lock(output);
	output->mode = *mode;
	vtr_output_unlock(output);
	vtr_outputs_post(output->outputs, &output->mode_changed);
}

void vtr_output_set_connected(struct vtr_output *output, bool connected)
{
	if (connected == vtr_output_connected(output))
		return;
	if (!connected) {
		vtr_output_disconnect(output);
		return;
	}
	atomic_store(&output->connected, true);
	vtr_outputs_post(output->outputs, &output->mode_changed);
}

void vtr_output_refuse_dmabufs(struct vtr_output *output, const struct vtr_error *why)
{
	vtr_output_lock(output);
	bool changed = (output->no_dmabufs.owner != VTR_ERROR_NONE) != (why != NULL);
	output->no_dmabufs = why ? *why : (struct vtr_error){ 0 };
	vtr_output_unlock(output);
	if (changed)
		vtr_outputs_post(output->outputs, &output->needed);
}
