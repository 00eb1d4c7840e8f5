/* SPDX-License-Identifier: MIT */
#include "transport/vfio_user/capabilities.h"

#include <errno.h>
#include <jansson.h>
#include <vitrine/limits.h>

#include "transport/vfio_user/protocol.h"

struct vtr_vfio_user_capabilities vtr_vfio_user_own_capabilities(void)
{
	return (struct vtr_vfio_user_capabilities){
		.max_msg_fds = VTR_MAX_MESSAGE_FDS,
		.max_data_xfer_size = VTR_MAX_DATA_XFER,
		.max_dma_maps = VTR_MAX_REGIONS,
		.pgsizes = 4096,
		.write_multiple = true,
	};
}

/* A member that is absent leaves *value alone; one that is there has to be an integer of at least min. */
static bool get_number(const json_t *object, const char *name, json_int_t min, uint64_t *value)
{
	const json_t *member = json_object_get(object, name);

	if (!member)
		return true;
	if (!json_is_integer(member) || json_integer_value(member) < min)
		return false;
	*value = (uint64_t)json_integer_value(member);
	return true;
}

static bool get_boolean(const json_t *object, const char *name, bool *value)
{
	const json_t *member = json_object_get(object, name);

	if (!member)
		return true;
	*value = json_is_true(member);
	return json_is_boolean(member);
}

static bool get_all(const json_t *root, struct vtr_vfio_user_capabilities *capabilities)
{
	const json_t *object = json_object_get(root, "capabilities");

	if (!json_is_object(root))
		return false;
	if (!object)
		return true;
	return json_is_object(object) && get_number(object, "max_msg_fds", 0, &capabilities->max_msg_fds) &&
	       get_number(object, "max_data_xfer_size", 1, &capabilities->max_data_xfer_size) &&
	       get_number(object, "max_dma_maps", 0, &capabilities->max_dma_maps) &&
	       get_number(object, "pgsizes", 1, &capabilities->pgsizes) &&
	       get_boolean(object, "write_multiple", &capabilities->write_multiple);
}

int vtr_vfio_user_capabilities_parse(struct vtr_vfio_user_capabilities *capabilities, const void *data, size_t size)
{
	const char *text = data;

	*capabilities = (struct vtr_vfio_user_capabilities){
		.max_msg_fds = VFIO_USER_DEFAULT_MAX_MSG_FDS,
		.max_data_xfer_size = VFIO_USER_DEFAULT_MAX_DATA_XFER_SIZE,
		.max_dma_maps = VFIO_USER_DEFAULT_MAX_DMA_MAPS,
		.pgsizes = VFIO_USER_DEFAULT_PGSIZES,
	};
	if (!size)
		return 0;
	if (size > VTR_VFIO_USER_MAX_VERSION_DATA || text[size - 1])
		return -EINVAL;
	json_t *root = json_loadb(text, size - 1, 0, NULL);
	bool valid = root && get_all(root, capabilities);
	json_decref(root);
	return valid ? 0 : -EINVAL;
}

int vtr_vfio_user_capabilities_format(const struct vtr_vfio_user_capabilities *capabilities, char *buffer, size_t size)
{
	json_t *root = json_pack("{s:{s:I,s:I,s:I,s:I,s:b}}", "capabilities", "max_msg_fds", (json_int_t)capabilities->max_msg_fds,
	                         "max_data_xfer_size", (json_int_t)capabilities->max_data_xfer_size, "max_dma_maps",
	                         (json_int_t)capabilities->max_dma_maps, "pgsizes", (json_int_t)capabilities->pgsizes,
	                         "write_multiple", (int)capabilities->write_multiple);
	size_t length = root ? json_dumpb(root, buffer, size, JSON_COMPACT) : 0;

	json_decref(root);
	if (!length || length >= size)
		return -ENOMEM;
	buffer[length] = '\0';
	return (int)length + 1;
}
