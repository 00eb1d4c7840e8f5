/* SPDX-License-Identifier: MIT */
/* vhost-user itself: rings that stop and go on, memory slots, reset, status, in-flight memory, and requests that cannot be. */
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest/check/check.h"
#include "guest/link_vhost.h"
#include "transport/vhost_user/frontend.h"
#include "util/fd.h"

enum { PAGE = 4096, QUIET_MS = 100, SMALL = 65536 };

#define SPARE UINT64_C(0x600000000000)
#define SPARE_USER UINT64_C(0x7fff00000000)

static struct vtr_vhost_user_frontend *frontend_of(struct vtr_check *check)
{
	return vtr_guest_vhost_of(check->guest)->frontend;
}

static bool agreed(struct vtr_check *check, enum vhost_user_protocol_feature feature)
{
	return vtr_vhost_user_agreed(frontend_of(check), feature);
}

/* What a request that is wrong costs: a refusal, where the protocol has one, and nothing else. */
static bool refused(struct vtr_check *check, const char *what, int result)
{
	if (!vtr_guest_connected(check->guest))
		return vtr_check_fail(check, "%s: expected a refusal, got a closed connection", what);
	if (!result && agreed(check, VHOST_USER_PROTOCOL_F_REPLY_ACK))
		return vtr_check_fail(check, "%s: expected a refusal, got success", what);
	return vtr_expect_alive(check);
}

static bool features(struct vtr_check *check, const void *row)
{
	static const struct {
		enum vhost_user_protocol_feature bit;
		const char *name;
	} wanted[] = {
		{ VHOST_USER_PROTOCOL_F_REPLY_ACK, "REPLY_ACK" },
		{ VHOST_USER_PROTOCOL_F_BACKEND_REQ, "BACKEND_REQ" },
		{ VHOST_USER_PROTOCOL_F_CONFIG, "CONFIG" },
	};
	const uint64_t without = check->guest->options.without;
	struct vtr_vhost_user_frontend_status status;

	vtr_vhost_user_frontend_status(frontend_of(check), &status);
	for (size_t i = 0; i < VTR_CHECK_COUNT(wanted); i++)
		if (!(without >> wanted[i].bit & 1) && !vtr_expect_value(check, wanted[i].name, agreed(check, wanted[i].bit), true))
			return false;
	return vtr_expect_value(check, "two vrings, where it says how many", !status.vrings || status.vrings >= 2, true);
}

/* ---- rings ---- */

static bool post_info(struct vtr_check *check, struct vtr_guest_message *message)
{
	const struct virtio_gpu_ctrl_hdr request = { .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };

	return vtr_expect_success(check, "posting",
	                          vtr_guest_post(check->guest, VTR_GUEST_CONTROL, message, &request, sizeof(request),
	                                         sizeof(struct virtio_gpu_resp_display_info))) &&
	       vtr_expect_success(check, "kick", vtr_guest_kick(check->guest, VTR_GUEST_CONTROL, true));
}

static bool collect(struct vtr_check *check)
{
	uint32_t written;
	uint16_t head;

	return vtr_expect_success(check, "the answer",
	                          vtr_guest_collect(check->guest, VTR_GUEST_CONTROL, &head, &written, check->guest->timeout_ms));
}

static bool no_answer(struct vtr_check *check, const char *when)
{
	const struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;
	const uint16_t before = ring->used_idx;

	return vtr_expect_success(check, "waiting", vtr_guest_idle(check->guest, QUIET_MS)) &&
	       vtr_expect_value(check, when, __atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE), before);
}

static bool enable(struct vtr_check *check, bool on)
{
	return vtr_expect_success(check, on ? "enabling the ring" : "disabling the ring",
	                          vtr_vhost_user_frontend_set_vring_enable(frontend_of(check), VTR_GUEST_CONTROL, on));
}

