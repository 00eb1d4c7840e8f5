/* SPDX-License-Identifier: MIT */
/* A renderer in a process of its own: time, order, what waits for room, and the process after a loss. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "remote_fixture.h"
#include "rows.h"

/* ---- the next one ---- */

static void lose(struct remote_fixture *fixture)
{
	fixture->n_lost = 0;
	shutdown(fixture->fake.socket, SHUT_RDWR);
	turn(fixture);
	g_assert_cmpuint(fixture->n_lost, ==, 1);
}

static void wait_until(uint64_t time_ns)
{
	while (vtr_now_ns() < time_ns)
		g_usleep(1000);
}

static void test_backoff(void)
{
	static const uint64_t pauses[] = { 40, 80, 100, 100 };
	struct remote_fixture fixture;

	*(&fixture) = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture.fake);
	fixture.fake.settings.backoff_ns = 40 * MS;
	fixture.fake.settings.max_backoff_ns = 100 * MS;
	connect_to(&fixture);
	for (unsigned i = 0; i < G_N_ELEMENTS(pauses); i++) {
		const uint64_t before = vtr_now_ns();

		remote_of(&fixture)->started_ns = before; /* it has not lived for long */
		lose(&fixture);
		g_assert_cmpuint(remote_of(&fixture)->not_before, >=, before + pauses[i] * MS);
		g_assert_cmpuint(remote_of(&fixture)->not_before, <=, vtr_now_ns() + pauses[i] * MS);
		if (vtr_now_ns() + 10 * MS < remote_of(&fixture)->not_before)
			g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -ENODEV);
		g_assert_cmpuint(fixture.fake.starts, ==, i + 1);
		wait_until(remote_of(&fixture)->not_before);
		g_assert_cmpint(make_call(&fixture, VTR_RENDER_UNREF), ==, -ENODEV);
		g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
		g_assert_cmpuint(fixture.fake.starts, ==, i + 2);
		turn(&fixture);
	}
	/* one that has lived for long is not held against its successor, nor against the one after that */
	remote_of(&fixture)->started_ns = vtr_now_ns() - remote_of(&fixture)->settings.young_ns - MS;
	lose(&fixture);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	turn(&fixture);
	lose(&fixture);
	g_assert_cmpuint(remote_of(&fixture)->not_before, <=, vtr_now_ns() + 40 * MS);
	fixture_finish(&fixture);
}

/* A call that starts a process waits for it, and those behind it do. */
static void test_next(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	struct vtr_render_call second = { .args = { .op = VTR_RENDER_CTX_DESTROY, .ctx_id = 1 },
		                          .done = on_done,
		                          .user = &fixture };

	fixture_init(&fixture);
	lose(&fixture);
	remote_of(&fixture)->not_before = 0;
	fixture.fake.silent = true;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	g_assert_cmpint(vtr_renderer_call(fixture.renderer, &second), ==, -EINPROGRESS);
	turn(&fixture);
	g_assert_false(fake_hear_call(&fixture.fake, &heard)); /* START only */
	fake_say(&fixture.fake, &fixture.fake.started, sizeof(fixture.fake.started), NULL, 0);
	turn(&fixture);
	for (unsigned i = 0; i < 2; i++) {
		g_assert_true(fake_hear_call(&fixture.fake, &heard));
		g_assert_cmpuint(heard.args.op, ==, i ? VTR_RENDER_CTX_DESTROY : VTR_RENDER_CTX_CREATE);
		fake_say_done(&fixture.fake, heard.serial, 0);
	}
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 2);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* The guest has read the capsets of the first. */
static void test_next_differs(void)
{
	struct remote_fixture fixture;

	fixture_init(&fixture);
	lose(&fixture);
	remote_of(&fixture)->not_before = 0;
	fixture.fake.started.capsets[0].max_size++;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpint(fixture.code, ==, -ENODEV);
	g_assert_cmpuint(fixture.n_lost, ==, 2);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "other capsets"));
	g_assert_cmpuint(fixture.renderer->capsets[0].max_size, ==, FAKE_CAPSET_SIZE);
	fixture_finish(&fixture);
}

/* ---- time ---- */

