/* SPDX-License-Identifier: MIT */
/*
 * The device's side of a renderer in a process of its own, against a process that answers anything, while calls of all kinds go on.
 *
 * An input is a byte (START_WELL: the process starts as it should, else the input says how) and steps: a byte that says what, and
 * what that takes (enum step). Whatever is answered: each call is done once, with a code that callers know; fences pass once, and
 * only those that were asked for; a loss is told once, and after it no call is in progress; nothing waits for long.
 * seed_render_remote.py writes inputs in this form.
 */
#include <drm_fourcc.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <vitrine/log.h>

#include "fake_process.h"
#include "vfio_user_input.h"

enum { MAX_STEPS = 256, MAX_CALLS = 64, MAX_FENCES = 256, RESOURCES = 4, START_WELL = 1 };

enum step {
	RAW,     /* u8 fds, u16 length, bytes */
	DONE,    /* u8 serial (+ what is due), u8 code, u8 fds, u16 offset, u16 size, u16 stride, u8 map_info and modifier */
	PASSED,  /* u8 fence */
	STARTED, /* u16 at, u8 by how much: one byte of a good one is changed */
	CALL,    /* u8 op, u8 resource or fence */
	WAIT,    /* the same, and waited for */
	TURN,
	AGAIN, /* the pause before the next process is over */
	STEPS,
};

struct machine {
	struct fake_process fake;
	struct vtr_loop *loop;
	struct vtr_renderer *renderer;
	struct vtr_render_call *calls[MAX_CALLS]; /* in progress */
	unsigned n_calls;
	bool fences[MAX_FENCES]; /* that were asked for */
	unsigned lost;
};

/* What calls bring; made once. */
static struct {
	struct vtr_spans spans;
	struct vtr_image *image;
	uint32_t stream[64];
	struct fuzz_fds fds;
} brought;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool is_so)
{
	if (!is_so)
		abort();
}

/* ---- the device's side ---- */

static void on_fence(void *data, uint64_t id)
{
	struct machine *machine = data;

	check(id < MAX_FENCES && machine->fences[id]);
	machine->fences[id] = false;
}

static void on_lost(void *data, const struct vtr_error *why)
{
	struct machine *machine = data;

	check(why->code == ENODEV && why->text[0]);
	check(++machine->lost <= machine->fake.starts);
	check(!machine->n_calls);
	memset(machine->fences, 0, sizeof(machine->fences)); /* none of them passes any more */
}

static void check_results(struct vtr_render_call *call)
{
	check(call->code == 0 || call->code == -EINVAL || call->code == -ENOENT || call->code == -ENOMEM ||
	      call->code == -EOPNOTSUPP || call->code == -ENODEV);
	check(!call->exported || (!call->code && call->args.op == VTR_RENDER_EXPORT));
	check(call->mapped.fd < 0 || (!call->code && call->args.op == VTR_RENDER_EXPORT_BLOB));
	vtr_buffer_drop(call->exported);
	vtr_fd_close(&call->mapped.fd);
}

static void on_done(struct vtr_render_call *call)
{
	struct machine *machine = call->user;

	/* in their order */
	check(machine->n_calls && machine->calls[0] == call);
	memmove(machine->calls, machine->calls + 1, --machine->n_calls * sizeof(machine->calls[0]));
	check_results(call);
	free(call);
}

static void prepare(struct machine *machine, struct vtr_render_call *call, struct fuzz_input *input)
{
	uint8_t id;

	*call = (struct vtr_render_call){ .mapped.fd = -1, .done = on_done, .user = machine };
	call->args.op = fuzz_take8(input) % VTR_RENDER_OPS;
	id = fuzz_take8(input);
	call->args.resource_id = id % RESOURCES;
	if (call->args.op == VTR_RENDER_FENCE) {
		call->args.fence.id = id;
		call->args.fence.has_ring = id & 1;
	} else if (call->args.op == VTR_RENDER_CREATE_3D) {
		call->args.create_3d.width = 16;
		call->args.create_3d.height = id;
	}
	call->spans = &brought.spans;
	call->image = brought.image;
	call->data = brought.stream;
	call->size = sizeof(brought.stream);
}

/* A fence's id is asked for once at a time. */
static bool is_allowed(struct machine *machine, const struct vtr_render_call *call)
{
	return call->args.op != VTR_RENDER_FENCE || !machine->fences[call->args.fence.id];
}

static void make_call(struct machine *machine, struct fuzz_input *input)
{
	struct vtr_render_call *call = malloc(sizeof(*call));

	prepare(machine, call, input);
	if (machine->n_calls == MAX_CALLS || !is_allowed(machine, call)) {
		free(call);
		return;
	}
	if (call->args.op == VTR_RENDER_FENCE)
		machine->fences[call->args.fence.id] = true;
	machine->calls[machine->n_calls++] = call;
	if (vtr_renderer_call(machine->renderer, call) == -EINPROGRESS)
		return;
	machine->n_calls--;
	check_results(call);
	free(call);
}

