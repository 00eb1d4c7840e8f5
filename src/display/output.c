/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "display/output.h"

struct vtr_output *vtr_output_create(struct vtr_outputs *outputs, uint32_t index, const struct vtr_mode *mode, const char *name)
{
	if ((mode && !vtr_output_mode_is_valid(mode)) || (name && !vtr_output_name_is_valid(name))) {
		errno = EINVAL;
		return NULL;
	}
	struct vtr_output *output = calloc(1, sizeof(*output));
	if (!output)
		return NULL;
	output->outputs = outputs;
	output->index = index;
	output->mode = mode ? *mode : (struct vtr_mode){ VTR_DEFAULT_WIDTH, VTR_DEFAULT_HEIGHT, VTR_DEFAULT_REFRESH_MHZ };
	atomic_store(&output->fixed, mode != NULL);
	if (name)
		strcpy(output->name, name);
	else
		snprintf(output->name, sizeof(output->name), "vitrine-%u", index);
	output->needed.event = (struct vtr_event){ .type = VTR_EVENT_FRAME_NEEDED, .output = index };
	output->mode_changed.event = (struct vtr_event){ .type = VTR_EVENT_MODE_CHANGED, .output = index };
	output->display_changed.event = (struct vtr_event){ .type = VTR_EVENT_DISPLAY_CHANGED, .output = index };
	output->answer.event = (struct vtr_event){ .type = VTR_EVENT_ANSWERED, .output = index };
	output->detached.deliver = vtr_output_deliver_detached;
	output->refused.deliver = vtr_output_deliver_refused;
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

void vtr_output_set_frozen(struct vtr_output *output, bool frozen)
{
	if (atomic_exchange(&output->frozen, frozen) != frozen)
		vtr_display_mail(output, VTR_MAIL_FROZEN);
}

bool vtr_output_frozen(const struct vtr_output *output)
{
	return atomic_load(&output->frozen);
}

/* Any thread. Whatever was submitted or asked for in the meantime is found here or by its submitter, who looks at `connected` after
 * it put it down. */
void vtr_output_set_connected(struct vtr_output *output, bool connected)
{
	if (atomic_exchange(&output->connected, connected) == connected)
		return;
	if (!connected) {
		atomic_store(&output->demand, VTR_DEMAND_NONE);
		vtr_queue_drop(output);
		vtr_captures_fail(output, "the output is not connected");
	}
	vtr_outputs_post(output->outputs, &output->mode_changed);
}

unsigned vtr_output_number(const struct vtr_output *output)
{
	return output->index;
}

const char *vtr_output_name(const struct vtr_output *output)
{
	return output->name;
}

uint32_t vtr_output_index(const struct vtr_output *output)
{
	return output->index;
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

bool vtr_output_picture_size(const struct vtr_output *output, uint32_t *width, uint32_t *height)
{
	*width = output->layout.width;
	*height = output->layout.height;
	return output->layout.width != 0;
}

enum vtr_output_demand vtr_output_demand(const struct vtr_output *output)
{
	return atomic_load(&output->demand);
}

const char *vtr_output_display_name(const struct vtr_output *output)
{
	return output->display ? output->display->impl->name : "none";
}

static bool has_display(const struct vtr_output *output, struct vtr_error *error)
{
	if (output->display && vtr_output_connected(output))
		return true;
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV, "the output is not connected");
	return false;
}

bool vtr_output_accepts_texture(const struct vtr_output *output, void *egl_display, struct vtr_error *error)
{
	if (!has_display(output, error))
		return false;
	if (output->display->impl->accepts_texture)
		return output->display->impl->accepts_texture(output->display, egl_display, error);
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "the display does not draw with EGL: it needs a dmabuf");
	return false;
}

bool vtr_output_accepts_flipped(const struct vtr_output *output, struct vtr_error *error)
{
	if (!has_display(output, error))
		return false;
	if (!output->display->impl->flips)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "the display cannot show a picture that is upside down in memory");
	return output->display->impl->flips;
}

bool vtr_output_accepts(const struct vtr_output *output, uint32_t format, uint64_t modifier, struct vtr_error *error)
{
	if (!has_display(output, error))
		return false;
	vtr_output_lock(output);
	struct vtr_error refusal = output->no_dmabufs;
	vtr_output_unlock(output);
	if (refusal.owner != VTR_ERROR_NONE) {
		if (error)
			*error = refusal;
		return false;
	}
	return output->display->impl->accepts(output->display, output, format, modifier, error);
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

bool vtr_output_fixed(const struct vtr_output *output)
{
	return atomic_load(&output->fixed);
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