/* GET_VRING_BASE stops the ring where it is, and a start there loses nothing. */
static bool stop_and_start(struct vtr_check *check, const void *row)
{
	struct vtr_guest_vhost *link = vtr_guest_vhost_of(check->guest);
	struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;
	struct vtr_guest_message message;
	uint32_t base;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < round; i++)
			if (!vtr_expect_alive(check))
				return false;
		if (!vtr_expect_success(check, "stopping", vtr_guest_vhost_stop_queue(link, VTR_GUEST_CONTROL, &base)) ||
		    !vtr_expect_value(check, "how far the ring has come", base, ring->avail_idx) || !post_info(check, &message) ||
		    !no_answer(check, "the used index of a stopped ring") ||
		    !vtr_expect_success(check, "starting", vtr_guest_vhost_start_queue(link, VTR_GUEST_CONTROL, ring, base)) ||
		    !enable(check, true) ||
		    !vtr_expect_success(check, "kick", vtr_guest_kick(check->guest, VTR_GUEST_CONTROL, true)) || !collect(check))
			return false;
	}
	return vtr_expect_alive(check);
}

static bool disabled_ring(struct vtr_check *check, const void *row)
{
	struct vtr_guest_message message;

	return enable(check, false) && post_info(check, &message) && no_answer(check, "the used index of a disabled ring") &&
	       enable(check, true) && vtr_expect_success(check, "kick", vtr_guest_kick(check->guest, VTR_GUEST_CONTROL, true)) &&
	       collect(check) && vtr_expect_alive(check);
}

/* Indices begin where a guest that was moved here had them, and wrap. */
static bool starts_at_base(struct vtr_check *check, const void *row)
{
	enum { BASE = 65530, COMMANDS = 20 };
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_vhost *link = vtr_guest_vhost_of(guest);
	struct vtr_guest_ring *ring = &guest->queues[VTR_GUEST_CONTROL].ring;
	uint32_t base;

	if (!vtr_expect_success(check, "stopping", vtr_guest_vhost_stop_queue(link, VTR_GUEST_CONTROL, &base)) ||
	    !vtr_expect_success(check, "a ring", vtr_guest_lay_queue(guest, VTR_GUEST_CONTROL, VTR_GUEST_SYSTEM)))
		return false;
	ring->avail_idx = ring->kicked_idx = ring->used_idx = BASE;
	ring->avail->idx = ring->used->idx = BASE;
	if (!vtr_expect_success(check, "starting", vtr_guest_vhost_start_queue(link, VTR_GUEST_CONTROL, ring, BASE)) ||
	    !enable(check, true))
		return false;
	for (int i = 0; i < COMMANDS; i++)
		if (!vtr_expect_alive(check))
			return false;
	return vtr_expect_success(check, "stopping", vtr_guest_vhost_stop_queue(link, VTR_GUEST_CONTROL, &base)) &&
	       vtr_expect_value(check, "how far the ring has come", base, (uint16_t)(BASE + COMMANDS));
}

/* Nothing is lost but the interrupt, so the driver looks for itself. */
static bool no_call(struct vtr_check *check, const void *row)
{
	struct vtr_guest_ring *ring = &check->guest->queues[VTR_GUEST_CONTROL].ring;
	const uint16_t before = ring->used_idx;
	struct vtr_guest_message message;
	bool passed = vtr_expect_success(check, "taking the call away",
	                                 vtr_vhost_user_frontend_set_vring_call(frontend_of(check), VTR_GUEST_CONTROL, -1)) &&
	              post_info(check, &message);

	for (int waited = 0; passed && waited < check->guest->timeout_ms; waited += QUIET_MS) {
		if (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != before)
			return collect(check);
		passed = vtr_expect_success(check, "waiting", vtr_guest_idle(check->guest, QUIET_MS));
	}
	return passed && vtr_check_fail(check, "expected an answer in the ring, got none");
}

/* A vring that is not there, sizes that cannot be. */
struct vring_row {
	uint32_t request, index, num;
};

static bool bad_vring(struct vtr_check *check, const void *row)
{
	const struct vring_row *r = row;
	const struct vhost_user_vring_state state = { r->index, r->num };

	return refused(check, "the request", vtr_vhost_user_tell(frontend_of(check), r->request, &state, sizeof(state), NULL, 0));
}

/* ---- memory ---- */

