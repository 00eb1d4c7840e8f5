/* SPDX-License-Identifier: MIT */
/*
 * The cursor goes beside the frames: its newest image and position replace the last ones, and the display copies them when it
 * draws. The copy under the lock is 16 KiB, about a microsecond; a position that changes a thousand times a second costs one
 * wake-up for as many changes as the display did not look at.
 */
#include <string.h>

#include "display/output.h"

void vtr_output_set_cursor(struct vtr_output *output, const uint32_t *image, uint32_t hot_x, uint32_t hot_y)
{
	struct vtr_cursor *cursor = &output->cursor;

	vtr_output_lock(output);
	cursor->visible = image != NULL;
	if (image) {
		cursor->hot_x = hot_x;
		cursor->hot_y = hot_y;
		cursor->serial++;
		memcpy(cursor->image, image, sizeof(cursor->image));
	}
	vtr_output_unlock(output);
	vtr_display_mail(output, VTR_MAIL_CURSOR);
}

void vtr_output_move_cursor(struct vtr_output *output, int32_t x, int32_t y)
{
	vtr_output_lock(output);
	output->cursor.x = x;
	output->cursor.y = y;
	vtr_output_unlock(output);
	vtr_display_mail(output, VTR_MAIL_CURSOR);
}

void vtr_output_get_cursor(struct vtr_output *output, struct vtr_cursor *cursor)
{
	vtr_output_lock(output);
	*cursor = output->cursor;
	vtr_output_unlock(output);
}
