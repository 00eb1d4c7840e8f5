/* SPDX-License-Identifier: MIT */
/* virglrenderer in a process of its own: it draws as it does in ours, and may die or hang at any moment. */
#include <drm_fourcc.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "render/remote.h"
#include "rows.h"
#include "util/fd.h"
#include "virgl_fixture.h"

enum { PATIENCE_S = 60 };

#define MS UINT64_C(1000000)

static struct vtr_remote *remote_of(const struct virgl_fixture *fixture)
{
	return (struct vtr_remote *)fixture->renderer;
}

static pid_t pid_of(const struct virgl_fixture *fixture)
{
	return vtr_renderer_pid(fixture->renderer);
}

static void start(struct virgl_fixture *fixture)
{
	virgl_fixture_init_with(fixture, &(struct vtr_renderer_options){ .isolate = true });
	/* of a busy machine: tests of time have their own */
	remote_of(fixture)->settings.answer_ns = remote_of(fixture)->settings.wait_ns = PATIENCE_S * UINT64_C(1000000000);
}

static void dispatch_until(struct virgl_fixture *fixture, bool (*is_so)(struct virgl_fixture *fixture))
{
	const uint64_t deadline = vtr_now_ns() + PATIENCE_S * UINT64_C(1000000000);

	while (!is_so(fixture)) {
		g_assert_cmpuint(vtr_now_ns(), <, deadline);
		g_assert_cmpint(vtr_loop_dispatch(fixture->loop, 100), ==, 0);
	}
}

static bool is_lost(struct virgl_fixture *fixture)
{
	return fixture->n_lost > 0;
}

static bool is_gone(struct virgl_fixture *fixture)
{
	return !remote_of(fixture)->child;
}

static bool is_over(struct virgl_fixture *fixture)
{
	return vtr_now_ns() >= remote_of(fixture)->not_before;
}

/* ---- drawing ---- */

static void draw(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t width, uint32_t height, float red)
{
	struct vtr_render_args texture = virgl_texture(resource_id, FORMAT_B8G8R8A8, width, height);
	struct virgl_stream stream = { .count = 0 };

	g_assert_cmpint(virgl_create(fixture, &texture), ==, 0);
	g_assert_cmpint(virgl_attach_backing(fixture, resource_id), ==, 0);
	g_assert_cmpint(virgl_call(fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, resource_id), ==, 0);
	stream_draw_to(&stream, 100 + resource_id, resource_id, FORMAT_B8G8R8A8, 0, 0);
	stream_clear(&stream, red, 0, 0.2f, 1);
	g_assert_cmpint(virgl_submit(fixture, 1, &stream), ==, 0);
}

static void check_picture(struct virgl_fixture *fixture, uint32_t resource_id, uint32_t width, uint32_t height, uint32_t expected)
{
	struct vtr_image *image = vtr_image_create(width, height, DRM_FORMAT_ARGB8888);

	g_assert_cmpint(virgl_read(fixture, resource_id, 0, 0, width, height, image), ==, 0);
	for (uint32_t y = 0; y < height; y++)
		for (uint32_t x = 0; x < width; x++)
			g_assert_cmphex(image_pixel(image, x, y), ==, expected);
	vtr_image_destroy(image);
}

/* A new process, or the first one, draws. */
static void check_alive(struct virgl_fixture *fixture)
{
	g_assert_cmpint(virgl_create_context(fixture, 1), ==, 0);
	draw(fixture, 7, 32, 16, 1);
	check_picture(fixture, 7, 32, 16, 0xffff0033);
}

