/* SPDX-License-Identifier: MIT */
/* SUBMIT_3D as a vessel: sizes, contexts, and streams that are wrong. What is wrong with one costs its context, and nobody else. */
#include <stdlib.h>
#include <string.h>
#include <vitrine/limits.h>

#include "guest/check/3d.h"

enum { CTX = VTR_3D_CTX, OTHER = VTR_3D_OTHER_CTX, ID = VTR_3D_TARGET, UNKNOWN = VTR_3D_UNKNOWN, RED = 0xff0000, GREEN = 0x00ff00 };

#define PARAMETER VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER

/* The context that is to suffer, and one that must not. */
struct pair {
	struct vtr_3d_resource target, bystander;
};

static bool make_pair(struct vtr_check *check, struct pair *pair)
{
	return vtr_3d_scene(check, &pair->target) && vtr_3d_clear(check, CTX, &pair->target, RED) && vtr_3d_context(check, OTHER) &&
	       vtr_3d_target(check, &pair->bystander, OTHER, ID + 1, 0);
}

/* The other context draws, and what the first one has drawn is still there; in place of the first a new one can be had. */
static bool expect_unharmed(struct vtr_check *check, const struct pair *pair)
{
	struct vtr_guest *guest = check->guest;
	struct vtr_3d_resource drawn = pair->target;

	drawn.ctx = 0; /* the one that draws there may be in error */
	return vtr_3d_clear(check, OTHER, &pair->bystander, GREEN) && vtr_3d_expect_colour(check, &pair->bystander, GREEN) &&
	       vtr_3d_expect_colour(check, &drawn, RED) &&
	       vtr_expect_ok(check, "CTX_DESTROY", vtr_command_ctx_destroy(guest, CTX)) && vtr_3d_context(check, CTX) &&
	       vtr_expect_ok(check, "CTX_ATTACH_RESOURCE", vtr_command_ctx_attach(guest, CTX, ID)) &&
	       vtr_3d_clear(check, CTX, &pair->target, GREEN) && vtr_3d_expect_colour(check, &pair->target, GREEN);
}

/* Some errors put the context into error when they are found, others are told with the next stream. */
static bool expect_refused(struct vtr_check *check, const struct vtr_virgl_stream *stream)
{
	struct pair pair;
	uint32_t response;

	if (!make_pair(check, &pair))
		return false;
	response = vtr_command_submit_stream(check->guest, CTX, stream);
	if (response == VIRTIO_GPU_RESP_OK_NODATA)
		response = vtr_3d_try_clear(check, CTX, &pair.target, GREEN);
	return vtr_expect_response(check, "SUBMIT_3D, or the next one", response, PARAMETER) && expect_unharmed(check, &pair);
}

/* What comes of it is left open; but nobody else is harmed. */
static bool expect_survived(struct vtr_check *check, const struct vtr_virgl_stream *stream)
{
	struct pair pair;

	return make_pair(check, &pair) &&
	       vtr_expect_answer(check, "SUBMIT_3D", vtr_command_submit_stream(check->guest, CTX, stream)) &&
	       expect_unharmed(check, &pair);
}

/* ---- streams that are wrong ---- */

struct words_row {
	uint32_t n, words[12];
};

static struct vtr_virgl_stream stream_of(const struct words_row *row)
{
	struct vtr_virgl_stream stream = { .n = row->n };

	memcpy(stream.words, row->words, row->n * sizeof(row->words[0]));
	return stream;
}

static bool words(struct vtr_check *check, const void *row)
{
	const struct vtr_virgl_stream stream = stream_of(row);

	return expect_refused(check, &stream);
}

/* Nothing is drawn by them, so nothing has to come of them. */
static bool idle_words(struct vtr_check *check, const void *row)
{
	const struct vtr_virgl_stream stream = stream_of(row);

	return expect_survived(check, &stream);
}

