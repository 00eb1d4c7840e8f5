/* SPDX-License-Identifier: MIT */
/*
 * Rings that no driver would write: virtio 1.3, 2.7. What cannot be understood has to end in DEVICE_NEEDS_RESET and be over after a
 * reset; what can be understood but not served comes back. Nothing may hang, crash or touch other memory.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include <vitrine/limits.h>

#include "guest/check/check.h"

enum { REQUEST = 24, RESPONSE = 408, ANSWER_MS = 2000, MAX_DESCRIPTORS = 6 };

/* Addresses of a descriptor, told before they are known. */
enum place {
	AT_REQUEST,  /* a good GET_DISPLAY_INFO */
	AT_RESPONSE, /* room for its answer */
	AT_TABLE,    /* an indirect table, see table_kind */
	AT_NOWHERE,  /* where no memory is */
	AT_TOP,      /* the last 8 bytes of the address space */
};

struct descriptor_row {
	enum place place;
	uint32_t length;
	uint16_t flags, next;
};

enum outcome {
	NEEDS_RESET,
	RETURNED, /* the chain comes back with nothing or an answer */
	EITHER,
};

enum table_kind { TABLE_GOOD, TABLE_LOOPS, TABLE_NESTED, TABLE_NEXT_BEYOND, TABLE_READ_AFTER_WRITE };

struct ring_row {
	enum outcome expected;
	size_t n;
	struct descriptor_row descriptors[MAX_DESCRIPTORS];
	enum table_kind table;
};

static const uint16_t next = VRING_DESC_F_NEXT, write = VRING_DESC_F_WRITE, indirect = VRING_DESC_F_INDIRECT;

struct places {
	uint64_t request, response, table;
};

static uint64_t address_of(const struct places *places, enum place place)
{
	const uint64_t addresses[] = {
		[AT_REQUEST] = places->request,          [AT_RESPONSE] = places->response, [AT_TABLE] = places->table,
		[AT_NOWHERE] = UINT64_C(0x700000000000), [AT_TOP] = UINT64_MAX - 7,
	};

	return addresses[place];
}

static void fill_table(struct vtr_guest *guest, const struct places *places, enum table_kind kind)
{
	struct vring_desc *table = vtr_guest_data(guest, places->table, 4 * sizeof(*table));

	table[0] = (struct vring_desc){ places->request, REQUEST, next, 1 };
	table[1] = (struct vring_desc){ places->response, RESPONSE, write, 0 };
	switch (kind) {
	case TABLE_GOOD:
		break;
	case TABLE_LOOPS:
		table[1] = (struct vring_desc){ places->request, REQUEST, next, 0 };
		break;
	case TABLE_NESTED:
		table[1] = (struct vring_desc){ places->table, 32, indirect, 0 };
		break;
	case TABLE_NEXT_BEYOND:
		table[0].next = 2;
		break;
	case TABLE_READ_AFTER_WRITE:
		table[0] = (struct vring_desc){ places->response, RESPONSE, write | next, 1 };
		table[1] = (struct vring_desc){ places->request, REQUEST, 0, 0 };
		break;
	}
}

static void prepare(struct vtr_guest *guest, struct places *places)
{
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct vtr_guest_area *area = &guest->areas[VTR_GUEST_SYSTEM];

	places->request = vtr_guest_area_alloc(area, REQUEST, 16);
	places->response = vtr_guest_area_alloc(area, RESPONSE, 16);
	places->table = vtr_guest_area_alloc(area, 4 * sizeof(struct vring_desc), 16);
	memcpy(vtr_guest_data(guest, places->request, REQUEST), &request, REQUEST);
}

