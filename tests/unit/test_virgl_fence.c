/* SPDX-License-Identifier: MIT */
/* Fences of virglrenderer: each once, in order, without a busy loop. */
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "render/virgl.h"
#include "virgl_fixture.h"

static void clear(struct virgl_fixture *fixture, uint32_t ctx_id)
{
	struct virgl_stream stream = { .count = 0 };

	stream_draw_to(&stream, 1000 + fixture->n_done, 5, FORMAT_B8G8R8A8, 0, 0);
	for (int i = 0; i < 20; i++)
		stream_clear(&stream, 1, 1, 1, 1);
	g_assert_cmpint(virgl_submit(fixture, ctx_id, &stream), ==, 0);
}

static void init(struct virgl_fixture *fixture)
{
	struct vtr_render_args args = virgl_texture(5, FORMAT_B8G8R8A8, 512, 512);

	virgl_fixture_init(fixture);
	g_assert_cmpint(virgl_create(fixture, &args), ==, 0);
	for (uint32_t ctx_id = 1; ctx_id <= 2; ctx_id++) {
		g_assert_cmpint(virgl_create_context(fixture, ctx_id), ==, 0);
		g_assert_cmpint(virgl_call(fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, ctx_id, 5), ==, 0);
	}
	clear(fixture, 1);
	clear(fixture, 2);
}

/* Three timelines, of no ring and of two contexts; ids beyond 32 bits. */
static void test_order(void)
{
	enum { EACH = 20 };
	const uint64_t base = UINT64_C(0x123456789abc);
	uint64_t last[3] = { 0 };
	struct virgl_fixture fixture;

	init(&fixture);
	for (uint64_t i = 0; i < 3 * EACH; i++)
		g_assert_cmpint(virgl_fence(&fixture, base + i, (uint32_t)(i % 3)), ==, 0);
	virgl_wait_fences(&fixture, 3 * EACH);
	g_assert_cmpuint(fixture.n_done, ==, 3 * EACH);
	for (unsigned i = 0; i < fixture.n_done; i++) {
		uint64_t *of_ring = &last[(fixture.done[i] - base) % 3];

		g_assert_cmpuint(fixture.done[i], >, *of_ring);
		*of_ring = fixture.done[i];
	}
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpuint(last[i], ==, base + 3 * (EACH - 1) + i);
	virgl_fixture_finish(&fixture);
}

static void assert_quiet(struct virgl_fixture *fixture)
{
	struct pollfd loop = { .fd = vtr_loop_fd(fixture->loop), .events = POLLIN };

	for (int i = 0; i < 3; i++)
		vtr_loop_dispatch(fixture->loop, 0);
	g_assert_cmpint(poll(&loop, 1, 100), ==, 0);
}

static void test_quiet(void)
{
	struct virgl_fixture fixture;

	init(&fixture);
	g_assert_cmpint(virgl_fence(&fixture, 1, 0), ==, 0);
	virgl_wait_fences(&fixture, 1);
	assert_quiet(&fixture);
	virgl_fixture_finish(&fixture);
}

/* Nobody waits for ever for a context that is gone: its fences have passed. */
static void test_context_destroyed(void)
{
	struct virgl_fixture fixture;

	init(&fixture);
	g_assert_cmpint(virgl_fence(&fixture, 7, 1), ==, 0);
	g_assert_cmpint(virgl_fence(&fixture, 8, 1), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_CTX_DESTROY, 1, 0), ==, 0);
	g_assert_cmpuint(fixture.n_done, ==, 2);
	g_assert_cmpuint(fixture.done[0], ==, 7);
	g_assert_cmpuint(fixture.done[1], ==, 8);
	g_assert_cmpint(virgl_fence(&fixture, 9, 1), ==, -ENOENT);
	g_assert_cmpint(virgl_fence(&fixture, 10, 0), ==, 0);
	virgl_wait_fences(&fixture, 3);
	g_assert_cmpuint(fixture.done[2], ==, 10);
	virgl_fixture_finish(&fixture);
}

