/* SPDX-License-Identifier: MIT */
/*
 * The KMS display: the screens of a host without a compositor. One output per connector of one DRM card.
 *
 * A frame's dmabuf becomes a framebuffer (import.c) and is scanned out where it lies; what the card does not take is copied into
 * dumb buffers (copy.c). Page flip events are the guest's clock (output.c). Monitors come and go (connector.c), the cursor has a
 * plane of its own where there is one (cursor.c).
 *
 * The card belongs to one program at a time, its master. Without being master nothing is shown: the outputs ask for no frames, and
 * complete what comes at the refresh rate.
 *
 * Threads: vtr_kms_create() reads the card on the caller's thread; from then on everything is the display thread's, but for
 * accepts() and vtr_kms_connector(), which read what does not change.
 */
#include "kms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "hotplug.h"
#include "util/fd.h"

static struct kms *kms_from(struct vtr_display *display)
{
	return (struct kms *)display;
}

/* ---- events of the card ---- */

static void flipped(int fd, unsigned sequence, unsigned seconds, unsigned microseconds, unsigned crtc, void *data)
{
	struct kms_crtc *on = data;
	struct kms_output *output = on->user;
	uint64_t time_ns = seconds * UINT64_C(1000000000) + microseconds * UINT64_C(1000);

	/* with more to come this one is of what another output showed there */
	if (!--on->events && output)
		kms_output_flipped(output, output->kms->card.monotonic && time_ns ? time_ns : vtr_now_ns());
}

static void card_event(int fd, uint32_t events, void *data)
{
	struct kms *kms = data;
	drmEventContext context = { .version = 3, .page_flip_handler2 = flipped };
	struct vtr_error error;

	if (events & EPOLLIN)
		drmHandleEvent(fd, &context);
	if (events & (EPOLLERR | EPOLLHUP)) {
		vtr_source_remove(kms->events);
		kms->events = NULL;
		vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "%s is gone", kms->card.path);
		vtr_display_failed(&kms->base, &error);
	}
}

/* ---- monitors ---- */

static void probe_all(struct kms *kms)
{
	for (size_t i = 0; i < kms->n_outputs; i++)
		kms_connector_probe(kms->outputs[i]);
}

static void hotplug_event(int fd, uint32_t events, void *data)
{
	struct kms *kms = data;
	struct stat status;

	if (!fstat(kms->card.fd, &status) && kms_hotplug_read(fd, status.st_rdev))
		probe_all(kms);
}

static void start_hotplug(struct kms *kms)
{
	kms->hotplug = kms_hotplug_open();
	if (kms->hotplug < 0 || !vtr_loop_add_fd(kms->base.loop, kms->hotplug, EPOLLIN, hotplug_event, kms))
		vtr_log(VTR_LOG_WARN,
		        "kms: no messages about monitors (%s): one that is plugged in is seen after a switch of terminals",
		        strerror(kms->hotplug < 0 ? -kms->hotplug : errno));
}

/* ---- memory ---- */

static bool sweep_copy(struct kms_output *output)
{
	bool left = false;

	for (unsigned i = 0; i < 2; i++) {
		if (!output->copy.dumbs[i].handle || output->shown.dumb == (int)i || output->coming.dumb == (int)i)
			continue;
		if (vtr_now_ns() - output->copy.used_ns >= UINT64_C(1000000) * KMS_IMPORT_KEEP_MS)
			kms_copy_drop(&output->copy, i);
		else
			left = true;
	}
	return left;
}

static void sweep(void *data)
{
	struct kms *kms = data;

	kms->sweeping = false;
	bool left = kms_imports_sweep(&kms->imports, false);

	for (size_t i = 0; i < kms->n_outputs; i++)
		left |= sweep_copy(kms->outputs[i]);
	if (left)
		kms_sweep_later(kms);
}

void kms_sweep_later(struct kms *kms)
{
	if (!kms->sweeping)
		vtr_timer_arm(kms->sweep, vtr_now_ns() + UINT64_C(1000000) * KMS_IMPORT_KEEP_MS);
	kms->sweeping = true;
}

/* ---- the thread ---- */

static void bury(void *data);