static void test_capsets(void)
{
	static uint8_t ours[2][4][VTR_REMOTE_MAX_CAPSET], its[VTR_REMOTE_MAX_CAPSET];
	struct vtr_capset capsets[VTR_MAX_CAPSETS];
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	memcpy(capsets, fixture.renderer->capsets, sizeof(capsets));
	g_assert_cmpuint(fixture.renderer->n_capsets, ==, 2);
	g_autofree char *description = g_strdup(fixture.renderer->description);
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t version = 0; version <= capsets[i].max_version; version++)
			fixture.renderer->impl->fill_capset(fixture.renderer, capsets[i].id, version, ours[i][version],
			                                    capsets[i].max_size);
	virgl_fixture_finish(&fixture);

	start(&fixture);
	g_assert_cmpuint(fixture.renderer->n_capsets, ==, 2);
	g_assert_cmpmem(capsets, sizeof(capsets), fixture.renderer->capsets, sizeof(capsets));
	g_assert_cmpstr(fixture.renderer->description, ==, description);
	g_assert_null(fixture.renderer->egl_display);
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t version = 0; version <= capsets[i].max_version; version++) {
			memset(its, 0, sizeof(its));
			fixture.renderer->impl->fill_capset(fixture.renderer, capsets[i].id, version, its, sizeof(its));
			g_assert_cmpmem(its, sizeof(its), ours[i][version], sizeof(its));
		}
	virgl_fixture_finish(&fixture);
}

/* The terminal that this may have been started from is none of its. */
static void test_session(void)
{
	struct virgl_fixture fixture;

	start(&fixture);
	g_assert_cmpint(getsid(pid_of(&fixture)), ==, pid_of(&fixture));
	virgl_fixture_finish(&fixture);
}

static void test_clear(void)
{
	struct vtr_render_box all = { .w = 64, .h = 32, .d = 1 };
	struct virgl_fixture fixture;

	start(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	draw(&fixture, 7, 64, 32, 1);
	g_assert_cmpint(virgl_fence(&fixture, 500, 0), ==, 0);
	g_assert_cmpint(virgl_fence(&fixture, 501, 1), ==, 0);
	virgl_wait_fences(&fixture, 2);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_FROM_HOST, 1, 7, &all, 0, 0, 0, 0), ==, 0);
	for (unsigned i = 0; i < 64 * 32; i++)
		g_assert_cmphex(guest_words(&fixture)[i], ==, 0xffff0033);
	g_assert_cmphex(guest_words(&fixture)[64 * 32], ==, 0);
	check_picture(&fixture, 7, 64, 32, 0xffff0033);
	virgl_fixture_finish(&fixture);
}

/* What is wrong with one context or call is not the process's end. */
static void test_errors(void)
{
	struct virgl_stream stream = { .words = { 0xdeadbeef, 1, 2, 3 }, .count = 4 };
	struct virgl_fixture fixture;

	start(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 2), ==, 0);
	g_assert_cmpint(virgl_submit(&fixture, 2, &stream), ==, -EINVAL);
	g_assert_cmpint(virgl_submit(&fixture, 99, &stream), ==, -ENOENT);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, 99), ==, -ENOENT);
	stream.count = VTR_MAX_SUBMIT / 4 + 1;
	g_assert_cmpint(virgl_submit(&fixture, 2, &stream), ==, -EINVAL);
	check_alive(&fixture);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	virgl_fixture_finish(&fixture);
}

/* ---- memory ---- */

/* How many mappings of files of that name the process has. */
static unsigned mappings_of(pid_t pid, const char *name)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/maps", (int)pid), *text = NULL;
	unsigned count = 0;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	for (const char *found = text; (found = strstr(found, name)); found++)
		count++;
	return count;
}