static void dispatch_until_lost(struct remote_fixture *fixture)
{
	const uint64_t deadline = vtr_now_ns() + 30000 * MS;

	while (!fixture->n_lost) {
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 100), ==, 0);
	}
}

static void fence(struct remote_fixture *fixture, uint64_t id)
{
	struct vtr_remote_call heard;

	fixture->call = (struct vtr_render_call){ 0 };
	fixture->call.args.fence.id = id;
	g_assert_cmpint(make_call(fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture->fake, &heard));
	fake_say_done(&fixture->fake, heard.serial, 0);
	turn(fixture);
}

static void fixture_init_impatient(struct remote_fixture *fixture)
{
	*fixture = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture->fake);
	fixture->fake.settings.answer_ns = 50 * MS;
	fixture->fake.settings.wait_ns = 50 * MS;
	fixture->fake.settings.fence_ns = 100 * MS;
	connect_to(fixture);
}

static void test_silent(void)
{
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	const uint64_t before = vtr_now_ns();
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	dispatch_until_lost(&fixture);
	g_assert_cmpuint(vtr_now_ns() - before, >=, 50 * MS);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "did not answer"));
	fixture_finish(&fixture);
}

/* A byte now and then is no answer. */
static void test_trickle(void)
{
	const struct vtr_remote_done done = fake_done(0, 0);
	struct remote_fixture fixture;
	size_t sent = 0;

	fixture_init_impatient(&fixture);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
	const uint64_t deadline = vtr_now_ns() + 30000 * MS;
	while (!fixture.n_lost && vtr_now_ns() < deadline) {
		if (sent < sizeof(done) - 1)
			sent += fake_say(&fixture.fake, (const char *)&done + sent, 1, NULL, 0);
		vtr_loop_dispatch(fixture.loop, 1);
	}
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* Drawing may take longer than answering, but not for ever. */
static void test_fence_that_never_passes(void)
{
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	const uint64_t before = vtr_now_ns();
	fence(&fixture, 1);
	dispatch_until_lost(&fixture);
	g_assert_cmpuint(vtr_now_ns() - before, >=, 100 * MS);
	g_assert_cmpuint(fixture.n_fences, ==, 0);
	fixture_finish(&fixture);
}

/* A process that owes nothing may be silent as long as it likes. */
static void test_idle(void)
{
	const uint64_t until = vtr_now_ns() + 300 * MS;
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	fence(&fixture, 1);
	fake_say_fence(&fixture.fake, 1);
	while (vtr_now_ns() < until)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 10), ==, 0);
	g_assert_cmpuint(fixture.n_fences, ==, 1);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	g_assert_false(remote_of(&fixture)->timer_armed);
	fixture_finish(&fixture);
}

static void test_wait_silent(void)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_DETACH_BACKING } };
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &call), ==, -ENODEV);
	g_assert_cmpuint(fixture.n_lost, ==, 0); /* from the loop */
	turn(&fixture);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* Hears and answers calls on a thread of its own, each as long after it was heard. */
struct answerer {
	struct fake_process *fake;
	unsigned calls, delay_ms;
	GThread *thread;
};

static void *answer_calls(void *data)
{
	struct answerer *answerer = data;
	struct vtr_remote_call heard;

	for (unsigned i = 0; i < answerer->calls; i++) {
		struct pollfd readable = { .fd = answerer->fake->socket, .events = POLLIN };

		while (!fake_hear_call(answerer->fake, &heard)) {
			poll(&readable, 1, -1);
			if (readable.revents & POLLHUP)
				return NULL;
		}
		g_usleep(answerer->delay_ms * 1000);
		fake_say_done(answerer->fake, heard.serial, 0);
	}
	return NULL;
}

static void begin_answers(struct answerer *answerer)
{
	answerer->thread = g_thread_new("answerer", answer_calls, answerer);
}

static int call_and_wait(struct remote_fixture *fixture, uint32_t op)
{
	struct vtr_render_call call = { .args = { .op = op, .resource_id = RESOURCE } };

	return vtr_renderer_call_wait(fixture->renderer, &call);
}

enum { WAIT_MS = 1000 };

static void fixture_init_waiting(struct remote_fixture *fixture)
{
	*fixture = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture->fake);
	fixture->fake.settings.wait_ns = WAIT_MS * MS;
	connect_to(fixture);
}

