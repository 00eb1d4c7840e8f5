/* SPDX-License-Identifier: MIT */
#include <GLES3/gl3.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "guest.h"
#include "painter.h"

enum { CORNER = 0, INFO_LOG = 1024 };

static const char vertex_shader[] = "#version 300 es\n"
				    "layout(location = 0) in vec2 corner;\n"
				    "out vec2 at;\n"
				    "void main() {\n"
				    "	at = corner;\n"
				    "	gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);\n"
				    "}\n";

/* picture_color() and the diamond of picture_draw_cursor() */
static const char computed_shader[] =
	"#version 300 es\n"
	"precision highp float;\n"
	"precision highp int;\n"
	"uniform uint key;\n"
	"uniform int first_row;\n" /* GL's row that is the picture's first */
	"uniform bool diamond;\n"
	"out vec4 color;\n"
	"void main() {\n"
	"	int x = int(gl_FragCoord.x), y = abs(first_row - int(gl_FragCoord.y));\n"
	"	int value = int(key) ^ ((x & 255) << 16 | (y & 255) << 8 | (x >> 8 & 15) | (y >> 8 & 15) << 4);\n"
	"	bool inside = (x < 32 ? 32 - x : x - 31) + (y < 32 ? 32 - y : y - 31) <= 32;\n"
	"	color = vec4(vec3(ivec3(value >> 16 & 255, value >> 8 & 255, value & 255)) / 255.0, 1.0);\n"
	"	if (diamond && !inside)\n"
	"		color = vec4(0.0);\n"
	"}\n";

static const char textured_shader[] = "#version 300 es\n"
				      "precision highp float;\n"
				      "uniform sampler2D picture;\n"
				      "uniform bool upside_down;\n" /* GL's first row is the picture's last */
				      "in vec2 at;\n"
				      "out vec4 color;\n"
				      "void main() { color = texture(picture, vec2(at.x, upside_down ? 1.0 - at.y : at.y)); }\n";

/* GL's error, if there is one. */
static int check(const char *what)
{
	GLenum error = glGetError();

	if (error == GL_NO_ERROR)
		return 0;
	printf("@@FAILED %s: GL error 0x%x\n", what, error);
	return -EIO;
}

static int add_shader(GLuint program, GLenum kind, const char *source)
{
	GLuint shader = glCreateShader(kind);
	char log[INFO_LOG] = "";
	GLint compiled = 0;

	glShaderSource(shader, 1, &source, NULL);
	glCompileShader(shader);
	glGetShaderiv(shader, GL_COMPILE_STATUS, &compiled);
	glGetShaderInfoLog(shader, sizeof(log), NULL, log);
	glAttachShader(program, shader);
	glDeleteShader(shader); /* the program keeps it */
	if (compiled)
		return 0;
	printf("@@FAILED compile a shader: %s\n", log);
	return -EIO;
}

static int make_program(uint32_t *program, const char *fragment_shader)
{
	char log[INFO_LOG] = "";
	GLint linked = 0;

	*program = glCreateProgram();
	if (add_shader(*program, GL_VERTEX_SHADER, vertex_shader) < 0 ||
	    add_shader(*program, GL_FRAGMENT_SHADER, fragment_shader) < 0)
		return -EIO;
	glLinkProgram(*program);
	glGetProgramiv(*program, GL_LINK_STATUS, &linked);
	glGetProgramInfoLog(*program, sizeof(log), NULL, log);
	if (linked)
		return 0;
	printf("@@FAILED link a program: %s\n", log);
	return -EIO;
}

int painter_init(struct painter *painter)
{
	static const GLfloat corners[] = { 0, 0, 1, 0, 0, 1, 1, 1 };

	*painter = (struct painter){ 0 };
	if (make_program(&painter->computed, computed_shader) < 0 || make_program(&painter->textured, textured_shader) < 0)
		return -EIO;
	glGenBuffers(1, &painter->corners);
	glBindBuffer(GL_ARRAY_BUFFER, painter->corners);
	glBufferData(GL_ARRAY_BUFFER, sizeof(corners), corners, GL_STATIC_DRAW);
	return check("make the painter");
}