static void test_reset(void)
{
	struct virgl_fixture fixture;

	init(&fixture);
	g_assert_cmpint(virgl_fence(&fixture, 1, 0), ==, 0);
	g_assert_cmpint(virgl_fence(&fixture, 2, 2), ==, 0);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	g_assert_cmpint(virgl_fence(&fixture, 3, 0), ==, 0);
	virgl_wait_fences(&fixture, 1);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpuint(fixture.done[0], ==, 3);
	virgl_fixture_finish(&fixture);
}

/* The listener asks for the next fence from inside. */
struct asking {
	struct virgl_fixture fixture;
	unsigned told;
};

static void ask_again(void *data, uint64_t id)
{
	struct asking *asking = data;

	g_assert_cmpuint(id, ==, ++asking->told);
	if (asking->told < 50)
		g_assert_cmpint(virgl_fence(&asking->fixture, id + 1, id % 2 ? 1 : 0), ==, 0);
}

static void test_from_inside(void)
{
	static const struct vtr_renderer_listener listener = { .fence_done = ask_again };
	uint64_t deadline = vtr_now_ns() + UINT64_C(60000000000);
	struct asking asking = { .told = 0 };

	init(&asking.fixture);
	vtr_renderer_set_listener(asking.fixture.renderer, &listener, &asking);
	g_assert_cmpint(virgl_fence(&asking.fixture, 1, 0), ==, 0);
	while (asking.told < 50) {
		g_assert_cmpint(vtr_loop_dispatch(asking.fixture.loop, 1000), ==, 0);
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
	}
	virgl_fixture_finish(&asking.fixture);
}

/* One that virglrenderer never says has passed. */
static void stuck_fence(struct virgl_fixture *fixture, uint64_t id)
{
	struct vtr_virgl *virgl = vtr_virgl_from_base(fixture->renderer);

	g_assert_null(virgl->fences);
	g_assert_cmpint(virgl_fence(fixture, id, 0), ==, 0);
	virgl->fences->number = UINT64_MAX;
}

static void wait_until(struct virgl_fixture *fixture, bool (*condition)(const struct virgl_fixture *fixture))
{
	uint64_t deadline = vtr_now_ns() + UINT64_C(60000000000);

	while (!condition(fixture)) {
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 1000), ==, 0);
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
	}
}

static bool is_lost(const struct virgl_fixture *fixture)
{
	return fixture->n_lost;
}

static bool has_begun_anew(const struct virgl_fixture *fixture)
{
	return vtr_virgl_from_base(fixture->renderer)->progress_ns > 1;
}

/* The GPU does not come to an end: nobody waits for ever. As long as anything passes, or when the process itself has stood still,
 * it is not believed to hang. */
static void test_hangs(void)
{
	struct virgl_fixture fixture;

	init(&fixture);
	struct vtr_virgl *virgl = vtr_virgl_from_base(fixture.renderer);
	stuck_fence(&fixture, 1);
	virgl->progress_ns = 0;
	g_assert_cmpint(virgl_fence(&fixture, 2, 1), ==, 0);
	virgl_wait_fences(&fixture, 1);
	g_assert_cmpuint(fixture.done[0], ==, 2);
	g_assert_cmpuint(virgl->progress_ns, >, 0);
	vtr_virgl_fences_forget(virgl);
	assert_quiet(&fixture);

	virgl->hang_ns = 200000000;
	stuck_fence(&fixture, 3);
	virgl->progress_ns = 1;
	wait_until(&fixture, has_begun_anew);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	wait_until(&fixture, is_lost);
	g_assert_cmpuint(fixture.n_done, ==, 1);
	g_assert_cmpint(virgl_fence(&fixture, 4, 0), ==, -ENODEV);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	eventfd_write(virgl_renderer_get_poll_fd(), 1); // it comes to an end after all
	assert_quiet(&fixture);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/virgl/fence/order", test_order);
	g_test_add_func("/unit/virgl/fence/quiet", test_quiet);
	g_test_add_func("/unit/virgl/fence/context-destroyed", test_context_destroyed);
	g_test_add_func("/unit/virgl/fence/reset", test_reset);
	g_test_add_func("/unit/virgl/fence/from-inside", test_from_inside);
	/* the last one: there is no other renderer in this process */
	g_test_add_func("/unit/virgl/fence/hangs", test_hangs);
	return g_test_run();
}