/* Many short waits are a long one. */
static void test_wait_sum(void)
{
	struct remote_fixture fixture;
	struct answerer answerer = { .fake = &fixture.fake, .calls = 20, .delay_ms = WAIT_MS / 4 };
	int codes[20];

	fixture_init_waiting(&fixture);
	begin_answers(&answerer);
	const uint64_t before = vtr_now_ns();
	for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++)
		codes[i] = call_and_wait(&fixture, VTR_RENDER_DETACH_BACKING);
	g_assert_cmpuint(vtr_now_ns() - before, <, 3 * WAIT_MS * MS);
	g_thread_join(answerer.thread);
	g_assert_cmpint(codes[0], ==, 0);
	g_assert_cmpint(codes[19], ==, -ENODEV);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "kept the device waiting for"));
	fixture_finish(&fixture);
}

/* ... but each turn of the loop has its own. */
static void test_wait_turns(void)
{
	struct remote_fixture fixture;
	struct answerer answerer = { .fake = &fixture.fake, .calls = 3, .delay_ms = WAIT_MS / 2 };

	fixture_init_waiting(&fixture);
	begin_answers(&answerer);
	for (unsigned i = 0; i < answerer.calls; i++) {
		g_assert_cmpint(call_and_wait(&fixture, VTR_RENDER_CTX_DESTROY), ==, 0);
		turn(&fixture);
	}
	g_thread_join(answerer.thread);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	fixture_finish(&fixture);
}

/* ---- order ---- */

/* What is heard while somebody waits is told by the loop, in its order. */
static void test_order(void)
{
	struct vtr_render_call wanted = { .args = { .op = VTR_RENDER_CTX_DESTROY } };
	struct remote_fixture fixture;
	struct vtr_remote_call heard;

	fixture_init(&fixture);
	fixture.call.args.fence.id = 7;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, 0);
	fake_say_fence(&fixture.fake, 7);
	fake_say_done(&fixture.fake, heard.serial + 1, -ENOENT);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &wanted), ==, -ENOENT);
	g_assert_cmpuint(fixture.n_done + fixture.n_fences, ==, 0);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpuint(fixture.n_fences, ==, 1);
	g_assert_cmpuint(fixture.after[0], ==, 1);
	fixture_finish(&fixture);
}

static void test_fences(void)
{
	struct remote_fixture fixture;

	fixture_init(&fixture);
	for (uint64_t id = 1; id <= 4; id++)
		fence(&fixture, id);
	fake_say_fence(&fixture.fake, 3); /* another ring's */
	fake_say_fence(&fixture.fake, 1);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_fences, ==, 2);
	g_assert_cmpuint(fixture.fences[0], ==, 3);
	g_assert_cmpuint(fixture.fences[1], ==, 1);
	fake_say_fence(&fixture.fake, 3); /* once more */
	turn(&fixture);
	g_assert_cmpuint(fixture.n_fences, ==, 2);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	fixture_finish(&fixture);
}

/* RESET ends fences, and what is refused has none. */
static void test_fences_that_are_no_more(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;

	fixture_init(&fixture);
	fence(&fixture, 1);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_RESET), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, 0);
	turn(&fixture);
	g_assert_null(remote_of(&fixture)->fences.first);
	fixture.call.args.fence.id = 2;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	fake_hear_call(&fixture.fake, &heard);
	fake_say_done(&fixture.fake, heard.serial, -EINVAL);
	turn(&fixture);
	g_assert_cmpuint(remote_of(&fixture)->n_fences, ==, 0);
	fixture_finish(&fixture);
}

