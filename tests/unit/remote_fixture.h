/* SPDX-License-Identifier: MIT */
#ifndef TEST_REMOTE_FIXTURE_H
#define TEST_REMOTE_FIXTURE_H

#include "fake_process.h"

/* The device's side of a renderer in a process of its own, a process that says whatever a test wants, and who listens. */
#define MS UINT64_C(1000000)

enum { WIDTH = 16, HEIGHT = 8, RESOURCE = 5 };

struct remote_fixture {
	struct fake_process fake;
	struct vtr_loop *loop;
	struct vtr_renderer *renderer;
	struct vtr_render_call call;
	unsigned n_done, n_lost, n_fences;
	int code;           /* of the last call that was done */
	uint64_t fences[8]; /* that passed */
	unsigned after[8];  /* how many calls were done before */
};

static inline void on_fence(void *data, uint64_t id)
{
	struct remote_fixture *fixture = data;

	g_assert_cmpuint(fixture->n_fences, <, G_N_ELEMENTS(fixture->fences));
	fixture->after[fixture->n_fences] = fixture->n_done;
	fixture->fences[fixture->n_fences++] = id;
}

static inline void on_lost(void *data, const struct vtr_error *why)
{
	struct remote_fixture *fixture = data;

	g_assert_cmpint(why->code, ==, ENODEV);
	fixture->n_lost++;
}

static inline void on_done(struct vtr_render_call *call)
{
	struct remote_fixture *fixture = call->user;

	fixture->n_done++;
	fixture->code = call->code;
}

static inline void connect_to(struct remote_fixture *fixture)
{
	static const struct vtr_renderer_listener listener = { .fence_done = on_fence, .lost = on_lost };
	struct vtr_error error;

	fixture->renderer = vtr_remote_create(fixture->loop, &(struct vtr_renderer_options){ 0 }, &fixture->fake.settings, &error);
	if (!fixture->renderer)
		g_error("%s", error.text);
	vtr_renderer_set_listener(fixture->renderer, &listener, fixture);
}

static inline void fixture_init(struct remote_fixture *fixture)
{
	*fixture = (struct remote_fixture){ .loop = vtr_loop_create() };
	fake_process_init(&fixture->fake);
	connect_to(fixture);
}

static inline void fixture_finish(struct remote_fixture *fixture)
{
	vtr_renderer_destroy(fixture->renderer);
	fake_process_finish(&fixture->fake);
	vtr_loop_destroy(fixture->loop);
}

static inline struct vtr_remote *remote_of(struct remote_fixture *fixture)
{
	return (struct vtr_remote *)fixture->renderer;
}

static inline void turn(struct remote_fixture *fixture)
{
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 0), ==, 0);
}

/* Makes fixture->call. */
static inline int make_call(struct remote_fixture *fixture, uint32_t op)
{
	fixture->call.args.op = op;
	fixture->call.args.resource_id = RESOURCE;
	fixture->call.done = on_done;
	fixture->call.user = fixture;
	return vtr_renderer_call(fixture->renderer, &fixture->call);
}

/* The resource is there, as far as the device knows. */
static inline void create(struct remote_fixture *fixture)
{
	struct vtr_remote_call heard;

	fixture->call = (struct vtr_render_call){ 0 };
	fixture->call.args.create_3d.width = WIDTH;
	fixture->call.args.create_3d.height = HEIGHT;
	g_assert_cmpint(make_call(fixture, VTR_RENDER_CREATE_3D), ==, -EINPROGRESS);
	g_assert_true(fake_hear_call(&fixture->fake, &heard));
	g_assert_cmpuint(heard.args.create_3d.width, ==, WIDTH);
	g_assert_true(fake_say_done(&fixture->fake, heard.serial, 0));
	turn(fixture);
	g_assert_cmpuint(fixture->n_done, ==, 1);
	g_assert_cmpint(fixture->code, ==, 0);
	fixture->n_done = 0;
	fixture->call = (struct vtr_render_call){ 0 };
}

static inline unsigned open_fds(void)
{
	GDir *folder = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(folder))
		count++;
	g_dir_close(folder);
	return count;
}

#endif
