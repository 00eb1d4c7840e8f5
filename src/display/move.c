/* SPDX-License-Identifier: MIT */
/*
 * Outputs that come, go and move between displays.
 *
 *     free --begin--> on a display --DETACH--> leaving --detached--> free, or on the next display
 *
 * All decisions are the device thread's, and it waits for no display: it puts DETACH into the mail box, as the last thing the
 * display hears of the output, and goes on. Frames that are submitted meanwhile wait in the output's queue. When the display has
 * let go an event comes back, and only then does the next display hear of the output, so that one display thread at a time touches
 * it, and the event queue's lock carries what one thread wrote to the other. A display that never lets go keeps the output, and the
 * guest's flushes run into their deadline: it is as if that display showed nothing, which is the truth.
 *
 * A display that fails, or whose attach fails, turns its outputs over to the fallback display (headless, in vitrine), and the guest
 * notices nothing. Without one they are disconnected.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vitrine/log.h>

#include "display/output.h"

/* What is there already for a display that gets the output. */
static unsigned waiting_mail(struct vtr_output *output)
{
	vtr_output_lock(output);
	unsigned mail = (output->pending ? VTR_MAIL_FRAME : 0) | (output->cursor.serial ? VTR_MAIL_CURSOR : 0) |
	                (output->captures ? VTR_MAIL_CAPTURE : 0);
	vtr_output_unlock(output);
	return mail | (vtr_output_is_asked(output) ? VTR_MAIL_ASK : 0);
}

/* awaiting: a frame will come without the guest's doing. */
static void begin(struct vtr_output *output, struct vtr_display *display, bool awaiting)
{
	output->display = display;
	output->user = NULL;
	vtr_output_forget_monitor(output, display);
	output->fresh = true;
	output->awaiting = awaiting;
	atomic_store(&output->connected, true);
	vtr_display_add_output(display, output, waiting_mail(output));
}

void vtr_output_begin(struct vtr_output *output, struct vtr_display *display)
{
	begin(output, display, false);
}

/* From a free place to a display, which has seen nothing of it. */
static void begin_anew(struct vtr_output *output, struct vtr_display *display)
{
	bool connected = vtr_output_connected(output);

	output->renew = true;
	vtr_output_refuse_dmabufs(output, NULL); /* what the last display said */
	begin(output, display, true);
	vtr_outputs_post(output->outputs, &output->display_changed);
	if (!connected)
		vtr_outputs_post(output->outputs, &output->mode_changed);
}

/* Nobody has it: its place is free. */
static void end(struct vtr_output *output)
{
	output->display = NULL;
	output->lost[0] = '\0';
	vtr_output_forget_monitor(output, NULL);
	vtr_output_set_connected(output, false);
}

static struct vtr_display *alive_fallback(const struct vtr_outputs *outputs)
{
	return outputs->fallback && vtr_display_alive(outputs->fallback) ? outputs->fallback : NULL;
}

/* The display has let go. */
static void finish_leaving(struct vtr_output *output)
{
	struct vtr_display *next = output->next;

	output->leaving = false;
	output->next = NULL;
	output->display = NULL;
	if (output->next_name[0])
		strcpy(output->name, output->next_name);
	output->next_name[0] = '\0';
	if (next && !vtr_display_alive(next)) {
		snprintf(output->lost, sizeof(output->lost), "%s failed before it could show it", vtr_display_name(next));
		next = alive_fallback(output->outputs);
	}
	if (next)
		begin_anew(output, next);
	else
		end(output);
}

bool vtr_output_deliver_detached(struct vtr_event_node *node)
{
	finish_leaving((struct vtr_output *)((char *)node - offsetof(struct vtr_output, detached)));
	return false;
}

/* next: NULL, or alive. */
static void change_display(struct vtr_output *output, struct vtr_display *next)
{
	if (output->display == next && !output->leaving)
		return;
	if (!next)
		vtr_output_set_connected(output, false);
	else if (output->display && !atomic_exchange(&output->connected, true))
		vtr_outputs_post(output->outputs, &output->mode_changed);
	if (!output->display) {
		begin_anew(output, next);
		return;
	}
	if (next)
		vtr_display_join(next, output->outputs);
	output->next = next;
	if (output->leaving)
		return;
	vtr_display_mail(output, VTR_MAIL_DETACH);
	output->leaving = true;
}

int vtr_output_move(struct vtr_output *output, struct vtr_display *display)
{
	if (display && !vtr_display_alive(display))
		return -ENODEV;
	output->lost[0] = '\0';
	output->next_name[0] = '\0';
	if (output->display || display)
		change_display(output, display);
	return 0;
}