/* Rings and waits for what became of it, then resets. */
static bool outcome_is(struct vtr_check *check, enum outcome expected)
{
	struct vtr_guest *guest = check->guest;
	uint32_t written = 0;
	uint16_t head;

	if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)))
		return false;
	int result = vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, ANSWER_MS);
	uint8_t status;

	if (!vtr_expect_success(check, "status", guest->link->impl->status(guest->link, &status)))
		return false;
	bool broken = status & VIRTIO_CONFIG_S_NEEDS_RESET;
	if (expected == NEEDS_RESET && !broken)
		return vtr_check_fail(check, "expected DEVICE_NEEDS_RESET, got status 0x%02x and %s", status,
		                      result ? vtr_guest_error(guest) : "the chain back");
	if (expected == NEEDS_RESET && result != -EIO)
		return vtr_check_fail(check, "expected a configuration interrupt with DEVICE_NEEDS_RESET, got none");
	if (expected == RETURNED && result)
		return vtr_check_fail(check, "expected the chain back, got: %s", vtr_guest_error(guest));
	if (expected == EITHER && result && !broken)
		return vtr_check_fail(check, "expected the chain back or DEVICE_NEEDS_RESET, got neither");
	if (!result && written > RESPONSE)
		return vtr_check_fail(check, "expected at most %d bytes written, got %u", RESPONSE, written);
	return vtr_expect_recovery(check);
}

static bool chain(struct vtr_check *check, const void *row)
{
	const struct ring_row *r = row;
	struct vring_desc descriptors[MAX_DESCRIPTORS];
	struct places places;

	prepare(check->guest, &places);
	fill_table(check->guest, &places, r->table);
	for (size_t i = 0; i < r->n; i++)
		descriptors[i] = (struct vring_desc){ address_of(&places, r->descriptors[i].place), r->descriptors[i].length,
			                              r->descriptors[i].flags, r->descriptors[i].next };
	vtr_guest_ring_add_raw(&check->guest->queues[VTR_GUEST_CONTROL].ring, descriptors, r->n);
	return outcome_is(check, r->expected);
}

/* Available entries and indices beyond the ring. */
static bool head_beyond(struct vtr_check *check, const void *row)
{
	struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;

	vtr_guest_ring_offer(ring, row ? *(const uint16_t *)row : ring->size);
	return outcome_is(check, NEEDS_RESET);
}

static bool index_beyond(struct vtr_check *check, const void *row)
{
	struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;

	ring->avail_idx = (uint16_t)(ring->avail_idx + ring->size);
	vtr_guest_ring_offer(ring, 0); /* size + 1 entries wait in a ring of size */
	return outcome_is(check, NEEDS_RESET);
}

/* A broken ring says so once; the doorbell may be rung as often as one likes. */
static bool ring_on_after(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;

	vtr_guest_ring_offer(&guest->queues[VTR_GUEST_CONTROL].ring, 40000);
	for (int i = 0; i < 1000; i++)
		if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)))
			return false;
	return outcome_is(check, NEEDS_RESET);
}

/* The same head twice: both come back. */
static bool head_twice(struct vtr_check *check, const void *row)
{
	struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;
	struct vring_desc descriptors[2];
	struct places places;

	prepare(check->guest, &places);
	descriptors[0] = (struct vring_desc){ places.request, REQUEST, next, 1 };
	descriptors[1] = (struct vring_desc){ places.response, RESPONSE, write, 0 };
	vtr_guest_ring_add_raw(ring, descriptors, 2);
	vtr_guest_ring_offer(ring, 0);
	return outcome_is(check, EITHER);
}

/* A queue of which a part is nowhere. Setting it up may fail; nothing else may come of it. */
enum ring_part { DESCRIPTORS, AVAILABLE, USED };