/* A call that is waited for does not move those behind it before a fence, nor a fence before those in front. */
static void test_order_around_waiting(void)
{
	struct vtr_render_call first = { .args = { .op = VTR_RENDER_CTX_DESTROY } };
	struct remote_fixture fixture;

	fixture_init(&fixture);
	first.done = on_done;
	first.user = &fixture;
	fixture.call.args.fence.id = 7;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_FENCE), ==, -EINPROGRESS);
	g_assert_cmpint(vtr_renderer_call(fixture.renderer, &first), ==, -EINPROGRESS);
	for (uint64_t serial = 0; serial < 3; serial++)
		fake_say_done(&fixture.fake, serial, 0);
	fake_say_fence(&fixture.fake, 7);
	g_assert_cmpint(call_and_wait(&fixture, VTR_RENDER_DETACH_BACKING), ==, 0);
	fake_say_done(&fixture.fake, 3, 0);
	g_assert_cmpint(call_and_wait(&fixture, VTR_RENDER_DETACH_BACKING), ==, 0);
	g_assert_cmpuint(fixture.n_done + fixture.n_fences, ==, 0);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 2);
	g_assert_cmpuint(fixture.n_fences, ==, 1);
	g_assert_cmpuint(fixture.after[0], ==, 2);
	fixture_finish(&fixture);
}

/* ---- much ---- */

/* Calls that were waited for take no room, also behind one that the loop has yet to deliver. */
static void test_many_waits(gconstpointer data)
{
	const bool behind_another = GPOINTER_TO_INT(data);
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	uint64_t serial = 0;

	fixture_init(&fixture);
	if (behind_another) {
		g_assert_cmpint(make_call(&fixture, VTR_RENDER_CTX_CREATE), ==, -EINPROGRESS);
		fake_say_done(&fixture.fake, serial++, 0);
	}
	for (unsigned i = 0; i < VTR_REMOTE_CALLS + 76; i++) {
		fake_say_done(&fixture.fake, serial++, 0);
		g_assert_cmpint(call_and_wait(&fixture, VTR_RENDER_DETACH_BACKING), ==, 0);
		g_assert_true(fake_hear_call(&fixture.fake, &heard));
	}
	g_assert_cmpuint(fixture.n_done, ==, 0);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, behind_another);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	fixture_finish(&fixture);
}

static void fill(struct remote_fixture *fixture, struct vtr_render_call *calls)
{
	for (unsigned i = 0; i < VTR_REMOTE_CALLS; i++) {
		calls[i] = (struct vtr_render_call){ .args = { .op = VTR_RENDER_CTX_ATTACH_RESOURCE, .ctx_id = i },
			                             .done = on_done,
			                             .user = fixture };
		g_assert_cmpint(vtr_renderer_call(fixture->renderer, &calls[i]), ==, -EINPROGRESS);
	}
}

/* What takes something back is never refused for want of room: it waits for that. */
static void test_room(gconstpointer data)
{
	const uint32_t op = GPOINTER_TO_UINT(data);
	static struct vtr_render_call calls[VTR_REMOTE_CALLS];
	struct remote_fixture fixture;
	struct answerer answerer = { .fake = &fixture.fake, .calls = VTR_REMOTE_CALLS + 1 };

	fixture_init(&fixture);
	fill(&fixture, calls);
	begin_answers(&answerer);
	g_assert_cmpint(make_call(&fixture, op), ==, -EINPROGRESS);
	g_assert_cmpuint(fixture.n_done, ==, 0); /* from the loop */
	while (fixture.n_done <= VTR_REMOTE_CALLS)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 1000), ==, 0);
	g_thread_join(answerer.thread);
	g_assert_cmpint(fixture.call.code, ==, 0);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	fixture_finish(&fixture);
}

/* ... as long as anybody waits, and then the process is over, with what it has. */
static void test_no_room(void)
{
	static struct vtr_render_call calls[VTR_REMOTE_CALLS];
	struct remote_fixture fixture;

	fixture_init_impatient(&fixture);
	fill(&fixture, calls);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_DETACH_BACKING), ==, -ENODEV);
	turn(&fixture);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	g_assert_cmpuint(fixture.n_done, ==, VTR_REMOTE_CALLS);
	fixture_finish(&fixture);
}