/* Noise, the same each time. Some of it may make sense by chance; the others must not suffer. */
static bool noise(struct vtr_check *check, const void *row)
{
	enum { ROUNDS = 20, WORDS = 300 };
	uint32_t state = 4711;
	struct pair pair;

	for (int round = 0; round < ROUNDS; round++) {
		struct vtr_virgl_stream stream = { .n = WORDS };

		for (int i = 0; i < WORDS; i++) {
			state = state * 1664525 + 1013904223;
			stream.words[i] = state ^ state >> 13;
		}
		if (!vtr_expect_success(check, "start", vtr_guest_start(check->guest, UINT64_MAX)) || !make_pair(check, &pair) ||
		    !vtr_expect_answer(check, "SUBMIT_3D of noise", vtr_command_submit_stream(check->guest, CTX, &stream)) ||
		    !expect_unharmed(check, &pair))
			return false;
	}
	return true;
}

/* Cut off at each word: what is missing is seen. */
static bool truncated(struct vtr_check *check, const void *row)
{
	struct vtr_virgl_stream stream = { 0 };
	struct pair pair;

	if (!make_pair(check, &pair))
		return false;
	vtr_3d_draw_on(&stream, 9, &pair.target);
	vtr_virgl_clear(&stream, vtr_3d_colour(RED));
	const uint32_t last = stream.n - (VIRGL_OBJ_CLEAR_SIZE + 1); /* where the last command begins */
	for (uint32_t n = stream.n - 1; n > last; n--)
		if (!vtr_expect_response(check, "SUBMIT_3D without its end",
		                         vtr_command_submit(check->guest, CTX, stream.words, n * sizeof(uint32_t)), PARAMETER))
			return false;
	return expect_unharmed(check, &pair);
}

static bool unattached(struct vtr_check *check, const void *row)
{
	struct pair pair;

	return make_pair(check, &pair) &&
	       vtr_expect_response(check, "SUBMIT_3D that draws on another context's resource",
	                           vtr_3d_try_clear(check, CTX, &pair.bystander, RED), PARAMETER) &&
	       expect_unharmed(check, &pair);
}

static bool unknown_resource(struct vtr_check *check, const void *row)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_surface(&stream, 9, UNKNOWN, VIRGL_FORMAT_B8G8R8X8_UNORM, 0, 0);
	return expect_refused(check, &stream);
}

static bool level_beyond(struct vtr_check *check, const void *row)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_surface(&stream, 9, ID, VIRGL_FORMAT_B8G8R8X8_UNORM, 5, 0);
	vtr_virgl_framebuffer(&stream, 9);
	vtr_virgl_clear(&stream, vtr_3d_colour(GREEN));
	return expect_survived(check, &stream);
}

static bool inline_write_beyond(struct vtr_check *check, const void *row)
{
	const uint32_t pixels[4] = { 1, 2, 3, 4 };
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_inline_write(&stream, ID, VTR_3D_W - 2, 0, 4, pixels, sizeof(pixels));
	return expect_refused(check, &stream);
}

/* row: the text of a shader that is none */
static bool bad_shader(struct vtr_check *check, const void *row)
{
	struct vtr_virgl_stream stream = { 0 };

	vtr_virgl_shader(&stream, 9, PIPE_SHADER_FRAGMENT, row);
	return expect_refused(check, &stream);
}

/* A context that has made a mistake may be in error from then on, or not; but it answers, and ends. */
static bool after_error(struct vtr_check *check, const void *row)
{
	const uint32_t nonsense = 0xdeadbeef;
	struct pair pair;

	if (!make_pair(check, &pair))
		return false;
	for (int i = 0; i < 10; i++)
		if (!vtr_expect_response(check, "SUBMIT_3D of nonsense",
		                         vtr_command_submit(check->guest, CTX, &nonsense, sizeof(nonsense)), PARAMETER) ||
		    !vtr_expect_answer(check, "SUBMIT_3D after it", vtr_3d_try_clear(check, CTX, &pair.target, RED)))
			return false;
	return expect_unharmed(check, &pair);
}

