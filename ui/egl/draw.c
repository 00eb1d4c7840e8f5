/* SPDX-License-Identifier: MIT */
/*
 * Drawing: a rectangle with a texture on it. One vertex shader, and one fragment shader per kind of texture. Textures have their
 * first row on top, as pictures do: the vertex shader turns the window's y axis round, so nothing else has to know. Those of a
 * renderer may have it at the bottom, or be larger than the picture: their source rectangle says so.
 */
#include <errno.h>
#include <stddef.h>

#include "egl/egl.h"

/* clang-format off */
static const char vertex_shader[] =
	"uniform vec4 place;\n" /* left, top, width, height in clip space, y down */
	"uniform vec4 source;\n" /* the same in the texture */
	"attribute vec2 corner;\n"
	"varying vec2 at;\n"
	"void main() {\n"
	"	at = source.xy + corner * source.zw;\n"
	"	vec2 point = place.xy + corner * place.zw;\n"
	"	gl_Position = vec4(point.x, -point.y, 0.0, 1.0);\n"
	"}\n";

#define FRAGMENT_SHADER(EXTENSION, SAMPLER)                                                            \
	EXTENSION                                                                                      \
	"#ifdef GL_FRAGMENT_PRECISION_HIGH\n" /* half floats do not address 4K pixels */               \
	"precision highp float;\n"                                                                     \
	"#else\n"                                                                                      \
	"precision mediump float;\n"                                                                   \
	"#endif\n"                                                                                     \
	"uniform " SAMPLER " picture;\n"                                                               \
	"uniform mat4 channels;\n"                                                                     \
	"uniform float opaque;\n"                                                                      \
	"varying vec2 at;\n"                                                                           \
	"void main() {\n"                                                                              \
	"	vec4 color = channels * texture2D(picture, at);\n"                                      \
	"	gl_FragColor = vec4(color.rgb, max(color.a, opaque));\n"                               \
	"}\n"
/* clang-format on */

static const struct {
	GLenum target;
	const char *fragment_shader;
} kinds[VTR_EGL_PROGRAMS] = {
	{ GL_TEXTURE_2D, FRAGMENT_SHADER("", "sampler2D") },
	{ GL_TEXTURE_EXTERNAL_OES, FRAGMENT_SHADER("#extension GL_OES_EGL_image_external : require\n", "samplerExternalOES") },
};

enum { CORNER = 0 }; /* attribute */

static int check_built(GLint built, const char *what, GLuint name,
                       void (*read_log)(GLuint name, GLsizei size, GLsizei *length, GLchar *log), struct vtr_error *error)
{
	char log[128] = "";

	if (built)
		return 0;
	read_log(name, sizeof(log), NULL, log);
	return vtr_error_set(error, VTR_ERROR_HOST, EIO, "the OpenGL driver refuses a %s: %s", what, log);
}

static int add_shader(GLuint program, GLenum type, const char *source, struct vtr_error *error)
{
	GLuint shader = glCreateShader(type);
	GLint built = 0;

	glShaderSource(shader, 1, &source, NULL);
	glCompileShader(shader);
	glGetShaderiv(shader, GL_COMPILE_STATUS, &built);
	int result = check_built(built, "shader", shader, glGetShaderInfoLog, error);
	if (!result)
		glAttachShader(program, shader);
	glDeleteShader(shader); /* goes with the program */
	return result;
}

static int make_program(struct vtr_egl_program *made, const char *fragment_shader, struct vtr_error *error)
{
	GLuint program = glCreateProgram();
	GLint built = 0;
	int result = add_shader(program, GL_VERTEX_SHADER, vertex_shader, error);

	if (!result)
		result = add_shader(program, GL_FRAGMENT_SHADER, fragment_shader, error);
	if (!result) {
		glBindAttribLocation(program, CORNER, "corner");
		glLinkProgram(program);
		glGetProgramiv(program, GL_LINK_STATUS, &built);
		result = check_built(built, "program", program, glGetProgramInfoLog, error);
	}
	if (result) {
		glDeleteProgram(program);
		return result;
	}
	made->program = program;
	made->place = glGetUniformLocation(program, "place");
	made->source = glGetUniformLocation(program, "source");
	made->channels = glGetUniformLocation(program, "channels");
	made->opaque = glGetUniformLocation(program, "opaque");
	return 0;
}

