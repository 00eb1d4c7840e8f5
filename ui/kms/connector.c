/* SPDX-License-Identifier: MIT */
/*
 * Monitors: what is plugged into a connector, the modes it takes, and the CRTC that feeds it while it is there.
 *
 * The guest is told one mode: what the user asked for where the monitor has it, else what the monitor prefers; and a new one when a
 * monitor comes that prefers another. What the guest then shows is its own business: kms_connector_mode() finds a mode for it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kms.h"

static bool has_size(const drmModeModeInfo *mode, uint32_t width, uint32_t height)
{
	return mode->hdisplay == width && mode->vdisplay == height;
}

static uint32_t distance(uint32_t a, uint32_t b)
{
	return a > b ? a - b : b - a;
}

/* The mode of this size whose refresh rate is nearest to refresh_mhz, or NULL. */
static const drmModeModeInfo *find_mode(const struct kms_output *output, uint32_t width, uint32_t height, uint32_t refresh_mhz)
{
	const drmModeModeInfo *found = NULL;

	for (size_t i = 0; i < output->n_modes; i++) {
		const drmModeModeInfo *mode = &output->modes[i];

		if (has_size(mode, width, height) &&
		    (!found || distance(kms_mode_refresh(mode), refresh_mhz) < distance(kms_mode_refresh(found), refresh_mhz)))
			found = mode;
	}
	return found;
}

const drmModeModeInfo *kms_connector_mode(const struct kms_output *output, uint32_t width, uint32_t height)
{
	const drmModeModeInfo *mode = NULL;

	if (!has_size(&output->mode, width, height))
		mode = find_mode(output, width, height, kms_mode_refresh(&output->mode));
	return mode ? mode : &output->mode;
}

/* ---- what is plugged in ---- */

/* The modes of the connector as it is now; none: nothing is plugged in. 0 or -errno. */
static int read_modes(struct kms_output *output)
{
	drmModeConnector *connector = drmModeGetConnector(output->kms->card.fd, output->connector->id);
	int result = 0;

	free(output->modes);
	output->modes = NULL;
	output->n_modes = 0;
	if (!connector)
		return -errno;
	if (connector->connection == DRM_MODE_CONNECTED && connector->count_modes > 0) {
		output->modes = calloc((size_t)connector->count_modes, sizeof(*output->modes));
		result = output->modes ? 0 : -ENOMEM;
	}
	if (output->modes) {
		output->n_modes = (size_t)connector->count_modes;
		memcpy(output->modes, connector->modes, output->n_modes * sizeof(*output->modes));
	}
	drmModeFreeConnector(connector);
	return result;
}

static const drmModeModeInfo *find_preferred(const struct kms_output *output)
{
	for (size_t i = 0; i < output->n_modes; i++)
		if (output->modes[i].type & DRM_MODE_TYPE_PREFERRED)
			return &output->modes[i];
	return &output->modes[0]; /* they come sorted */
}

/* What the guest is to be told. */
static const drmModeModeInfo *choose_mode(struct kms_output *output)
{
	const drmModeModeInfo *preferred = find_preferred(output), *mode = NULL;
	bool same_monitor = has_size(preferred, output->preferred.hdisplay, output->preferred.vdisplay);

	output->preferred = *preferred;
	if (output->wanted.width) {
		mode = find_mode(output, output->wanted.width, output->wanted.height, output->wanted.refresh_mhz);
		if (!mode)
			vtr_log_limited(&output->log, VTR_LOG_WARN,
			                "kms: the monitor on %s has no mode of %ux%u: it shows %ux%u, which it prefers",
			                output->connector->name, output->wanted.width, output->wanted.height, preferred->hdisplay,
			                preferred->vdisplay);
	} else if (same_monitor) {
		mode = find_mode(output, output->mode.hdisplay, output->mode.vdisplay, kms_mode_refresh(&output->mode));
	}
	return mode ? mode : preferred;
}

static void tell_guest(struct kms_output *output)
{
	struct vtr_mode old = vtr_output_mode(output->output);
	struct vtr_mode mode = {
		.width = output->mode.hdisplay,
		.height = output->mode.vdisplay,
		.refresh_mhz = kms_mode_refresh(&output->mode),
	};

	if (old.width != mode.width || old.height != mode.height || old.refresh_mhz != mode.refresh_mhz)
		vtr_output_set_mode(output->output, &mode);
}

static void connect(struct kms_output *output)
{
	struct kms_crtc *crtc = kms_card_find_crtc(&output->kms->card, output->connector);

	if (!crtc) {
		vtr_log(VTR_LOG_WARN, "kms: no CRTC of %s is left for connector %s: unplug another monitor", output->kms->card.path,
		        output->connector->name);
		return;
	}
	crtc->user = output;
	output->pipe = (struct kms_pipe){ .card = &output->kms->card, .connector = output->connector, .crtc = crtc };
	vtr_log(VTR_LOG_INFO, "kms: output %s: %ux%u on connector %s", vtr_output_name(output->output), output->mode.hdisplay,
	        output->mode.vdisplay, output->connector->name);
	if (!output->kms->away)
		kms_output_show_black(output);
	kms_cursor_update(output, true);
	vtr_output_set_connected(output->output, true);
	kms_output_update_demand(output);
}

static void turn_off(struct kms_output *output)
{
	if (!output->pipe.crtc)
		return;
	if (!output->kms->away)
		kms_commit_off(&output->pipe);
	output->pipe.crtc->user = NULL;
	output->pipe.crtc = NULL;
}

static void disconnect(struct kms_output *output)
{
	struct vtr_error error;

	if (!output->pipe.crtc)
		return;
	vtr_log(VTR_LOG_INFO, "kms: output %s: nothing is on connector %s any more", vtr_output_name(output->output),
	        output->connector->name);
	turn_off(output);
	kms_output_release(output);
	vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "nothing is plugged into connector %s", output->connector->name);
	vtr_capture_set_fail(&output->captures, &error);
}

void kms_connector_probe(struct kms_output *output)
{
	int error = read_modes(output);

	if (error)
		vtr_log_limited(&output->log, VTR_LOG_WARN, "kms: connector %s cannot be read: %s", output->connector->name,
		                strerror(-error));
	if (output->n_modes) {
		output->mode = *choose_mode(output);
		tell_guest(output);
		if (!output->pipe.crtc)
			connect(output);
		else if (output->refusals & KMS_REFUSES_SIZE)
			kms_output_refuse(output, KMS_REFUSES_SIZE, false);
	} else {
		disconnect(output);
	}
	if (!output->pipe.crtc)
		vtr_output_set_connected(output->output, false);
}

void kms_connector_finish(struct kms_output *output)
{
	turn_off(output);
	free(output->modes);
}