static bool rings_nowhere(struct vtr_check *check, const void *row)
{
	const uint64_t nowhere = UINT64_C(0x700000000000);
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_link *link = guest->link;
	struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	struct vtr_guest_message message;

	if (!vtr_expect_success(check, "reset", vtr_guest_stop(guest)))
		return false;
	uint64_t features = vtr_guest_offered(guest) & ~VTR_FEATURE(VIRTIO_RING_F_EVENT_IDX);
	if (!guest->options.iommu)
		features &= ~VTR_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
	if (!vtr_expect_success(check, "features", link->impl->negotiate(link, features)) ||
	    !vtr_expect_success(check, "a queue", vtr_guest_lay_queue(guest, VTR_GUEST_CONTROL, VTR_GUEST_SYSTEM)))
		return false;
	struct vtr_guest_ring ring = guest->queues[VTR_GUEST_CONTROL].ring;
	uint64_t *const parts[] = { [DESCRIPTORS] = &ring.address, [AVAILABLE] = &ring.avail_address, [USED] = &ring.used_address };
	*parts[*(const enum ring_part *)row] = nowhere;
	if (link->impl->start_queue(link, VTR_GUEST_CONTROL, &ring))
		return vtr_expect_recovery(check);
	return vtr_expect_success(check, "starting the device", link->impl->driver_ok(link)) &&
	       vtr_expect_success(check, "posting",
	                          vtr_guest_post(guest, VTR_GUEST_CONTROL, &message, &request, sizeof(request), RESPONSE)) &&
	       vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) &&
	       vtr_expect_success(check, "waiting", vtr_guest_idle(guest, 50)) && vtr_expect_recovery(check);
}

/* One more descriptor than a chain may have. */
static bool too_long(struct vtr_check *check, const void *row)
{
	enum { N = VTR_MAX_CHAIN + 1 };
	struct vtr_guest *guest = check->guest;
	uint64_t table = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], N * sizeof(struct vring_desc), 16);
	struct vring_desc *descriptors = vtr_guest_data(guest, table, N * sizeof(*descriptors));
	struct vring_desc descriptor = { table, N * sizeof(*descriptors), indirect, 0 };
	struct places places;

	prepare(guest, &places);
	for (uint16_t i = 0; i < N; i++)
		descriptors[i] = (struct vring_desc){ places.request, 1, i + 1 < N ? next : 0, (uint16_t)(i + 1) };
	vtr_guest_ring_add_raw(&guest->queues[VTR_GUEST_CONTROL].ring, &descriptor, 1);
	return outcome_is(check, EITHER);
}

/* A request in pieces of one byte, the answer in pieces of three. */
static bool crumbs(struct vtr_check *check, const void *row)
{
	enum { N = REQUEST + RESPONSE / 3 };
	struct vtr_guest *guest = check->guest;
	uint64_t table = vtr_guest_area_alloc(&guest->areas[VTR_GUEST_SYSTEM], N * sizeof(struct vring_desc), 16);
	struct vring_desc *descriptors = vtr_guest_data(guest, table, N * sizeof(*descriptors));
	struct vring_desc descriptor = { table, N * sizeof(*descriptors), indirect, 0 };
	struct places places;
	uint32_t written;
	uint16_t head;

	prepare(guest, &places);
	for (uint16_t i = 0; i < N; i++) {
		uint16_t more = i + 1 < N ? next : 0, after = (uint16_t)(i + 1);

		descriptors[i] = i < REQUEST ? (struct vring_desc){ places.request + i, 1, more, after }
		                             : (struct vring_desc){ places.response + (i - REQUEST) * 3u, 3, write | more, after };
	}
	vtr_guest_ring_add_raw(&guest->queues[VTR_GUEST_CONTROL].ring, &descriptor, 1);
	if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, true)) ||
	    !vtr_expect_success(check, "answer", vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, ANSWER_MS)))
		return false;
	const struct virtio_gpu_ctrl_hdr *response = vtr_guest_data(guest, places.response, sizeof(*response));
	return vtr_expect_value(check, "bytes written", written, RESPONSE) &&
	       vtr_expect_response(check, "GET_DISPLAY_INFO", response->type, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
}

#define CHAIN(...)                                                                                                                 \
	chain, &(const struct ring_row)                                                                                            \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}