/* The process takes nothing: calls wait, up to a bound, and are carried out in their order when it does. */
static void test_full_socket(void)
{
	static struct vtr_render_call calls[VTR_REMOTE_CALLS + 1];
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	uint64_t serial = 0;
	unsigned left = VTR_REMOTE_CALLS;

	fixture_init(&fixture);
	for (unsigned i = 0; i <= VTR_REMOTE_CALLS; i++) {
		calls[i] = (struct vtr_render_call){ .args = { .op = VTR_RENDER_CTX_ATTACH_RESOURCE, .ctx_id = i },
			                             .done = on_done,
			                             .user = &fixture };
		g_assert_cmpint(vtr_renderer_call(fixture.renderer, &calls[i]), ==, i < VTR_REMOTE_CALLS ? -EINPROGRESS : -ENOMEM);
	}
	turn(&fixture);
	g_assert_cmpuint(fixture.n_done, ==, 0);
	while (left) {
		if (!fake_hear_call(&fixture.fake, &heard)) {
			turn(&fixture);
			continue;
		}
		g_assert_cmpuint(heard.args.ctx_id, ==, VTR_REMOTE_CALLS - left--);
		g_assert_cmpuint(heard.serial, ==, serial++);
		g_assert_true(fake_say_done(&fixture.fake, heard.serial, 0));
		if (left % 100 == 0)
			turn(&fixture);
	}
	turn(&fixture);
	while (fixture.n_done < VTR_REMOTE_CALLS)
		g_assert_cmpint(vtr_loop_dispatch(fixture.loop, 1000), ==, 0);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	fixture_finish(&fixture);
}

enum { STREAMS = 9 };

static void check_stream(const struct fake_process *fake, const struct vtr_remote_call *heard, unsigned i)
{
	const uint32_t *words = (const uint32_t *)(const void *)(fake->arena + heard->arena_offset);

	g_assert_cmpuint(heard->arena_offset % 8, ==, 0);
	g_assert_cmpuint(words[0], ==, i);
	g_assert_cmpuint(words[heard->arena_size / 4 - 1], ==, i);
}

/* Streams share the arena: none is written over before it was read, and what does not fit waits. */
static void test_arena(void)
{
	static const size_t sizes[STREAMS] = {
		VTR_MAX_SUBMIT, VTR_MAX_SUBMIT / 2, VTR_MAX_SUBMIT, 4, VTR_MAX_SUBMIT, 20, VTR_MAX_SUBMIT, 3000, VTR_MAX_SUBMIT
	};
	struct vtr_render_call calls[STREAMS];
	struct remote_fixture fixture;
	struct vtr_remote_call heard[STREAMS];
	unsigned n_heard = 0, n_answered = 0, most = 0;

	fixture_init(&fixture);
	for (unsigned i = 0; i < STREAMS; i++) {
		uint32_t *words = g_malloc(sizes[i]);

		words[0] = words[sizes[i] / 4 - 1] = i;
		calls[i] = (struct vtr_render_call){ .args = { .op = VTR_RENDER_SUBMIT, .ctx_id = i },
			                             .data = words,
			                             .size = sizes[i],
			                             .done = on_done,
			                             .user = &fixture };
		g_assert_cmpint(vtr_renderer_call(fixture.renderer, &calls[i]), ==, -EINPROGRESS);
	}
	while (fixture.n_done < STREAMS) {
		turn(&fixture);
		while (n_heard < STREAMS && fake_hear_call(&fixture.fake, &heard[n_heard]))
			n_heard++;
		most = n_heard - n_answered > most ? n_heard - n_answered : most;
		for (unsigned i = n_answered; i < n_heard; i++)
			check_stream(&fixture.fake, &heard[i], i);
		g_assert_cmpuint(n_answered, <, n_heard);
		fake_say_done(&fixture.fake, heard[n_answered++].serial, 0);
		turn(&fixture);
	}
	g_assert_cmpuint(most, >=, 2);
	for (unsigned i = 0; i < STREAMS; i++)
		g_free((void *)calls[i].data);
	fixture_finish(&fixture);
}

/* ---- memory that nobody else can have ---- */

struct memory_row {
	const char *name;
	bool file, writable;
	int code;
};

static const struct memory_row memories[] = {
	{ "file", true, true, -EINPROGRESS },
	{ "for-reading-only", true, false, -EOPNOTSUPP },
	{ "remote", false, true, -EOPNOTSUPP },
};