/* Number i of what statm has: 1 is what is resident, 5 are data and stacks. */
static uint64_t bytes_of(pid_t pid, unsigned i)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/statm", (int)pid), *text = NULL;

	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	g_auto(GStrv) pages = g_strsplit(text, " ", 0);
	return g_ascii_strtoull(pages[i], NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void test_files_are_forgotten(void)
{
	struct virgl_fixture fixture;

	start(&fixture);
	check_alive(&fixture);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:guest"), ==, 1);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:vitrine-2d"), ==, 1);
	check_picture(&fixture, 7, 32, 16, 0xffff0033); /* another image: the last one is let go */
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:vitrine-2d"), ==, 1);
	draw(&fixture, 8, 32, 16, 1);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, 7), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:guest"), ==, 1);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, 8), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:guest"), ==, 0);
	g_assert_cmpint(virgl_attach_backing(&fixture, 7), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:guest"), ==, 1);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:guest"), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:vitrine-2d"), ==, 0);
	virgl_fixture_finish(&fixture);
}

/* A backing of many files, in pieces that are not in their order. */
static void test_many_files(void)
{
	enum { FILES = 40, PAGE = 4096, WIDTH = 64, HEIGHT = FILES * PAGE / 4 / WIDTH };
	struct vtr_memory *memory = vtr_memory_create();
	struct vtr_mem_entry entries[FILES];
	struct vtr_render_args texture = virgl_texture(3, FORMAT_B8G8R8A8, WIDTH, HEIGHT);
	struct vtr_render_box all = { .w = WIDTH, .h = HEIGHT, .d = 1 };
	struct vtr_render_call attach = { .args = { .op = VTR_RENDER_ATTACH_BACKING, .resource_id = 3 } };
	struct virgl_fixture fixture;
	struct vtr_spans spans;

	start(&fixture);
	for (unsigned i = 0; i < FILES; i++) {
		g_assert_cmpint(
			vtr_memory_add(memory, (i + 1) * PAGE * 16, PAGE * 2, vtr_memfd_create("many", PAGE * 3), PAGE, true), ==,
			0);
		entries[i] = (struct vtr_mem_entry){ .address = (FILES - i) * PAGE * 16 + PAGE, .length = PAGE };
	}
	g_assert_cmpint(vtr_spans_resolve(&spans, memory, entries, FILES, NULL), ==, 0);
	attach.spans = &spans;
	for (unsigned i = 0; i < FILES * PAGE / 4; i++)
		g_assert_cmpint(vtr_spans_write(&spans, i * 4, &i, 4), ==, 0);
	g_assert_cmpint(virgl_create(&fixture, &texture), ==, 0);
	g_assert_cmpint(vtr_renderer_call_wait(fixture.renderer, &attach), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:many"), ==, FILES);
	g_assert_cmpint(virgl_transfer(&fixture, VTR_RENDER_TRANSFER_TO_HOST, 0, 3, &all, 0, 0, 0, 0), ==, 0);
	struct vtr_image *image = vtr_image_create(WIDTH, HEIGHT, DRM_FORMAT_ARGB8888);
	g_assert_cmpint(virgl_read(&fixture, 3, 0, 0, WIDTH, HEIGHT, image), ==, 0);
	for (unsigned i = 0; i < WIDTH * HEIGHT; i++)
		g_assert_cmphex(image_pixel(image, i % WIDTH, i / WIDTH), ==, i);
	vtr_image_destroy(image);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, 3), ==, 0);
	g_assert_cmpuint(mappings_of(pid_of(&fixture), "memfd:many"), ==, 0);
	vtr_spans_finish(&spans);
	vtr_memory_destroy(memory);
	virgl_fixture_finish(&fixture);
}

