/* SPDX-License-Identifier: MIT */
#ifndef VTR_VFIO_USER_SERVER_H
#define VTR_VFIO_USER_SERVER_H

#include <linux/vfio.h>
#include <sys/types.h>
#include <vitrine/log.h>
#include <vitrine/transport.h>

#include "transport/listener.h"
#include "transport/message.h"
#include "transport/vfio_user/capabilities.h"
#include "transport/vfio_user/protocol.h"
#include "virtio/pci.h"

/*
 * Between the server's files: server.c (socket and connection), server_commands.c (what a client may ask), server_irqs.c
 * (SET_IRQS), server_dma.c (what we ask the client).
 */
enum {
	VTR_VFIO_USER_MAX_QUEUED = 4 << 20, /* bytes of replies that a client may leave unread */
	VTR_VFIO_USER_DMA_WINDOW = 8,       /* DMA requests under way at a time */
	VTR_VFIO_USER_MAX_CANCELLED = 256,  /* DMA requests given up whose replies are still to come */
	VTR_VFIO_USER_DMA_TIMEOUT_MS =
		2000,             /* for the client's answer to one request, and for all that one turn of the loop waits */
	VTR_VFIO_USER_BATCH = 64, /* messages served before the loop gets its turn */
};

struct vtr_vfio_user_dma {
	uint16_t next_id;
	struct vtr_vfio_user_transfer *transfer;   // that somebody waits for, or NULL
	uint64_t cancelled[(UINT16_MAX + 1) / 64]; // a bit per id
	size_t n_cancelled;
	uint64_t turn;      // of the loop, in which...
	uint64_t waited_ns; // ...so much time was spent waiting
};

struct vtr_vfio_user_server {
	struct vtr_loop *loop;
	struct vtr_pci_function *function;
	struct vtr_memory *memory;

	struct vtr_listener listener;

	/* the connection */
	int socket; // -1: nobody
	struct vtr_source *socket_source;
	struct vtr_source *resume; // event: `held` or `lost` wants to be dealt with from the loop
	struct vtr_message_reader reader;
	struct vtr_message_queue queue;
	struct vtr_vfio_user_capabilities client;
	bool negotiated;
	bool handling; // a message is being handled: the client may be waiting for us
	bool lost;     // to be torn down from the loop
	bool holding;
	struct vtr_message held; // arrived during a DMA request, to be handled after its user is done
	uint8_t *reply;          // body of the reply being made
	size_t reply_capacity;
	struct vtr_vfio_user_dma dma;
	int unmask_fd; // eventfd by which the client unmasks INTx, or -1
	struct vtr_source *unmask_source;

	unsigned dma_timeout_ms;
	struct vtr_vfio_user_status status;
	struct vtr_log_limit log_limit;
};

/* A command, decoded as far as all of them are alike. */
struct vtr_vfio_user_request {
	struct vfio_user_header header;
	const uint8_t *body;
	size_t size;                 // of body
	struct vtr_message *message; // for its fds
};

/* Whether a command may be served in the middle of a DMA request of ours (its user is on the stack), or has to wait. */
enum vtr_vfio_user_when {
	VTR_ANY_TIME,
	VTR_UNWOUND, /* changes memory map or device */
	VTR_WRITES,  /* any time when it only rings doorbells */
};

struct vtr_vfio_user_command {
	const char *name;
	size_t min_size, max_size; // of the body
	size_t max_fds;
	enum vtr_vfio_user_when when;
	/* Makes the reply's body in server->reply and returns its size; or -errno for an error reply. */
	ssize_t (*handle)(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request);
};

/* server.c */

/* The connection is over; nothing more is sent or served. The rest happens from the loop. reason goes to the log. */
void vtr_vfio_user_lose(struct vtr_vfio_user_server *server, const char *reason);
/* Sends one message, the first part being its header. On failure the connection is lost. */
void vtr_vfio_user_send(struct vtr_vfio_user_server *server, const struct iovec *parts, size_t n_parts);
/* Reads the next message: 1, 0 when there is none now, -errno when the connection is lost. */
int vtr_vfio_user_receive(struct vtr_vfio_user_server *server, struct vtr_message *message);
/* Handles one message and finishes it. waiting: a DMA request is under way. False: it has to be held and handled later. */
bool vtr_vfio_user_handle(struct vtr_vfio_user_server *server, struct vtr_message *message, bool waiting);

/* server_commands.c */
const struct vtr_vfio_user_command *vtr_vfio_user_command_find(uint16_t command); // NULL: unknown
/* True when all the writes of this REGION_WRITE or REGION_WRITE_MULTI are doorbells, or are refused anyway. */
bool vtr_vfio_user_rings_only(const struct vtr_vfio_user_server *server, const struct vtr_vfio_user_request *request);
/* Room for a reply's body of size bytes in server->reply: false when out of memory. */
bool vtr_vfio_user_reserve(struct vtr_vfio_user_server *server, size_t size);

/* server_irqs.c */
ssize_t vtr_vfio_user_handle_set_irqs(struct vtr_vfio_user_server *server, struct vtr_vfio_user_request *request);
void vtr_vfio_user_remove_irqs(struct vtr_vfio_user_server *server); // all eventfds of all kinds

/* server_dma.c */
extern const struct vtr_remote_impl vtr_vfio_user_remote; // data: the server
/* A reply arrived. One that answers nothing that we asked, or answers it badly, loses the connection. */
void vtr_vfio_user_dma_reply(struct vtr_vfio_user_server *server, const struct vfio_user_header *header,
                             const struct vtr_message *message);

#endif
