/* SPDX-License-Identifier: MIT */
/*
 * What is known of an output's monitor besides its mode: its EDID, and whether what is known is still right.
 *
 * Questions are numbered. The device thread counts `asked` up and puts a note into the mail box; the display notes the number,
 * looks, and then says that everything up to it is `answered`. A display that is busy with one look takes all that was asked
 * meanwhile together. A question goes with its output from display to display; one that needs not to be asked has answered by that.
 */
#include <assert.h>
#include <string.h>

#include "display/output.h"

/* ---- device thread ---- */

bool vtr_output_is_asked(const struct vtr_output *output)
{
	return atomic_load(&output->asked) != atomic_load(&output->answered);
}

bool vtr_output_has_answered(const struct vtr_output *output, uint32_t question)
{
	return (int32_t)(atomic_load(&output->answered) - question) >= 0;
}

uint32_t vtr_output_ask(struct vtr_output *output)
{
	const struct vtr_display *display = output->leaving ? output->next : output->display;

	if (!display || !display->impl->ask || !vtr_display_alive(display))
		return 0;
	uint32_t question = atomic_load(&output->asked) + 1;
	if (!question)
		question++;
	atomic_store(&output->asked, question);
	vtr_display_mail(output, VTR_MAIL_ASK);
	return question;
}

void vtr_output_forget_monitor(struct vtr_output *output, const struct vtr_display *display)
{
	unsigned asked = atomic_load(&output->asked);

	vtr_output_lock(output);
	output->edid_size = 0;
	vtr_output_unlock(output);
	if ((!display || !display->impl->ask) && atomic_exchange(&output->answered, asked) != asked)
		vtr_outputs_post(output->outputs, &output->answer);
	output->answering = atomic_load(&output->answered);
}

size_t vtr_output_edid(const struct vtr_output *output, uint8_t edid[VTR_MAX_EDID])
{
	if (vtr_output_fixed(output))
		return 0;
	vtr_output_lock(output);
	size_t size = output->edid_size;
	memcpy(edid, output->edid, size);
	vtr_output_unlock(output);
	return size;
}

/* ---- display thread ---- */

void vtr_output_set_edid(struct vtr_output *output, const uint8_t *edid, size_t size)
{
	assert(size <= VTR_MAX_EDID);
	vtr_output_lock(output);
	bool changed = size != output->edid_size || memcmp(edid, output->edid, size) != 0;
	output->edid_size = size;
	memcpy(output->edid, edid, size);
	vtr_output_unlock(output);
	if (changed)
		vtr_outputs_post(output->outputs, &output->mode_changed);
}

void vtr_output_begin_answer(struct vtr_output *output)
{
	output->answering = atomic_load(&output->asked);
}

void vtr_output_answer(struct vtr_output *output)
{
	if (atomic_exchange(&output->answered, output->answering) != output->answering)
		vtr_outputs_post(output->outputs, &output->answer);
}