static void make_call_and_wait(struct machine *machine, struct fuzz_input *input)
{
	struct vtr_render_call call;

	prepare(machine, &call, input);
	if (!is_allowed(machine, &call))
		return;
	if (call.args.op == VTR_RENDER_FENCE)
		machine->fences[call.args.fence.id] = true;
	check(vtr_renderer_call_wait(machine->renderer, &call) != -EINPROGRESS);
	check_results(&call);
}

/* ---- the process's side ---- */

/* What the device has said; the serial that it waits for an answer to. */
static uint64_t serial_due(struct machine *machine)
{
	struct vtr_remote_call heard;

	while (fake_hear(&machine->fake, &heard))
		continue;
	return ((struct vtr_remote *)machine->renderer)->answered;
}

static void say_done(struct machine *machine, struct fuzz_input *input)
{
	static const int codes[] = { 0, -EINVAL, -ENOENT, -ENOMEM, -EOPNOTSUPP, -EIO, 5, -EINPROGRESS };
	struct vtr_remote_done done = fake_done(serial_due(machine) + fuzz_take8(input), codes[fuzz_take8(input) % 8]);
	struct iovec part = { &done, sizeof(done) };
	uint8_t fds = fuzz_take8(input), last;

	done.offset = fuzz_take16(input);
	done.size = fuzz_take16(input);
	done.stride = fuzz_take16(input);
	last = fuzz_take8(input);
	done.map_info = last & 7;
	done.modifier = last >> 3;
	done.error.owner = last;
	memset(done.error.text, last, sizeof(done.error.text));
	fuzz_send(machine->fake.socket, &brought.fds, &part, 1, fds);
}

static void say_started(struct machine *machine, struct fuzz_input *input)
{
	struct vtr_remote_started started = fake_started();
	uint16_t at = fuzz_take16(input);

	((uint8_t *)&started)[at % sizeof(started)] += fuzz_take8(input);
	fake_say(&machine->fake, &started, sizeof(started), NULL, 0);
}

static void turn(struct machine *machine)
{
	for (int i = 0; i < 3; i++)
		vtr_loop_dispatch(machine->loop, 0);
}

static void run_step(struct machine *machine, struct fuzz_input *input)
{
	switch (fuzz_take8(input) % STEPS) {
	case RAW:
		fuzz_send_raw(machine->fake.socket, &brought.fds, input);
		break;
	case DONE:
		say_done(machine, input);
		break;
	case PASSED:
		fake_say_fence(&machine->fake, fuzz_take8(input));
		break;
	case STARTED:
		say_started(machine, input);
		break;
	case CALL:
		make_call(machine, input);
		break;
	case WAIT:
		make_call_and_wait(machine, input);
		break;
	case TURN:
		turn(machine);
		break;
	case AGAIN:
		((struct vtr_remote *)machine->renderer)->not_before = 0;
		break;
	}
}

/* ---- inputs ---- */

/* What the process says as soon as it is started, where that is not what it should: a step of the input. */
static struct fuzz_input *first_words;

static int connect_badly(void *data)
{
	struct machine *machine = data;

	machine->fake.silent = true;
	int socket = fake_connect(&machine->fake);
	if (first_words)
		say_started(machine, first_words);
	return socket;
}

static void bring(void)
{
	if (brought.image)
		return;
	fuzz_fds_init(&brought.fds, 4096);
	close(brought.fds.fds[FUZZ_FD_MEMORY]);
	brought.fds.fds[FUZZ_FD_MEMORY] = vtr_memfd_create("memory", 4096);
	brought.image = vtr_image_create(16, 8, DRM_FORMAT_XRGB8888);
	check(vtr_spans_from_file(&brought.spans, vtr_memfd_create("guest", 65536), 65536, NULL) == 0);
}

static bool start(struct machine *machine, struct fuzz_input *input)
{
	static const struct vtr_renderer_listener listener = { .fence_done = on_fence, .lost = on_lost };
	const bool well = fuzz_take8(input) & START_WELL;

	*machine = (struct machine){ .loop = vtr_loop_create() };
	fake_process_init(&machine->fake);
	machine->fake.settings.answer_ns = 2000000;
	machine->fake.settings.wait_ns = 300000;
	if (!well) {
		first_words = input;
		machine->fake.settings.connect = connect_badly;
		machine->fake.settings.data = machine;
	}
	machine->renderer = vtr_remote_create(machine->loop, &(struct vtr_renderer_options){ 0 }, &machine->fake.settings, NULL);
	first_words = NULL;
	if (!machine->renderer)
		return false;
	vtr_renderer_set_listener(machine->renderer, &listener, machine);
	return true;
}

static void finish(struct machine *machine)
{
	if (machine->renderer) {
		/* The process goes, and with it all that is in progress. */
		shutdown(machine->fake.socket, SHUT_RDWR);
		turn(machine);
		check(!machine->n_calls);
	}
	vtr_renderer_destroy(machine->renderer);
	fake_process_finish(&machine->fake);
	vtr_loop_destroy(machine->loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct machine machine;

	vtr_log_set_level(VTR_LOG_ERROR);
	bring();
	if (start(&machine, &input))
		for (int i = 0; input.left && i < MAX_STEPS; i++)
			run_step(&machine, &input);
	finish(&machine);
	return 0;
}
