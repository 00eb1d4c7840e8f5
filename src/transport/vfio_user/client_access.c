/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing regions.
 *
 * Large accesses are cut into pieces that the server takes (max_data_xfer_size). Small posted writes can be collected: corked, they
 * wait in the client and leave as one WRITE_MULTI, at the latest before any other message, so that the server sees everything in
 * the order in which it was asked for. A full collection leaves by itself; a server that does not offer write_multiple gets each
 * write at once, as without a cork.
 */
#include <errno.h>
#include <string.h>

#include "transport/vfio_user/client.h"

static size_t transfer_limit(const struct vtr_vfio_user_client *client)
{
	return client->server.max_data_xfer_size < VTR_MAX_DATA_XFER ? (size_t)client->server.max_data_xfer_size
	                                                             : VTR_MAX_DATA_XFER;
}

static size_t chunk_size(const struct vtr_vfio_user_client *client, size_t length)
{
	size_t limit = transfer_limit(client);

	return length < limit ? length : limit;
}

/* The reply to an access repeats what was asked for. Finishes the reply. */
static int check_access(struct vtr_vfio_user_client *client, struct vtr_vfio_user_call *call,
                        const struct vfio_user_region_access *access)
{
	bool same = !memcmp(call->reply_body, access, sizeof(*access));

	vtr_message_finish(&call->reply);
	return same ? 0 : vtr_vfio_user_client_distrust(client);
}

static int read_chunk(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, void *buffer, size_t length)
{
	struct vfio_user_region_access access = { .offset = offset, .region = region, .count = (uint32_t)length };
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_REGION_READ,
		.body = &(struct iovec){ &access, sizeof(access) },
		.n_body = 1,
		.min_reply = sizeof(access) + length,
		.max_reply = sizeof(access) + length,
	};
	int error = vtr_vfio_user_call(client, &call);

	if (error)
		return error;
	memcpy(buffer, call.reply_body + sizeof(access), length);
	return check_access(client, &call, &access);
}

static int write_chunk(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer, size_t length,
                       bool posted)
{
	struct vfio_user_region_access access = { .offset = offset, .region = region, .count = (uint32_t)length };
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_REGION_WRITE,
		.body = (struct iovec[]){ { &access, sizeof(access) }, { (void *)buffer, length } },
		.n_body = 2,
		.min_reply = sizeof(access),
		.max_reply = sizeof(access),
	};

	if (posted)
		return vtr_vfio_user_post(client, &call);
	int error = vtr_vfio_user_call(client, &call);
	return error ? error : check_access(client, &call, &access);
}

int vtr_vfio_user_read(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, void *buffer, size_t length)
{
	uint8_t *bytes = buffer;
	int error = 0;

	for (size_t done = 0, count; !error && done < length; done += count) {
		count = chunk_size(client, length - done);
		error = read_chunk(client, region, offset + done, bytes + done, count);
	}
	return error;
}

/* ---- collected writes ---- */

/* How many writes fit into one message: that is as large as the server takes, and no larger than the collection. */
static size_t collection_limit(const struct vtr_vfio_user_client *client)
{
	size_t limit = transfer_limit(client), fixed = sizeof(struct vfio_user_write_multi);
	size_t count = limit > fixed ? (limit - fixed) / sizeof(client->collected[0]) : 0;

	return count < VTR_VFIO_USER_MAX_COLLECTED ? count : VTR_VFIO_USER_MAX_COLLECTED;
}

static bool may_collect(const struct vtr_vfio_user_client *client, size_t length)
{
	return client->corked && client->socket >= 0 && !client->serving && client->server.write_multiple &&
	       collection_limit(client) && length && length <= sizeof(client->collected[0].data);
}

static int collect(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer, size_t length)
{
	struct vfio_user_single_write *write = &client->collected[client->n_collected++];

	*write = (struct vfio_user_single_write){ .access = { .offset = offset, .region = region, .count = (uint32_t)length } };
	memcpy(write->data, buffer, length);
	return client->n_collected < collection_limit(client) ? 0 : vtr_vfio_user_send_collected(client);
}

int vtr_vfio_user_send_collected(struct vtr_vfio_user_client *client)
{
	struct vfio_user_write_multi multi = { .wr_cnt = client->n_collected };
	struct vtr_vfio_user_call call = {
		.command = VFIO_USER_REGION_WRITE_MULTI,
		.body = (struct iovec[]){ { &multi, sizeof(multi) },
		                          { client->collected, client->n_collected * sizeof(client->collected[0]) } },
		.n_body = 2,
	};

	if (!client->n_collected)
		return 0;
	client->n_collected = 0; /* sending asks for them again */
	return vtr_vfio_user_post(client, &call);
}

void vtr_vfio_user_cork(struct vtr_vfio_user_client *client)
{
	client->corked = true;
}

int vtr_vfio_user_uncork(struct vtr_vfio_user_client *client)
{
	client->corked = false;
	return vtr_vfio_user_send_collected(client);
}

int vtr_vfio_user_write(struct vtr_vfio_user_client *client, uint32_t region, uint64_t offset, const void *buffer, size_t length,
                        bool posted)
{
	const uint8_t *bytes = buffer;
	int error = 0;

	if (posted && may_collect(client, length))
		return collect(client, region, offset, buffer, length);
	for (size_t done = 0, count; !error && done < length; done += count) {
		count = chunk_size(client, length - done);
		error = write_chunk(client, region, offset + done, bytes + done, count, posted);
	}
	return error;
}