struct memory_row {
	struct vhost_user_memory_region region;
	uint32_t request;
};

/* Regions that cannot be; the fd is a memfd of 64 KiB. */
static bool bad_memory(struct vtr_check *check, const void *row)
{
	const struct memory_row *r = row;
	const struct vhost_user_mem_reg message = { .region = r->region };
	int fd = vtr_memfd_create("small", SMALL);

	if (fd < 0)
		return vtr_check_fail(check, "expected a memfd, got %s", strerror(-fd));
	int result = vtr_vhost_user_tell(frontend_of(check), r->request, &message, sizeof(message), &fd,
	                                 r->request == VHOST_USER_ADD_MEM_REG);
	vtr_fd_close(&fd);
	return refused(check, "the region", result);
}

/* As many pieces as the back-end says it takes, and one more. */
static bool all_slots(struct vtr_check *check, const void *row)
{
	struct vtr_vhost_user_frontend *frontend = frontend_of(check);
	struct vtr_vhost_user_frontend_status status;
	int fd = vtr_memfd_create("slots", PAGE), result = 0;
	uint64_t n = 0;

	vtr_vhost_user_frontend_status(frontend, &status);
	while (fd >= 0 && frontend->memory.count < status.slots && !result) {
		result = vtr_vhost_user_frontend_add_memory(frontend, SPARE + n * SMALL, PAGE, SPARE_USER + n * SMALL, fd, 0);
		n += !result;
	}
	bool passed = vtr_expect_success(check, "a piece of memory", fd < 0 ? fd : result) && vtr_expect_alive(check);
	while (n-- && !result)
		result = vtr_vhost_user_frontend_remove_memory(frontend, SPARE + n * SMALL, PAGE);
	vtr_fd_close(&fd);
	return passed && vtr_expect_success(check, "taking it away", result) && vtr_expect_alive(check);
}

/* ---- the device ---- */

static bool status(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	const uint8_t running =
		VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;

	return vtr_expect_value(check, "the status of a running device", vtr_guest_status(guest), running) &&
	       vtr_expect_success(check, "reset", vtr_guest_stop(guest)) &&
	       vtr_expect_value(check, "the status after a reset", vtr_guest_status(guest), 0) && vtr_expect_recovery(check);
}

/* The device is as new, its memory is not taken away. */
static bool reset_keeps_memory(struct vtr_check *check, const void *row)
{
	struct vtr_image image = { 0 };
	bool passed = vtr_expect_recovery(check) &&
	              vtr_check_show(check, &image, &(struct vtr_image_layout){ VTR_GUEST_RAM, 64, 48, .ranges = 5 }, 1, 3) &&
	              vtr_expect_pattern(check, 0, &(struct vtr_pattern){ 64, 48, 3 });

	vtr_image_finish(&image);
	return passed;
}

static bool config_beyond(struct vtr_check *check, const void *row)
{
	uint8_t bytes[VHOST_USER_MAX_CONFIG_SIZE];
	int result = vtr_vhost_user_frontend_get_config(frontend_of(check), 0, bytes, sizeof(bytes));

	if (!vtr_guest_connected(check->guest))
		return vtr_check_fail(check, "expected zeros or a refusal, got a closed connection");
	if (!result && !vtr_expect_value(check, "what is behind the configuration", bytes[sizeof(bytes) - 1], 0))
		return false;
	return vtr_expect_alive(check);
}

static bool unknown_request(struct vtr_check *check, const void *row)
{
	const uint64_t payload = 1;

	return refused(check, "request 200", vtr_vhost_user_tell(frontend_of(check), 200, &payload, sizeof(payload), NULL, 0));
}

/* ---- in-flight memory ---- */

/* The bytes that two queues take at least. */
static uint64_t inflight_bytes(uint16_t size)
{
	return 2 * (sizeof(struct vhost_user_inflight_queue) + size * sizeof(struct vhost_user_inflight_desc));
}