void vtr_output_turn_over(struct vtr_output *output, const char *why)
{
	struct vtr_display *fallback = alive_fallback(output->outputs);

	if (fallback && fallback != output->display && vtr_output_connected(output)) {
		change_display(output, fallback);
		snprintf(output->lost, sizeof(output->lost), "%s", why);
	} else if (vtr_display_alive(output->display)) {
		vtr_output_set_connected(output, false);
	} else {
		change_display(output, NULL);
	}
}

bool vtr_output_deliver_refused(struct vtr_event_node *node)
{
	struct vtr_output *output = (struct vtr_output *)((char *)node - offsetof(struct vtr_output, refused));
	char why[96];

	if (output->leaving)
		return false; /* it is on its way already */
	snprintf(why, sizeof(why), "%s cannot show it", vtr_display_name(output->display));
	vtr_output_turn_over(output, why);
	return false;
}

void vtr_output_display_destroyed(struct vtr_output *output, struct vtr_display *display)
{
	if (output->next == display)
		output->next = NULL;
	if (output->display != display)
		return;
	vtr_outputs_unpost(output->outputs, &output->detached);
	vtr_outputs_unpost(output->outputs, &output->refused);
	output->mail = 0;
	if (output->leaving)
		finish_leaving(output);
	else
		end(output);
}

/* ---- places ---- */

static bool name_is_taken(const struct vtr_outputs *outputs, const char *name)
{
	for (size_t i = 0; i < outputs->count; i++) {
		const struct vtr_output *output = outputs->items[i];

		if (vtr_output_on_display(output) && !strcmp(output->next_name[0] ? output->next_name : output->name, name))
			return true;
	}
	return false;
}

/* A place that nobody has, else one that is being left for nowhere. */
static struct vtr_output *find_place(const struct vtr_outputs *outputs)
{
	for (size_t i = 0; i < outputs->count; i++)
		if (!outputs->items[i]->display)
			return outputs->items[i];
	for (size_t i = 0; i < outputs->count; i++)
		if (!vtr_output_on_display(outputs->items[i]))
			return outputs->items[i];
	return NULL;
}

static int check_place(const struct vtr_outputs *outputs, const struct vtr_display *display, const struct vtr_mode *mode,
                       const char *name)
{
	if ((mode && !vtr_output_mode_is_valid(mode)) || (name && !vtr_output_name_is_valid(name)))
		return EINVAL;
	if (name && name_is_taken(outputs, name))
		return EEXIST;
	if (!vtr_display_alive(display))
		return ENODEV;
	return find_place(outputs) ? 0 : ENOSPC;
}

struct vtr_output *vtr_outputs_connect(struct vtr_outputs *outputs, struct vtr_display *display, const struct vtr_mode *mode,
                                       const char *name)
{
	static const struct vtr_mode standard = { VTR_DEFAULT_WIDTH, VTR_DEFAULT_HEIGHT, VTR_DEFAULT_REFRESH_MHZ };
	struct vtr_output *output = find_place(outputs);
	char new_name[32];

	errno = check_place(outputs, display, mode, name);
	if (errno)
		return NULL;
	if (name)
		strcpy(new_name, name);
	else
		snprintf(new_name, sizeof(new_name), "vitrine-%u", output->index);
	vtr_output_lock(output);
	output->mode = mode ? *mode : standard;
	vtr_output_unlock(output);
	atomic_store(&output->fixed, mode != NULL);
	if (!output->display)
		strcpy(output->name, new_name);
	vtr_output_move(output, display);
	if (output->leaving)
		strcpy(output->next_name, new_name); /* the one that is letting go may look at the name */
	return output;
}

int vtr_output_resize(struct vtr_output *output, const struct vtr_mode *mode)
{
	if (mode && !vtr_output_mode_is_valid(mode))
		return -EINVAL;
	atomic_store(&output->fixed, mode != NULL);
	if (!mode)
		return 0;
	vtr_output_lock(output);
	output->mode = *mode;
	vtr_output_unlock(output);
	vtr_outputs_post(output->outputs, &output->mode_changed);
	vtr_display_mail(output, VTR_MAIL_MODE);
	return 0;
}

void vtr_outputs_set_fallback(struct vtr_outputs *outputs, struct vtr_display *display)
{
	if (display)
		vtr_display_join(display, outputs);
	outputs->fallback = display;
}

const char *vtr_output_lost(const struct vtr_output *output)
{
	return output->lost;
}

bool vtr_output_on_display(const struct vtr_output *output)
{
	return output->leaving ? output->next != NULL : output->display != NULL;
}
