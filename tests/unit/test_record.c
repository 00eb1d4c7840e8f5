/* SPDX-License-Identifier: MIT */
/* The recorder in front of a renderer in a process of its own, whose answers come after it has looked. */
#include <errno.h>
#include <glib/gstdio.h>

#include <vitrine/memory.h>

#include "remote_fixture.h"
#include "render/record.h"
#include "rows.h"

enum { PAGE = 4096, ADDRESS = 0x10000 };

struct recording {
	struct remote_fixture fixture;
	struct vtr_memory *memory;
	struct vtr_spans spans;
	char *path;
};

static void recording_init(struct recording *recording)
{
	static const struct vtr_renderer_listener listener = { .fence_done = on_fence, .lost = on_lost };
	const struct vtr_mem_entry entry = { .address = ADDRESS, .length = PAGE };
	struct remote_fixture *fixture = &recording->fixture;
	struct vtr_error error;

	fixture_init(fixture);
	recording->path = g_strdup_printf("%s/vitrine-test-record-%d", g_get_tmp_dir(), (int)getpid());
	fixture->renderer = vtr_renderer_record(fixture->renderer, recording->path, &error);
	g_assert_nonnull(fixture->renderer);
	vtr_renderer_set_listener(fixture->renderer, &listener, fixture);
	create(fixture);
	recording->memory = vtr_memory_create();
	g_assert_cmpint(vtr_memory_add(recording->memory, ADDRESS, PAGE, vtr_memfd_create("memory", PAGE), 0, true), ==, 0);
	g_assert_cmpint(vtr_spans_resolve(&recording->spans, recording->memory, &entry, 1, NULL), ==, 0);
}

static void recording_finish(struct recording *recording)
{
	fixture_finish(&recording->fixture);
	vtr_spans_finish(&recording->spans);
	vtr_memory_destroy(recording->memory);
	g_unlink(recording->path);
	g_free(recording->path);
}

static void say_next(struct recording *recording, int code)
{
	struct vtr_remote_call heard;

	g_assert_true(fake_hear_call(&recording->fixture.fake, &heard));
	fake_say_done(&recording->fixture.fake, heard.serial, code);
	turn(&recording->fixture);
	g_assert_cmpint(recording->fixture.code, ==, code);
}

static void lend(struct recording *recording, uint32_t op, int code)
{
	recording->fixture.call = (struct vtr_render_call){ .spans = &recording->spans };
	recording->fixture.call.args.create_blob.size = op == VTR_RENDER_CREATE_BLOB ? PAGE : 0;
	g_assert_cmpint(make_call(&recording->fixture, op), ==, -EINPROGRESS);
	say_next(recording, code);
}

/* What the VMM takes away. */
static void remove_memory(struct recording *recording)
{
	vtr_spans_finish(&recording->spans);
	recording->spans = (struct vtr_spans){ 0 };
	g_assert_cmpint(vtr_memory_remove(recording->memory, ADDRESS, PAGE), ==, 0);
}

static void submit(struct recording *recording)
{
	static const uint32_t stream[4];

	recording->fixture.call = (struct vtr_render_call){ .data = stream, .size = sizeof(stream) };
	make_call(&recording->fixture, VTR_RENDER_SUBMIT);
}

static uint64_t recorded(const struct recording *recording)
{
	GStatBuf info;

	g_assert_cmpint(g_stat(recording->path, &info), ==, 0);
	return (uint64_t)info.st_size;
}

/* ---- what the guest writes ---- */

static void test_memory(void)
{
	struct recording recording;

	recording_init(&recording);
	lend(&recording, VTR_RENDER_ATTACH_BACKING, 0);
	uint64_t before = recorded(&recording);
	submit(&recording);
	say_next(&recording, 0);
	uint64_t plain = recorded(&recording) - before;
	recording.spans.items[0].region->data[100] = 1;
	submit(&recording);
	say_next(&recording, 0);
	g_assert_cmpuint(recorded(&recording) - before - plain, ==,
	                 plain + sizeof(struct vtr_record_chunk) + sizeof(struct vtr_record_memory) + PAGE);
	recording_finish(&recording);
}

/* ---- memory that goes ---- */

/* The caller was told that the renderer does not have it: it does not take it back. */
static void test_refused(gconstpointer data)
{
	struct recording recording;

	recording_init(&recording);
	lend(&recording, GPOINTER_TO_UINT(data), -EINVAL);
	remove_memory(&recording);
	submit(&recording);
	recording_finish(&recording);
}

/* The renderer is lost, which is not told yet. */
static void test_not_taken_back(gconstpointer data)
{
	const uint32_t op = GPOINTER_TO_UINT(data);
	struct vtr_render_call last = { .args.op = VTR_RENDER_CTX_DESTROY },
			       back = { .args = { .op = op, .resource_id = RESOURCE } };
	struct recording recording;

	recording_init(&recording);
	lend(&recording, VTR_RENDER_ATTACH_BACKING, 0);
	vtr_fd_close(&recording.fixture.fake.socket);
	g_assert_cmpint(vtr_renderer_call_wait(recording.fixture.renderer, &last), ==, -ENODEV);
	g_assert_cmpint(vtr_renderer_call(recording.fixture.renderer, &back), ==, -ENODEV);
	g_assert_cmpuint(recording.fixture.n_lost, ==, 0);
	remove_memory(&recording);
	submit(&recording);
	recording_finish(&recording);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/record/memory", test_memory);
	g_test_add_data_func("/unit/record/refused/backing", GUINT_TO_POINTER(VTR_RENDER_ATTACH_BACKING), test_refused);
	g_test_add_data_func("/unit/record/refused/blob", GUINT_TO_POINTER(VTR_RENDER_CREATE_BLOB), test_refused);
	g_test_add_data_func("/unit/record/not-taken-back/backing", GUINT_TO_POINTER(VTR_RENDER_DETACH_BACKING),
	                     test_not_taken_back);
	g_test_add_data_func("/unit/record/not-taken-back/resource", GUINT_TO_POINTER(VTR_RENDER_UNREF), test_not_taken_back);
	return g_test_run();
}
