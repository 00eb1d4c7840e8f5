/* SPDX-License-Identifier: MIT */
/* The guest's cursor as the VMM's: the newest image and place, whenever the socket takes them. */
#include <string.h>

#include "vmm/vmm.h"

static void send_image(struct vmm_output *output, const struct vtr_cursor *cursor, const struct vhost_user_gpu_cursor_pos *pos)
{
	struct vhost_user_gpu_cursor_update update = { .pos = *pos, .hot_x = cursor->hot_x, .hot_y = cursor->hot_y };

	static_assert(sizeof(update.data) == sizeof(cursor->image), "cursor images are of one size");
	memcpy(update.data, cursor->image, sizeof(update.data));
	output->cursor_serial = cursor->serial;
	vmm_send(output->vmm, VHOST_USER_GPU_CURSOR_UPDATE, &update, sizeof(update), NULL, 0, -1);
}

bool vmm_cursor_send(struct vmm_output *output)
{
	struct vtr_cursor cursor;

	if (!output->cursor_stale)
		return false;
	output->cursor_stale = false;
	vtr_output_get_cursor(output->output, &cursor);
	/* left of or above the picture is a large number: front-ends read it as a negative one */
	struct vhost_user_gpu_cursor_pos pos = { output->scanout, (uint32_t)cursor.x, (uint32_t)cursor.y };

	if (cursor.visible && cursor.serial != output->cursor_serial)
		send_image(output, &cursor, &pos);
	else
		vmm_send(output->vmm, cursor.visible ? VHOST_USER_GPU_CURSOR_POS : VHOST_USER_GPU_CURSOR_POS_HIDE, &pos,
		         sizeof(pos), NULL, 0, -1);
	return true;
}