void painter_finish(struct painter *painter)
{
	glDeleteBuffers(1, &painter->corners);
	glDeleteProgram(painter->computed);
	glDeleteProgram(painter->textured);
	*painter = (struct painter){ 0 };
}

static int draw(const struct painter *painter, const struct canvas *canvas, const char *what)
{
	glViewport(0, 0, (GLsizei)canvas->width, (GLsizei)canvas->height);
	glBindBuffer(GL_ARRAY_BUFFER, painter->corners);
	glEnableVertexAttribArray(CORNER);
	glVertexAttribPointer(CORNER, 2, GL_FLOAT, GL_FALSE, 0, NULL);
	glDrawArrays(GL_TRIANGLE_STRIP, 0, 4);
	return check(what);
}

static int draw_computed(const struct painter *painter, const struct canvas *canvas, uint32_t seed, bool diamond)
{
	glUseProgram(painter->computed);
	glUniform1ui(glGetUniformLocation(painter->computed, "key"), picture_color(0, 0, seed));
	glUniform1i(glGetUniformLocation(painter->computed, "first_row"), canvas->is_window ? (GLint)canvas->height - 1 : 0);
	glUniform1i(glGetUniformLocation(painter->computed, "diamond"), diamond);
	return draw(painter, canvas, "draw what a shader computes");
}

int painter_draw(const struct painter *painter, const struct canvas *canvas, uint32_t seed)
{
	return draw_computed(painter, canvas, seed, false);
}

int painter_draw_cursor(const struct painter *painter, const struct canvas *canvas, uint32_t seed)
{
	return draw_computed(painter, canvas, seed, true);
}

static void store(uint8_t pixel[4], uint32_t color)
{
	pixel[0] = (uint8_t)(color >> 16);
	pixel[1] = (uint8_t)(color >> 8);
	pixel[2] = (uint8_t)color;
	pixel[3] = 255;
}

int painter_draw_texture(const struct painter *painter, const struct canvas *canvas, uint32_t seed)
{
	uint8_t *pixels = malloc((size_t)canvas->width * canvas->height * 4);
	GLuint texture;
	int ret;

	if (!pixels)
		return guest_check(-1, "memory for a texture");
	for (uint32_t y = 0; y < canvas->height; y++)
		for (uint32_t x = 0; x < canvas->width; x++)
			store(pixels + ((size_t)y * canvas->width + x) * 4, picture_color(x, y, seed));
	glGenTextures(1, &texture);
	glBindTexture(GL_TEXTURE_2D, texture);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MIN_FILTER, GL_NEAREST);
	glTexParameteri(GL_TEXTURE_2D, GL_TEXTURE_MAG_FILTER, GL_NEAREST);
	glTexImage2D(GL_TEXTURE_2D, 0, GL_RGBA, (GLsizei)canvas->width, (GLsizei)canvas->height, 0, GL_RGBA, GL_UNSIGNED_BYTE,
	             pixels);
	free(pixels);
	glUseProgram(painter->textured);
	glUniform1i(glGetUniformLocation(painter->textured, "upside_down"), canvas->is_window);
	ret = draw(painter, canvas, "draw a texture");
	glDeleteTextures(1, &texture);
	return ret;
}

int painter_compare(const struct canvas *canvas, uint32_t seed)
{
	uint32_t width = canvas->width, height = canvas->height, wrong = 0;
	uint8_t *pixels = calloc((size_t)width * height, 4), expected[4];
	int ret;

	if (!pixels)
		return guest_check(-1, "memory for pixels");
	glReadPixels(0, 0, (GLsizei)width, (GLsizei)height, GL_RGBA, GL_UNSIGNED_BYTE, pixels);
	ret = check("read pixels");
	for (uint32_t y = 0; ret == 0 && y < height; y++)
		for (uint32_t x = 0; x < width; x++) {
			const uint8_t *pixel = pixels + ((size_t)(canvas->is_window ? height - 1 - y : y) * width + x) * 4;

			store(expected, picture_color(x, y, seed));
			wrong += pixel[0] != expected[0] || pixel[1] != expected[1] || pixel[2] != expected[2];
		}
	free(pixels);
	if (wrong) {
		printf("@@FAILED read pixels: %u of them are not what was drawn\n", wrong);
		ret = -EIO;
	}
	return ret;
}