/* A process that takes too much gets no more, whatever its libraries make of that: it goes on with errors, or it ends. */
static void test_limit(void)
{
	const struct vtr_renderer_options options = { .isolate = true, .max_hostmem = 64 << 20 };
	const uint64_t limit = (UINT64_C(64) << 20) + (UINT64_C(1) << 30);
	struct virgl_fixture fixture;

	virgl_fixture_init_with(&fixture, &options);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	const uint64_t ours = bytes_of(getpid(), 1), its = bytes_of(pid_of(&fixture), 5);
	for (uint32_t id = 1; id < 64 && remote_of(&fixture)->state == VTR_REMOTE_UP; id++) {
		struct vtr_render_args texture = virgl_texture(id, FORMAT_B8G8R8A8, 4096, 4096); /* 64 MiB */
		struct virgl_stream stream = { .count = 0 };

		virgl_create(&fixture, &texture);
		virgl_call(&fixture, VTR_RENDER_CTX_ATTACH_RESOURCE, 1, id);
		stream_draw_to(&stream, 100 + id, id, FORMAT_B8G8R8A8, 0, 0);
		stream_clear(&stream, 1, 1, 1, 1);
		virgl_submit(&fixture, 1, &stream);
	}
	if (remote_of(&fixture)->state == VTR_REMOTE_UP) {
		g_assert_cmpuint(bytes_of(pid_of(&fixture), 5), >, its + limit / 2);
		g_assert_cmpuint(bytes_of(pid_of(&fixture), 5), <, its + limit + (16 << 20));
	}
	g_assert_cmpuint(bytes_of(getpid(), 1), <, ours + (16 << 20));
	virgl_fixture_finish(&fixture);
}

/* ---- death ---- */

static void test_killed_idle(void)
{
	struct virgl_fixture fixture;

	start(&fixture);
	check_alive(&fixture);
	const pid_t pid = pid_of(&fixture);
	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	dispatch_until(&fixture, is_lost);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "was killed by SIGKILL"));
	dispatch_until(&fixture, is_gone);
	g_assert_cmpint(kill(pid, 0), ==, -1); /* no zombie either */
	g_assert_cmpint(vtr_renderer_pid(fixture.renderer), ==, -1);
	/* not before its time, and not for just anything */
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, -ENODEV);
	dispatch_until(&fixture, is_over);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_UNREF, 0, 7), ==, -ENODEV);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_RESET, 0, 0), ==, 0);
	check_alive(&fixture);
	g_assert_cmpint(pid_of(&fixture), !=, pid);
	g_assert_cmpuint(fixture.n_lost, ==, 1);
	virgl_fixture_finish(&fixture);
}

struct flight {
	struct vtr_render_call calls[3];
	struct virgl_fixture *fixture;
	unsigned n_done, lost_at_done;
};

static void landed(struct vtr_render_call *call)
{
	struct flight *flight = call->user;

	g_assert_true(call == &flight->calls[flight->n_done++]);
	g_assert_cmpint(call->code, ==, -ENODEV);
	flight->lost_at_done = flight->fixture->n_lost;
}

/* The process stops, with calls in progress. */
static void take_off(struct flight *flight, struct virgl_fixture *fixture)
{
	*flight = (struct flight){ .fixture = fixture };
	g_assert_cmpint(kill(pid_of(fixture), SIGSTOP), ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(flight->calls); i++) {
		struct vtr_render_call *call = &flight->calls[i];

		*call = (struct vtr_render_call){ .args = { .op = VTR_RENDER_FENCE }, .done = landed, .user = flight };
		call->args.fence.id = 100 + i;
		g_assert_cmpint(vtr_renderer_call(fixture->renderer, call), ==, -EINPROGRESS);
	}
}

static void check_landed(const struct flight *flight)
{
	g_assert_cmpuint(flight->n_done, ==, G_N_ELEMENTS(flight->calls));
	g_assert_cmpuint(flight->lost_at_done, ==, 0); /* told afterwards */
	g_assert_cmpuint(flight->fixture->n_lost, ==, 1);
	g_assert_cmpuint(flight->fixture->n_done, ==, 0);
}

static void test_killed_busy(void)
{
	struct virgl_fixture fixture;
	struct flight flight;

	start(&fixture);
	check_alive(&fixture);
	take_off(&flight, &fixture);
	g_assert_cmpint(kill(pid_of(&fixture), SIGKILL), ==, 0);
	dispatch_until(&fixture, is_lost);
	check_landed(&flight);
	dispatch_until(&fixture, is_over);
	dispatch_until(&fixture, is_gone);
	check_alive(&fixture);
	virgl_fixture_finish(&fixture);
}