static const struct vtr_check_case cases[] = {
	{ "loop-of-one", CHAIN(NEEDS_RESET, 1, { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 0 } }) },
	{ "loop-of-two",
	  CHAIN(NEEDS_RESET, 2, { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 1 }, { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 0 } }) },
	{ "loop-of-writes", CHAIN(NEEDS_RESET, 2,
	                          { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 1 },
	                            { AT_RESPONSE, RESPONSE, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 } }) },
	{ "next-beyond-ring", CHAIN(NEEDS_RESET, 1, { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 40000 } }) },
	{ "head-beyond-ring", head_beyond },
	{ "head-65535", head_beyond, &(const uint16_t){ UINT16_MAX } },
	{ "index-beyond-ring", index_beyond },
	{ "ring-on-after", ring_on_after },
	{ "head-twice", head_twice },
	{ "read-after-write",
	  CHAIN(NEEDS_RESET, 2,
	        { { AT_RESPONSE, RESPONSE, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 }, { AT_REQUEST, REQUEST, 0, 0 } }) },
	{ "request-nowhere",
	  CHAIN(EITHER, 2, { { AT_NOWHERE, REQUEST, VRING_DESC_F_NEXT, 1 }, { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "response-nowhere",
	  CHAIN(EITHER, 2, { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 1 }, { AT_NOWHERE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "request-wraps",
	  CHAIN(EITHER, 2, { { AT_TOP, REQUEST, VRING_DESC_F_NEXT, 1 }, { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "request-of-4-GiB",
	  CHAIN(EITHER, 2,
	        { { AT_REQUEST, UINT32_MAX, VRING_DESC_F_NEXT, 1 }, { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "response-of-4-GiB",
	  CHAIN(EITHER, 2, { { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 1 }, { AT_RESPONSE, UINT32_MAX, VRING_DESC_F_WRITE, 0 } }) },
	{ "no-length-first", CHAIN(EITHER, 3,
	                           { { AT_REQUEST, 0, VRING_DESC_F_NEXT, 1 },
	                             { AT_REQUEST, REQUEST, VRING_DESC_F_NEXT, 2 },
	                             { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "no-length-at-all", CHAIN(EITHER, 1, { { AT_REQUEST, 0, 0, 0 } }) },
	{ "no-length-nowhere",
	  CHAIN(EITHER, 2, { { AT_NOWHERE, 0, VRING_DESC_F_NEXT, 1 }, { AT_NOWHERE, 0, VRING_DESC_F_WRITE, 0 } }) },
	{ "only-request", CHAIN(RETURNED, 1, { { AT_REQUEST, REQUEST, 0, 0 } }) },
	{ "only-response", CHAIN(RETURNED, 1, { { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "indirect", CHAIN(RETURNED, 1, { { AT_TABLE, 32, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "indirect-loops", CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 32, VRING_DESC_F_INDIRECT, 0 } }, TABLE_LOOPS) },
	{ "indirect-nested", CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 32, VRING_DESC_F_INDIRECT, 0 } }, TABLE_NESTED) },
	{ "indirect-next-beyond-table", CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 32, VRING_DESC_F_INDIRECT, 0 } }, TABLE_NEXT_BEYOND) },
	{ "indirect-read-after-write",
	  CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 32, VRING_DESC_F_INDIRECT, 0 } }, TABLE_READ_AFTER_WRITE) },
	{ "indirect-and-next", CHAIN(NEEDS_RESET, 2,
	                             { { AT_TABLE, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 },
	                               { AT_RESPONSE, RESPONSE, VRING_DESC_F_WRITE, 0 } }) },
	{ "indirect-no-length", CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 0, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "indirect-odd-length", CHAIN(NEEDS_RESET, 1, { { AT_TABLE, 33, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "indirect-nowhere", CHAIN(NEEDS_RESET, 1, { { AT_NOWHERE, 32, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "indirect-wraps", CHAIN(NEEDS_RESET, 1, { { AT_TOP, 32, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "indirect-of-4-GiB", CHAIN(EITHER, 1, { { AT_TABLE, 0xfffffff0, VRING_DESC_F_INDIRECT, 0 } }) },
	{ "too-long", too_long },
	{ "crumbs", crumbs },
	{ "descriptors-nowhere", rings_nowhere, &(const enum ring_part){ DESCRIPTORS } },
	{ "available-nowhere", rings_nowhere, &(const enum ring_part){ AVAILABLE } },
	{ "used-nowhere", rings_nowhere, &(const enum ring_part){ USED } },
};

const struct vtr_check_family vtr_check_bad_ring = { "bad-ring", cases, VTR_CHECK_COUNT(cases) };