int vtr_egl_painter_init(struct vtr_egl_painter *painter, const struct vtr_egl_caps *caps, struct vtr_error *error)
{
	static const GLfloat corners[] = { 0, 0, 1, 0, 0, 1, 1, 1 };
	int result = 0;

	*painter = (struct vtr_egl_painter){ 0 };
	for (size_t i = 0; i < VTR_EGL_PROGRAMS && !result; i++)
		if (kinds[i].target == GL_TEXTURE_2D || caps->external)
			result = make_program(&painter->programs[i], kinds[i].fragment_shader, error);
	if (result) {
		vtr_egl_painter_finish(painter);
		return result;
	}
	glGenBuffers(1, &painter->corners);
	glBindBuffer(GL_ARRAY_BUFFER, painter->corners);
	glBufferData(GL_ARRAY_BUFFER, sizeof(corners), corners, GL_STATIC_DRAW);
	return 0;
}

void vtr_egl_painter_finish(struct vtr_egl_painter *painter)
{
	for (size_t i = 0; i < VTR_EGL_PROGRAMS; i++)
		if (painter->programs[i].program)
			glDeleteProgram(painter->programs[i].program);
	if (painter->corners)
		glDeleteBuffers(1, &painter->corners);
	*painter = (struct vtr_egl_painter){ 0 };
}

void vtr_egl_paint_clear(uint32_t window_width, uint32_t window_height)
{
	glViewport(0, 0, (GLsizei)window_width, (GLsizei)window_height);
	glClearColor(0, 0, 0, 1);
	glClear(GL_COLOR_BUFFER_BIT);
}

/* Column c of the matrix says where byte c of an uploaded pixel goes; an import's channels are where they belong. */
static void fill_channels(uint32_t fourcc, GLfloat matrix[16])
{
	static const struct vtr_egl_channels in_order = { .red = 0, .green = 1, .blue = 2, .alpha = 3 };
	const struct vtr_egl_channels *channels = fourcc ? vtr_egl_channels_of(fourcc) : &in_order;
	const int8_t from[4] = { channels->red, channels->green, channels->blue, channels->alpha };

	for (int to = 0; to < 4; to++)
		for (int byte = 0; byte < 4; byte++)
			matrix[byte * 4 + to] = from[to] == byte;
}

void vtr_egl_paint(const struct vtr_egl_painter *painter, const struct vtr_egl_picture *picture, uint32_t window_width,
                   uint32_t window_height, double x, double y, double width, double height)
{
	const struct vtr_egl_program *program = &painter->programs[picture->target == GL_TEXTURE_2D ? 0 : 1];
	static const struct vtr_egl_source all = { 0, 0, 1, 1 };
	const struct vtr_egl_source *source = picture->source.width ? &picture->source : &all;
	GLint filter = picture->smooth ? GL_LINEAR : GL_NEAREST;
	GLfloat channels[16];

	fill_channels(picture->fourcc, channels);
	glUseProgram(program->program);
	glUniform4f(program->place, (GLfloat)(x / window_width * 2 - 1), (GLfloat)(y / window_height * 2 - 1),
	            (GLfloat)(width / window_width * 2), (GLfloat)(height / window_height * 2));
	glUniform4f(program->source, source->x, source->y, source->width, source->height);
	glUniformMatrix4fv(program->channels, 1, GL_FALSE, channels);
	glUniform1f(program->opaque, picture->opaque ? 1 : 0);
	if (picture->opaque) {
		glDisable(GL_BLEND);
	} else {
		glEnable(GL_BLEND);
		glBlendFunc(GL_ONE, GL_ONE_MINUS_SRC_ALPHA);
	}
	glBindTexture(picture->target, picture->texture);
	glTexParameteri(picture->target, GL_TEXTURE_MIN_FILTER, filter);
	glTexParameteri(picture->target, GL_TEXTURE_MAG_FILTER, filter);
	glBindBuffer(GL_ARRAY_BUFFER, painter->corners);
	glVertexAttribPointer(CORNER, 2, GL_FLOAT, GL_FALSE, 0, NULL);
	glEnableVertexAttribArray(CORNER);
	glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
}