static int start(struct vtr_display *display)
{
	struct kms *kms = kms_from(display);
	struct vtr_loop *loop = display->loop;

	kms->sweep = vtr_loop_add_timer(loop, sweep, kms);
	kms->retry = vtr_loop_add_timer(loop, kms_retry_master, kms);
	kms->burial = vtr_loop_add_event(loop, bury, kms);
	kms->events = vtr_loop_add_fd(loop, kms->card.fd, EPOLLIN, card_event, kms);
	kms->keeper_source = vtr_loop_add_fd(loop, kms->keeper.socket, EPOLLIN, kms_keeper_event, kms);
	if (!kms->sweep || !kms->retry || !kms->burial || !kms->events || !kms->keeper_source)
		return -errno;
	start_hotplug(kms);
	return 0;
}

/* First the screens as they were: what is given back then is not on them any more. */
static void stop(struct vtr_display *display)
{
	struct kms *kms = kms_from(display);

	kms_keeper_end(&kms->keeper, &kms->card);
	kms->away = true;
	bury(kms);
}

/* ---- outputs ---- */

/* The connector of that name, else the first one that shows no output: those with a monitor come first. NULL: none is left. */
static struct kms_connector *find_connector(struct kms *kms, const char *name)
{
	struct kms_connector *found = NULL;

	for (size_t i = 0; i < kms->card.n_connectors; i++) {
		struct kms_connector *connector = &kms->card.connectors[i];

		if (connector->busy)
			continue;
		if (!strcmp(connector->name, name))
			return connector;
		if (!found)
			found = connector;
	}
	return found;
}

/* A mode that is fixed is one that the user wants. */
static void read_wanted(struct kms_output *output)
{
	output->wanted = vtr_output_fixed(output->output) ? vtr_output_mode(output->output) : (struct vtr_mode){ 0 };
}

static int attach(struct vtr_display *display, struct vtr_output *vtr_output)
{
	struct kms *kms = kms_from(display);

	bury(kms); /* it may have been here a moment ago */
	struct kms_connector *connector = find_connector(kms, vtr_output_name(vtr_output));
	if (!connector)
		return -ENODEV;
	struct kms_output *output = calloc(1, sizeof(*output));
	if (!output)
		return -ENOMEM;
	output->kms = kms;
	output->output = vtr_output;
	output->connector = connector;
	vtr_capture_set_init(&output->captures, vtr_output);
	read_wanted(output);
	int error = kms_output_init(output);
	if (error) {
		free(output);
		return error;
	}
	connector->busy = true;
	vtr_output_set_user(vtr_output, output);
	kms->outputs[kms->n_outputs++] = output;
	kms_connector_probe(output);
	return 0;
}

static void forget(struct kms *kms, struct kms_output *output)
{
	size_t i = 0;

	while (kms->outputs[i] != output)
		i++;
	memmove(&kms->outputs[i], &kms->outputs[i + 1], (kms->n_outputs - i - 1) * sizeof(kms->outputs[0]));
	kms->n_outputs--;
}

/* The screen goes dark a little later, from the loop; or, when the display ends, not at all, because the keeper is quicker. */
static void detach(struct vtr_display *display, struct vtr_output *vtr_output)
{
	struct kms *kms = kms_from(display);
	struct kms_output *output = vtr_output_user(vtr_output);

	vtr_capture_set_give_back(&output->captures);
	kms_output_release(output);
	if (output->refusals)
		vtr_output_refuse_dmabufs(vtr_output, NULL);
	forget(kms, output);
	output->output = NULL;
	output->next = kms->leaving;
	kms->leaving = output;
	vtr_event_raise(kms->burial);
}

static void bury(void *data)
{
	struct kms *kms = data;
	struct kms_output *output;

	while ((output = kms->leaving)) {
		kms->leaving = output->next;
		kms_connector_finish(output);
		kms_cursor_finish(output);
		kms_output_finish(output);
		output->connector->busy = false;
		free(output);
	}
}

static void frame(struct vtr_display *display, struct vtr_output *output)
{
	kms_output_show(vtr_output_user(output));
}