static void set_patience(struct virgl_fixture *fixture, uint64_t answer_ns)
{
	remote_of(fixture)->settings.answer_ns = answer_ns;
	remote_of(fixture)->timer_armed = false; /* the next call arms it for the new time */
}

static void test_hangs(void)
{
	struct virgl_fixture fixture;
	struct flight flight;

	start(&fixture);
	check_alive(&fixture);
	set_patience(&fixture, 300 * MS);
	take_off(&flight, &fixture);
	dispatch_until(&fixture, is_lost);
	check_landed(&flight);
	g_assert_nonnull(strstr(remote_of(&fixture)->why.text, "did not answer for 0.3"));
	set_patience(&fixture, vtr_remote_settings.answer_ns);
	dispatch_until(&fixture, is_over);
	dispatch_until(&fixture, is_gone);
	check_alive(&fixture);
	virgl_fixture_finish(&fixture);
}

/* Somebody waits for it meanwhile. */
static void test_hangs_while_waited_for(void)
{
	struct virgl_fixture fixture;
	struct flight flight;

	start(&fixture);
	check_alive(&fixture);
	remote_of(&fixture)->settings.wait_ns = 300 * MS;
	take_off(&flight, &fixture);
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, 7), ==, -ENODEV);
	g_assert_cmpuint(flight.n_done, ==, 0); /* from the loop */
	dispatch_until(&fixture, is_lost);
	check_landed(&flight);
	virgl_fixture_finish(&fixture);
}

/* It is only slow: nothing is lost, and answers come in their order. */
static void note_answer(struct vtr_render_call *call)
{
	struct flight *flight = call->user;

	g_assert_cmpint(call->code, ==, 0);
	g_assert_true(call == &flight->calls[flight->n_done++]);
}

static bool is_done(struct virgl_fixture *fixture)
{
	return fixture->n_done == 3;
}

static void test_slow(void)
{
	struct virgl_fixture fixture;
	struct flight flight;

	start(&fixture);
	check_alive(&fixture);
	take_off(&flight, &fixture);
	for (unsigned i = 0; i < G_N_ELEMENTS(flight.calls); i++)
		flight.calls[i].done = note_answer;
	g_assert_cmpint(kill(pid_of(&fixture), SIGCONT), ==, 0);
	/* the call that is waited for overtakes those that come from the loop */
	g_assert_cmpint(virgl_call(&fixture, VTR_RENDER_DETACH_BACKING, 0, 7), ==, 0);
	g_assert_cmpuint(flight.n_done, ==, 0);
	g_assert_cmpuint(fixture.n_done, ==, 0);
	dispatch_until(&fixture, is_done);
	g_assert_cmpuint(flight.n_done, ==, 3);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpuint(fixture.done[i], ==, 100 + i);
	g_assert_cmpuint(fixture.n_lost, ==, 0);
	virgl_fixture_finish(&fixture);
}

static unsigned open_fds(void)
{
	GDir *folder = g_dir_open("/proc/self/fd", 0, NULL);
	unsigned count = 0;

	while (g_dir_read_name(folder))
		count++;
	g_dir_close(folder);
	return count;
}

/* Kills it while it works, and when it does nothing. */
static void kill_one(struct virgl_fixture *fixture, unsigned i)
{
	struct vtr_render_call call = { .args = { .op = VTR_RENDER_CTX_DESTROY, .ctx_id = 1 } };

	g_assert_cmpint(virgl_create_context(fixture, 1), ==, 0);
	if (i % 10 == 0)
		draw(fixture, 7, 32, 16, 1);
	fixture->n_lost = 0;
	g_assert_cmpint(kill(pid_of(fixture), i & 1 ? SIGKILL : SIGSEGV), ==, 0);
	if (i & 2)
		g_assert_cmpint(vtr_renderer_call_wait(fixture->renderer, &call), !=, -EINPROGRESS);
	dispatch_until(fixture, is_lost);
	dispatch_until(fixture, is_gone);
	dispatch_until(fixture, is_over);
	g_assert_cmpuint(fixture->n_lost, ==, 1);
}

