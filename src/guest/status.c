/* SPDX-License-Identifier: MIT */
#include "guest/status.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/control.h>

#include "util/fd.h"

json_t *vtr_device_status(struct vtr_guest *guest, struct vtr_error *error)
{
	char *reply = NULL;
	int socket = guest->options.control ? vtr_control_connect(guest->options.control) : -ENOTCONN;
	int result = socket < 0 ? socket : vtr_control_call(socket, "{\"command\": \"status\"}", guest->timeout_ms, &reply, NULL);

	vtr_fd_close(&socket);
	if (result) {
		vtr_error_set(error, VTR_ERROR_HOST, -result, "the control socket does not answer: %s", strerror(-result));
		return NULL;
	}
	json_t *status = json_loads(reply, 0, NULL);
	const char *refusal = json_string_value(json_object_get(status, "error"));
	free(reply);
	if (status && !refusal)
		return status;
	vtr_error_set(error, VTR_ERROR_HOST, EPROTO, "%s", refusal ? refusal : "the control socket's reply is no status");
	json_decref(status);
	return NULL;
}

json_int_t vtr_device_status_number(const json_t *status, const char *path)
{
	char name[32];

	while (*path) {
		size_t length = strcspn(path, ".");

		if (length >= sizeof(name))
			return -1;
		memcpy(name, path, length);
		name[length] = '\0';
		status = json_is_array(status) ? json_array_get(status, strtoul(name, NULL, 10)) : json_object_get(status, name);
		path += length + (path[length] == '.');
	}
	return json_is_integer(status) ? json_integer_value(status) : -1;
}