static void cursor(struct vtr_display *display, struct vtr_output *output)
{
	kms_cursor_update(vtr_output_user(output), false);
}

static void mode(struct vtr_display *display, struct vtr_output *output)
{
	read_wanted(vtr_output_user(output));
	kms_connector_probe(vtr_output_user(output));
}

static void capture(struct vtr_display *display, struct vtr_output *output, struct vtr_capture *capture)
{
	struct kms_output *state = vtr_output_user(output);
	struct vtr_error error;

	vtr_capture_set_add(&state->captures, capture);
	if (!state->pipe.crtc) {
		vtr_error_set(&error, VTR_ERROR_HOST, ENODEV, "nothing is plugged into connector %s", state->connector->name);
		vtr_capture_set_fail(&state->captures, &error);
	}
	kms_output_update_demand(state);
}

static bool accepts(struct vtr_display *display, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                    struct vtr_error *error)
{
	const struct kms_card *card = &kms_from(display)->card;

	if (!card->imports) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "%s imports no dmabufs", card->driver);
		return false;
	}
	if (!kms_card_shows(card, NULL, format, modifier)) {
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP,
		              "%s (%s) scans out no framebuffers of format %.4s with modifier 0x%" PRIx64, card->path, card->driver,
		              (const char *)&format, modifier);
		return false;
	}
	return true;
}

static void destroy(struct vtr_display *display)
{
	struct kms *kms = kms_from(display);

	kms_keeper_end(&kms->keeper, &kms->card); /* where the thread did not start */
	kms_imports_sweep(&kms->imports, true);
	vtr_fd_close(&kms->hotplug);
	kms_card_close(&kms->card);
	free(kms);
}

static const struct vtr_display_impl kms_impl = {
	.name = "kms",
	.start = start,
	.stop = stop,
	.attach = attach,
	.detach = detach,
	.frame = frame,
	.cursor = cursor,
	.mode = mode,
	.capture = capture,
	.accepts = accepts,
	.destroy = destroy,
};

struct vtr_display *vtr_kms_create(const char *card, struct vtr_error *error)
{
	struct kms *kms = calloc(1, sizeof(*kms));

	if (!kms) {
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for the display");
		return NULL;
	}
	if (kms_card_open(&kms->card, card, error)) {
		free(kms);
		return NULL;
	}
	kms->imports.card = &kms->card;
	kms->hotplug = -1;
	int result = kms_keeper_start(&kms->keeper, &kms->card, error);
	if (result < 0)
		goto fail;
	if (!kms->keeper.has_vt)
		vtr_log(VTR_LOG_INFO, "kms: there is no virtual terminal that may be used: switches between them are not followed");
	kms->away = kms->left = result == KMS_KEEPER_AWAY;
	if (kms->away)
		drmDropMaster(kms->card.fd);
	result = vtr_display_init(&kms->base, &kms_impl);
	if (result) {
		vtr_error_set(error, VTR_ERROR_HOST, -result, "the display's thread cannot be started: %s", strerror(-result));
		goto fail_display;
	}
	vtr_log(VTR_LOG_INFO, "kms: %s (%s, %s), %zu connectors", kms->card.path, kms->card.driver,
	        kms->card.atomic ? "atomic" : "legacy", kms->card.n_connectors);
	return &kms->base;

fail_display:
	kms_keeper_end(&kms->keeper, &kms->card);
fail:
	kms_card_close(&kms->card);
	free(kms);
	return NULL;
}

bool vtr_kms_connector(const struct vtr_display *display, size_t i, struct vtr_mode *mode, char name[32])
{
	static const struct vtr_mode unknown = { 1024, 768, 60000 }; /* until a monitor is plugged in */
	const struct kms_card *card = &((const struct kms *)display)->card;

	if (i >= card->n_connectors)
		return false;
	const struct kms_connector *connector = &card->connectors[i];
	*mode = unknown;
	if (connector->connected)
		*mode = (struct vtr_mode){
			.width = connector->mode.hdisplay,
			.height = connector->mode.vdisplay,
			.refresh_mhz = kms_mode_refresh(&connector->mode),
		};
	if (name)
		strcpy(name, connector->name);
	return true;
}