/* ---- sizes and contexts ---- */

static bool context_ids(struct vtr_check *check, const void *row)
{
	static const uint32_t ids[] = { 0, UNKNOWN, UINT32_MAX };
	const uint32_t nop = VIRGL_CMD0(VIRGL_CCMD_NOP, 0, 0);

	for (size_t i = 0; i < VTR_CHECK_COUNT(ids); i++)
		if (!vtr_expect_response(check, "SUBMIT_3D to a context that there is not",
		                         vtr_command_submit(check->guest, ids[i], &nop, sizeof(nop)),
		                         VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID))
			return false;
	return true;
}

/* row: what the header says beyond the 64 bytes that follow it */
static bool size_beyond_chain(struct vtr_check *check, const void *row)
{
	const struct virtio_gpu_cmd_submit header = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = CTX },
		                                      .size = 64 + *(const uint32_t *)row };
	const uint8_t stream[64] = { 0 };
	uint8_t request[sizeof(header) + sizeof(stream)];
	struct virtio_gpu_ctrl_hdr response;
	struct pair pair;

	vtr_command_pack_submit(request, &header, stream, sizeof(stream));
	return make_pair(check, &pair) &&
	       vtr_expect_error(check, "SUBMIT_3D of more than it brings",
	                        vtr_command(check->guest, request, sizeof(request), &response, sizeof(response))) &&
	       expect_unharmed(check, &pair);
}

static bool no_words(struct vtr_check *check, const void *row)
{
	return vtr_3d_context(check, CTX) &&
	       vtr_expect_answer(check, "SUBMIT_3D of nothing", vtr_command_submit(check->guest, CTX, NULL, 0)) &&
	       vtr_expect_alive(check);
}

/* row: bytes, no multiple of four */
static bool odd_size(struct vtr_check *check, const void *row)
{
	const uint32_t nops[4] = { 0 };
	struct pair pair;

	return make_pair(check, &pair) &&
	       vtr_expect_response(check, "SUBMIT_3D", vtr_command_submit(check->guest, CTX, nops, *(const uint32_t *)row),
	                           PARAMETER) &&
	       expect_unharmed(check, &pair);
}

/* row: bytes of commands that do nothing, and what comes of them */
struct long_row {
	uint32_t bytes, expected;
};

static bool long_stream(struct vtr_check *check, const void *row)
{
	const struct long_row *r = row;
	uint8_t *stream = calloc(1, r->bytes);
	struct pair pair;
	bool passed =
		stream && make_pair(check, &pair) &&
		vtr_expect_response(check, "SUBMIT_3D", vtr_command_submit(check->guest, CTX, stream, r->bytes), r->expected) &&
		expect_unharmed(check, &pair);

	free(stream);
	return passed;
}

/* Many small ones at once, which all come back. */
static bool many(struct vtr_check *check, const void *row)
{
	enum { N = 100 };
	struct vtr_guest *guest = check->guest;
	struct vtr_guest_message messages[N];
	struct vtr_3d_resource target;
	uint32_t written;
	uint16_t head;

	if (!vtr_3d_scene(check, &target))
		return false;
	for (uint32_t i = 0; i < N; i++) {
		const struct virtio_gpu_cmd_submit header = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = CTX },
			                                      .size = 256 };
		const uint8_t nops[256] = { 0 };
		uint8_t request[sizeof(header) + sizeof(nops)];

		vtr_command_pack_submit(request, &header, nops, sizeof(nops));
		if (!vtr_expect_success(check, "posting",
		                        vtr_guest_post(guest, VTR_GUEST_CONTROL, &messages[i], request, sizeof(request), 24)))
			return false;
	}
	if (!vtr_expect_success(check, "doorbell", vtr_guest_kick(guest, VTR_GUEST_CONTROL, false)))
		return false;
	for (uint32_t i = 0; i < N; i++)
		if (!vtr_expect_success(check, "waiting",
		                        vtr_guest_collect(guest, VTR_GUEST_CONTROL, &head, &written, guest->timeout_ms)))
			return false;
	return vtr_3d_clear(check, CTX, &target, RED) && vtr_3d_expect_colour(check, &target, RED);
}

