/* SPDX-License-Identifier: MIT */
/* Shaders that come in parts: which of them are complete, and what virglrenderer makes of them. */
#include <errno.h>

#include "render/virgl.h"
#include "rows.h"
#include "virgl_fixture.h"

enum { CCMD_BIND_SHADER = 31, TYPE_FRAGMENT = 1, TYPE_COMPUTE = 5, CONT = INT32_MIN };

/* ---- what is counted ---- */

struct part {
	uint32_t handle, type, length, outputs;
	uint32_t words; // of the command, behind its header
	int code;
	unsigned left; // not complete, afterwards
};

static const struct shader_row {
	const char *name;
	struct part parts[4];
} rows[] = {
	{ "whole", { { 7, 0, 8, 0, 5 + 2, 0, 0 } } },
	{ "odd-length", { { 7, 0, 5, 0, 5 + 2, 0, 0 } } },
	{ "two-parts", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 7, 0, CONT | 4, 0, 5 + 2, 0, 0 } } },
	{ "three-parts", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 7, 0, CONT | 4, 0, 5 + 1, 0, 1 }, { 7, 0, CONT | 8, 0, 5 + 1, 0, 0 } } },
	{ "outputs", { { 7, 0, 8, 3, 5 + 10 + 2, 0, 0 } } },
	{ "outputs-instead-of-text", { { 7, 0, 8, 1, 5 + 6 + 1, 0, 1 } } },
	{ "compute", { { 7, TYPE_COMPUTE, 8, 4096, 5 + 2, 0, 0 } } },
	{ "another-handle", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 8, 0, CONT | 4, 0, 5 + 2, -EINVAL, 1 } } },
	{ "wrong-place", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 7, 0, CONT | 8, 0, 5 + 1, -EINVAL, 1 } } },
	{ "too-much", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 7, 0, CONT | 4, 0, 5 + 3, -EINVAL, 1 } } },
	{ "nothing-before", { { 7, 0, CONT | 4, 0, 5 + 1, -EINVAL, 0 } } },
	{ "begun-again", { { 7, 0, 12, 0, 5 + 1, 0, 1 }, { 7, 0, 4, 0, 5 + 1, 0, 0 } } },
	{ "no-text", { { 7, 0, 0, 0, 4, -EINVAL, 0 } } },
	{ "outputs-cut-off", { { 7, 0, 8, 3, 5 + 9, -EINVAL, 0 } } },
	{ "many-outputs", { { 7, 0, 8, UINT32_MAX, 5 + 2, -EINVAL, 0 } } },
	{ "too-long", { { 7, 0, VTR_MAX_SUBMIT + 1, 0, 5 + 1, -ENOMEM, 0 } } },
	{ "longest", { { 7, 0, INT32_MAX, 0, 5 + 1, -ENOMEM, 0 } } },
};

static void test_parts(gconstpointer data)
{
	const struct shader_row *row = data;
	struct vtr_virgl_shaders shaders = { .count = 0 };

	for (size_t i = 0; i < G_N_ELEMENTS(row->parts) && row->parts[i].words; i++) {
		const struct part *part = &row->parts[i];
		const uint32_t words[32] = { part->handle, part->type, part->length, 300, part->outputs };

		g_assert_cmpint(vtr_virgl_shader_create(&shaders, words, part->words), ==, part->code);
		g_assert_cmpuint(shaders.count, ==, part->left);
		g_assert_cmpint(vtr_virgl_shaders_complete(&shaders, (const uint32_t[]){ 9, 7 }, 2), ==, !part->left);
	}
}

static void test_many(void)
{
	struct vtr_virgl_shaders shaders = { .count = 0 };
	uint32_t words[] = { 0, 0, 12, 300, 0, 0 };

	for (; words[0] < VTR_VIRGL_PARTS; words[0]++)
		g_assert_cmpint(vtr_virgl_shader_create(&shaders, words, 6), ==, 0);
	g_assert_cmpint(vtr_virgl_shader_create(&shaders, words, 6), ==, -ENOMEM);
	g_assert_true(vtr_virgl_shaders_complete(&shaders, words, 1));
	words[2] = 4; /* one that is whole */
	g_assert_cmpint(vtr_virgl_shader_create(&shaders, words, 6), ==, 0);
}

/* ---- what virglrenderer takes ---- */

/* Words of text from the one at `from`. */
static int send(struct virgl_fixture *fixture, uint32_t from, uint32_t count)
{
	static const char text[92] =
		"FRAG\nDCL IN[0], GENERIC[0], PERSPECTIVE\nDCL OUT[0], COLOR\n  0: MOV OUT[0], IN[0]\n  1: END\n";
	struct virgl_stream stream = { .count = 0 };

	stream_command(&stream, CCMD_CREATE_OBJECT, OBJECT_SHADER, 5 + count);
	stream_word(&stream, 66);
	stream_word(&stream, TYPE_FRAGMENT);
	stream_word(&stream, from ? UINT32_C(1) << 31 | from * 4 : sizeof(text));
	stream_word(&stream, 300);
	stream_word(&stream, 0);
	memcpy(&stream.words[stream.count], text + from * 4, count * 4);
	stream.count += count;
	return virgl_submit(fixture, 1, &stream);
}

static int bind(struct virgl_fixture *fixture)
{
	struct virgl_stream stream = { .count = 0 };

	stream_command(&stream, CCMD_BIND_SHADER, 0, 2);
	stream_word(&stream, 66);
	stream_word(&stream, TYPE_FRAGMENT);
	return virgl_submit(fixture, 1, &stream);
}

/* In three streams; nothing is lost by an attempt to bind it too early. */
static void test_library(void)
{
	struct virgl_fixture fixture;

	virgl_fixture_init(&fixture);
	g_assert_cmpint(virgl_create_context(&fixture, 1), ==, 0);
	g_assert_cmpint(send(&fixture, 0, 5), ==, 0);
	g_assert_cmpint(bind(&fixture), ==, -EINVAL);
	g_assert_cmpint(send(&fixture, 5, 10), ==, 0);
	g_assert_cmpint(bind(&fixture), ==, -EINVAL);
	g_assert_cmpint(send(&fixture, 15, 8), ==, 0);
	g_assert_cmpint(bind(&fixture), ==, 0);
	virgl_fixture_finish(&fixture);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/unit/virgl-shader/", rows, test_parts);
	g_test_add_func("/unit/virgl-shader/many", test_many);
	g_test_add_func("/unit/virgl-shader/library", test_library);
	return g_test_run();
}