static void test_many_deaths(void)
{
	struct virgl_fixture fixture;

	start(&fixture);
	remote_of(&fixture)->settings.backoff_ns = remote_of(&fixture)->settings.max_backoff_ns = MS;
	for (unsigned i = 0; i < 4; i++)
		kill_one(&fixture, i);
	const unsigned fds = open_fds();
	const uint64_t bytes = bytes_of(getpid(), 1);
	for (unsigned i = 0; i < KILLS; i++)
		kill_one(&fixture, i);
	g_assert_cmpuint(open_fds(), ==, fds);
	g_assert_cmpuint(bytes_of(getpid(), 1), <, bytes + (4 << 20));
	g_assert_cmpint(waitpid(-1, NULL, WNOHANG), ==, -1); /* no child is left */
	g_assert_cmpint(errno, ==, ECHILD);
	virgl_fixture_finish(&fixture);
}

/* ---- starting ---- */

static void test_no_program(void)
{
	const struct vtr_renderer_options options = { .isolate = true, .program = "/nonexistent/vitrine-renderer" };
	struct vtr_loop *loop = vtr_loop_create();
	struct vtr_error error;

	g_assert_null(vtr_virgl_create(loop, &options, &error));
	g_assert_cmpint(error.code, ==, ENOENT);
	g_assert_nonnull(strstr(error.text, "/nonexistent/vitrine-renderer"));
	vtr_loop_destroy(loop);
}

static void test_wrong_program(void)
{
	const struct vtr_renderer_options options = { .isolate = true, .program = "/bin/false" };
	struct vtr_loop *loop = vtr_loop_create();
	struct vtr_error error;

	g_assert_null(vtr_virgl_create(loop, &options, &error));
	g_assert_nonnull(strstr(error.text, "has ended with exit code 1"));
	vtr_loop_destroy(loop);
}

/* What it cannot do it says itself. */
static void test_no_gpu(void)
{
	const struct vtr_renderer_options options = { .isolate = true, .render_node = "/dev/dri/renderD999" };
	struct vtr_loop *loop = vtr_loop_create();
	struct vtr_error error;

	g_assert_null(vtr_virgl_create(loop, &options, &error));
	g_assert_nonnull(strstr(error.text, "renderD999"));
	vtr_loop_destroy(loop);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/remote_process/capsets", test_capsets);
	g_test_add_func("/unit/remote_process/clear", test_clear);
	g_test_add_func("/unit/remote_process/session", test_session);
	g_test_add_func("/unit/remote_process/errors", test_errors);
	g_test_add_func("/unit/remote_process/files-are-forgotten", test_files_are_forgotten);
	g_test_add_func("/unit/remote_process/many-files", test_many_files);
	g_test_add_func("/unit/remote_process/limit", test_limit);
	g_test_add_func("/unit/remote_process/killed-idle", test_killed_idle);
	g_test_add_func("/unit/remote_process/killed-busy", test_killed_busy);
	g_test_add_func("/unit/remote_process/hangs", test_hangs);
	g_test_add_func("/unit/remote_process/hangs-while-waited-for", test_hangs_while_waited_for);
	g_test_add_func("/unit/remote_process/slow", test_slow);
	g_test_add_func("/unit/remote_process/many-deaths", test_many_deaths);
	g_test_add_func("/unit/remote_process/no-program", test_no_program);
	g_test_add_func("/unit/remote_process/wrong-program", test_wrong_program);
	g_test_add_func("/unit/remote_process/no-gpu", test_no_gpu);
	return g_test_run();
}