#define WORDS(...)                                                                                                                 \
	&(const struct words_row)                                                                                                  \
	{                                                                                                                          \
		sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t),                                                      \
		{                                                                                                                  \
			__VA_ARGS__                                                                                                \
		}                                                                                                                  \
	}
#define NUMBER(n)                                                                                                                  \
	&(const uint32_t)                                                                                                          \
	{                                                                                                                          \
		n                                                                                                                  \
	}
#define LONG(...)                                                                                                                  \
	long_stream, &(const struct long_row)                                                                                      \
	{                                                                                                                          \
		__VA_ARGS__                                                                                                        \
	}

static const struct vtr_check_case cases[] = {
	{ "context-ids", context_ids },
	{ "no-words", no_words },
	{ "size-of-1", odd_size, NUMBER(1) },
	{ "size-of-7", odd_size, NUMBER(7) },
	{ "size-beyond-chain", size_beyond_chain, NUMBER(4) },
	{ "size-2^32-4", size_beyond_chain, NUMBER(UINT32_MAX - 64 - 3) },
	{ "one-mebibyte", LONG(1 << 20, VIRTIO_GPU_RESP_OK_NODATA) },
	{ "too-large", LONG(VTR_MAX_SUBMIT + 4, PARAMETER) },
	{ "many", many },
	{ "garbage", words, WORDS(0xdeadbeef, 0xdeadbeef, 0xdeadbeef) },
	{ "unknown-command", words, WORDS(VIRGL_CMD0(200, 0, 1), 0) },
	{ "longer-than-the-stream", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_CLEAR, 0, 0xffff), 4, 0, 0, 0) },
	{ "clear-too-short", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_CLEAR, 0, 2), 4, 0) },
	{ "draw-of-nothing", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_DRAW_VBO, 0, 1), 0) },
	{ "unknown-object-type", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_CREATE_OBJECT, 99, 1), 9) },
	{ "object-of-no-words", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_CREATE_OBJECT, VIRGL_OBJECT_SURFACE, 0)) },
	{ "bind-unknown-object", idle_words, WORDS(VIRGL_CMD0(VIRGL_CCMD_BIND_OBJECT, VIRGL_OBJECT_BLEND, 1), 12345) },
	{ "framebuffer-of-unknown-surface", idle_words, WORDS(VIRGL_CMD0(VIRGL_CCMD_SET_FRAMEBUFFER_STATE, 0, 3), 1, 0, 12345) },
	{ "framebuffer-of-too-many", words, WORDS(VIRGL_CMD0(VIRGL_CCMD_SET_FRAMEBUFFER_STATE, 0, 3), 1000, 0, 1) },
	{ "truncated", truncated },
	{ "noise", noise },
	{ "unattached", unattached },
	{ "unknown-resource", unknown_resource },
	{ "level-beyond", level_beyond },
	{ "inline-write-beyond", inline_write_beyond },
	{ "shader-of-no-tgsi", bad_shader, "int main() { return 0; }" },
	{ "shader-cut-off", bad_shader, "FRAG\nDCL IN[0], GENERIC[0], PERSPECTIVE\nDCL OUT[0], COLOR\n  0: MOV OUT[0]," },
	{ "shader-of-nothing", bad_shader, "" },
	{ "after-error", after_error },
};

const struct vtr_check_family vtr_check_3d_submit = { "3d-submit", cases, VTR_CHECK_COUNT(cases), .three_d = true };