static void test_memory(gconstpointer data)
{
	const struct memory_row *row = data;
	const struct vtr_mem_entry entry = { .address = 0x1000, .length = 4096 };
	struct vtr_memory *memory = vtr_memory_create();
	struct remote_fixture fixture;
	struct vtr_spans spans;

	fixture_init(&fixture);
	create(&fixture);
	g_assert_cmpint(vtr_memory_add(memory, 0x1000, 4096, row->file ? vtr_memfd_create("memory", 4096) : -1, 0, row->writable),
	                ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, &entry, 1, NULL), ==, 0);
	fixture.call.spans = &spans;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_ATTACH_BACKING), ==, row->code);
	/* taken away: nothing can be made of it any more */
	vtr_memory_remove_all(memory);
	struct vtr_render_call late = { .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = RESOURCE }, .spans = &spans };
	g_assert_cmpint(vtr_renderer_call(fixture.renderer, &late), ==, -EOPNOTSUPP);
	fixture_finish(&fixture);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
}

/* A backing that was refused leaves nothing behind: the process is told to forget the file. */
static void test_refused_backing(void)
{
	struct remote_fixture fixture;
	struct vtr_remote_call heard;
	struct vtr_spans spans;

	fixture_init(&fixture);
	create(&fixture);
	g_assert_cmpint(vtr_spans_from_file(&spans, vtr_memfd_create("memory", 4096), 4096, NULL), ==, 0);
	fixture.call.spans = &spans;
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_ATTACH_BACKING), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture.fake, &heard));
	g_assert_cmpuint(heard.has_spans, ==, 1);
	g_assert_cmpuint(heard.arena_size, ==, sizeof(struct vtr_remote_span));
	const struct vtr_remote_span *span = (const void *)(fixture.fake.arena + heard.arena_offset);
	g_assert_cmpuint(span->slot, ==, 0);
	g_assert_cmpuint(span->length, ==, 4096);
	fake_say_done(&fixture.fake, heard.serial, -EINVAL);
	turn(&fixture);
	g_assert_cmpint(fixture.code, ==, -EINVAL);
	g_assert_cmpint(make_call(&fixture, VTR_RENDER_DETACH_BACKING), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture.fake, &heard));
	g_assert_cmpuint(heard.forget[0], ==, 1);
	fixture_finish(&fixture);
	vtr_spans_finish(&spans);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/remote/backoff", test_backoff);
	g_test_add_func("/unit/remote/next", test_next);
	g_test_add_func("/unit/remote/next-differs", test_next_differs);
	g_test_add_func("/unit/remote/silent", test_silent);
	g_test_add_func("/unit/remote/trickle", test_trickle);
	g_test_add_func("/unit/remote/fence-that-never-passes", test_fence_that_never_passes);
	g_test_add_func("/unit/remote/idle", test_idle);
	g_test_add_func("/unit/remote/wait-silent", test_wait_silent);
	g_test_add_func("/unit/remote/wait-sum", test_wait_sum);
	g_test_add_func("/unit/remote/wait-turns", test_wait_turns);
	g_test_add_func("/unit/remote/order", test_order);
	g_test_add_func("/unit/remote/order-around-waiting", test_order_around_waiting);
	g_test_add_func("/unit/remote/fences", test_fences);
	g_test_add_func("/unit/remote/fences-that-are-no-more", test_fences_that_are_no_more);
	g_test_add_func("/unit/remote/full-socket", test_full_socket);
	g_test_add_data_func("/unit/remote/many-waits/alone", GINT_TO_POINTER(false), test_many_waits);
	g_test_add_data_func("/unit/remote/many-waits/behind-another", GINT_TO_POINTER(true), test_many_waits);
	g_test_add_data_func("/unit/remote/room/detach-backing", GUINT_TO_POINTER(VTR_RENDER_DETACH_BACKING), test_room);
	g_test_add_data_func("/unit/remote/room/unref", GUINT_TO_POINTER(VTR_RENDER_UNREF), test_room);
	g_test_add_data_func("/unit/remote/room/ctx-destroy", GUINT_TO_POINTER(VTR_RENDER_CTX_DESTROY), test_room);
	g_test_add_data_func("/unit/remote/room/reset", GUINT_TO_POINTER(VTR_RENDER_RESET), test_room);
	g_test_add_func("/unit/remote/no-room", test_no_room);
	g_test_add_func("/unit/remote/arena", test_arena);
	ADD_ROWS("/unit/remote/memory/", memories, test_memory);
	g_test_add_func("/unit/remote/refused-backing", test_refused_backing);
	return g_test_run();
}