static bool inflight(struct vtr_check *check, const void *row)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_vhost_user_frontend *frontend = frontend_of(check);
	const uint16_t size = guest->queues[VTR_GUEST_CONTROL].ring.size;
	struct vtr_vhost_user_inflight_memory memory;

	if (!agreed(check, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
		return true;
	if (!vtr_expect_success(check, "reset", vtr_guest_stop(guest)) ||
	    !vtr_expect_success(check, "GET_INFLIGHT_FD", vtr_vhost_user_frontend_get_inflight(frontend, 2, size, &memory)))
		return false;
	bool passed = vtr_expect_value(check, "there is room for two queues", memory.size >= inflight_bytes(size), true) &&
	              vtr_expect_success(check, "SET_INFLIGHT_FD", vtr_vhost_user_frontend_set_inflight(frontend, &memory)) &&
	              vtr_expect_recovery(check);
	memory.size = 16; /* of which no queue can be tracked: refused or done without, never written beyond */
	if (passed) {
		passed = vtr_expect_success(check, "reset", vtr_guest_stop(guest));
		vtr_vhost_user_frontend_set_inflight(frontend, &memory);
		passed = passed && vtr_expect_recovery(check);
	}
	vtr_fd_close(&memory.fd);
	return passed;
}

#define VRING(...)                                                                                                                 \
	bad_vring, &(const struct vring_row)                                                                                       \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}
#define MEMORY(request, ...)                                                                                                       \
	bad_memory, &(const struct memory_row)                                                                                     \
	{                                                                                                                          \
		{ __VA_ARGS__ }, request                                                                                           \
	}

static const struct vtr_check_case cases[] = {
	{ "features", features },
	{ "stop-and-start", stop_and_start },
	{ "disabled-ring", disabled_ring },
	{ "starts-at-base", starts_at_base },
	{ "no-call", no_call },
	{ "num-of-no-vring", VRING(VHOST_USER_SET_VRING_NUM, 9, 16) },
	{ "num-0", VRING(VHOST_USER_SET_VRING_NUM, 0, 0) },
	{ "num-no-power-of-two", VRING(VHOST_USER_SET_VRING_NUM, 0, 100) },
	{ "num-too-large", VRING(VHOST_USER_SET_VRING_NUM, 0, 1 << 20) },
	{ "base-of-no-vring", VRING(VHOST_USER_SET_VRING_BASE, 255, 0) },
	{ "base-beyond", VRING(VHOST_USER_SET_VRING_BASE, 0, 1 << 20) },
	{ "enable-of-no-vring", VRING(VHOST_USER_SET_VRING_ENABLE, 1 << 20, 1) },
	{ "enable-nonsense", VRING(VHOST_USER_SET_VRING_ENABLE, 0, 77) },
	{ "memory-no-size", MEMORY(VHOST_USER_ADD_MEM_REG, SPARE, 0, SPARE_USER, 0) },
	{ "memory-wraps", MEMORY(VHOST_USER_ADD_MEM_REG, UINT64_MAX - 4095, SMALL, SPARE_USER, 0) },
	{ "memory-user-wraps", MEMORY(VHOST_USER_ADD_MEM_REG, SPARE, SMALL, UINT64_MAX - 4095, 0) },
	{ "memory-past-file", MEMORY(VHOST_USER_ADD_MEM_REG, SPARE, SMALL + PAGE, SPARE_USER, 0) },
	{ "memory-offset-past-file", MEMORY(VHOST_USER_ADD_MEM_REG, SPARE, PAGE, SPARE_USER, SMALL) },
	{ "memory-offset-wraps", MEMORY(VHOST_USER_ADD_MEM_REG, SPARE, SMALL, SPARE_USER, UINT64_MAX - 4095) },
	{ "memory-that-is-not-there", MEMORY(VHOST_USER_REM_MEM_REG, SPARE, SMALL, SPARE_USER, 0) },
	{ "all-slots", all_slots },
	{ "status", status },
	{ "reset-keeps-memory", reset_keeps_memory, NULL, VTR_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) },
	{ "config-beyond", config_beyond },
	{ "unknown-request", unknown_request },
	{ "inflight", inflight },
};

const struct vtr_check_family vtr_check_vhost = { "vhost", cases, VTR_CHECK_COUNT(cases), .links = VTR_ON_VHOST_USER };
