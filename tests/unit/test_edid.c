/* SPDX-License-Identifier: MIT */
/* The EDID generator: what edid-decode says of it, and that no mode whatsoever gives a malformed block. */
#include <glib.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <vitrine/gpu.h>

enum { BLOCK = 128, NAME_DESCRIPTOR = 54 + 18, SERIAL_DESCRIPTOR = 54 + 3 * 18 };

static const struct mode_row {
	const char *name;
	struct vtr_mode mode;
	bool extended; /* does not fit a detailed timing descriptor */
} mode_rows[] = {
	{ "640x480@60", { 640, 480, 60000 }, false },       { "800x600@60", { 800, 600, 60000 }, false },
	{ "1024x768@60", { 1024, 768, 60000 }, false },     { "1280x800@60", { 1280, 800, 60000 }, false },
	{ "1280x800@59.94", { 1280, 800, 59940 }, false },  { "1366x768@60", { 1366, 768, 60000 }, false },
	{ "1080x1920@60", { 1080, 1920, 60000 }, false },   { "1920x1080@60", { 1920, 1080, 60000 }, false },
	{ "1920x1080@120", { 1920, 1080, 120000 }, false }, { "1920x1080@144", { 1920, 1080, 144000 }, false },
	{ "1920x1200@60", { 1920, 1200, 60000 }, false },   { "2560x1440@165", { 2560, 1440, 165000 }, true },
	{ "3440x1440@100", { 3440, 1440, 100000 }, false }, { "3840x2160@30", { 3840, 2160, 30000 }, false },
	{ "3840x2160@60", { 3840, 2160, 60000 }, false },   { "3840x2160@120", { 3840, 2160, 120000 }, true },
	{ "4095x4095@60", { 4095, 4095, 60000 }, true },    { "4096x2160@30", { 4096, 2160, 30000 }, true },
	{ "5120x2880@60", { 5120, 2880, 60000 }, true },    { "7680x4320@60", { 7680, 4320, 60000 }, true },
	{ "7680x4320@240", { 7680, 4320, 240000 }, true },  { "16384x16384@60", { 16384, 16384, 60000 }, true },
};

static uint8_t sum(const uint8_t *bytes, size_t length)
{
	uint8_t total = 0;

	while (length--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

/* What edid-decode prints for the EDID, with its checks and the preferred timings. NULL when it is not installed. */
static char *edid_decode(const uint8_t *edid, size_t size)
{
	g_autofree char *program = g_find_program_in_path("edid-decode");
	g_autofree char *path = NULL;
	const int fd = g_file_open_tmp("edid-XXXXXX", &path, NULL);
	const char *argv[] = { program, "--check", "--preferred-timings", path, NULL };
	char *output = NULL;
	int status = -1;

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(write(fd, edid, size), ==, (ssize_t)size);
	close(fd);
	if (program) {
		g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, &status, NULL));
		g_assert_cmpint(status, ==, 0);
	}
	unlink(path);
	return output;
}

/* The timing that is printed behind the last heading "Preferred Video Timing". */
static void find_preferred(const char *output, unsigned *width, unsigned *height, double *refresh)
{
	const char *line = g_strrstr(output, "Preferred Video Timing");

	g_assert_nonnull(line);
	line = strstr(line, "DTD");
	g_assert_nonnull(line);
	line = strchr(line, ':');
	g_assert_nonnull(line);
	g_assert_cmpint(sscanf(line + 1, " %ux%u %lf Hz", width, height, refresh), ==, 3);
}

static void test_decode(const void *data)
{
	const struct mode_row *row = data;
	g_autofree char *output = NULL;
	unsigned width, height;
	uint8_t edid[256];
	double refresh;
	size_t size;

	size = vtr_edid_generate(&row->mode, "Vitrine-1", 1, edid);
	g_assert_cmpuint(size, ==, row->extended ? 256 : 128);
	output = edid_decode(edid, size);
	if (!output) {
		g_test_skip("edid-decode is not installed");
		return;
	}
	if (!strstr(output, "EDID conformity: PASS") || strstr(output, "Warnings:"))
		g_test_message("%s", output);
	g_assert_nonnull(strstr(output, "EDID conformity: PASS"));
	g_assert_null(strstr(output, "Warnings:"));
	g_assert_null(strstr(output, "Failures:"));
	g_assert_nonnull(strstr(output, "Display Product Name: 'Vitrine-1'"));
	find_preferred(output, &width, &height, &refresh);
	g_assert_cmpuint(width, ==, row->mode.width);
	g_assert_cmpuint(height, ==, row->mode.height);
	/* 5 kHz is half the unit of the clock: on the smallest of these modes that is 0.013 Hz */
	g_assert_cmpfloat(fabs(refresh - row->mode.refresh_mhz / 1000.0), <, 0.015);
}

static void check_blocks(const uint8_t *edid, size_t size)
{
	g_assert_true(size == BLOCK || size == 2 * BLOCK);
	g_assert_cmpuint(sum(edid, BLOCK), ==, 0);
	g_assert_cmpuint(edid[126], ==, size / BLOCK - 1);
	if (size == BLOCK)
		return;
	g_assert_cmphex(edid[BLOCK], ==, 0x70);
	g_assert_cmpuint(edid[BLOCK + 2], <=, BLOCK - 7);
	g_assert_cmpuint(sum(edid + BLOCK, BLOCK), ==, 0);
	g_assert_cmpuint(sum(edid + BLOCK + 1, 5u + edid[BLOCK + 2]), ==, 0);
}

/* Every combination of these, sense and nonsense. */
static void test_sweep(const void *data)
{
	static const uint32_t sizes[] = { 0, 1, 64, 255, 320, 1000, 1366, 4095, 4096, 8192, 16384, 65535, 65536, UINT32_MAX };
	static const uint32_t rates[] = { 0, 1, 999, 23976, 59940, 60000, 255000, 511000, 1000000, 5000000, UINT32_MAX };
	size_t x, y, r;

	for (x = 0; x < G_N_ELEMENTS(sizes); x++) {
		for (y = 0; y < G_N_ELEMENTS(sizes); y++) {
			for (r = 0; r < G_N_ELEMENTS(rates); r++) {
				const struct vtr_mode mode = { sizes[x], sizes[y], rates[r] };
				uint8_t edid[256];

				check_blocks(edid, vtr_edid_generate(&mode, "sweep", 1, edid));
			}
		}
	}
}

static const struct name_row {
	const char *name, *given;
	char text[14]; /* the 13 bytes of the descriptor */
} name_rows[] = {
	{ "short", "Left", "Left\n        " },
	{ "twelve", "Twelve-chars", "Twelve-chars\n" },
	{ "thirteen", "Thirteen-long", "Thirteen-long" },
	{ "longer", "Thirteen-long-and-more", "Thirteen-long" },
	{ "empty", "", "Vitrine\n     " },
	{ "none", NULL, "Vitrine\n     " },
	{ "not-ascii", "\xc3\xa9t\xc3\xa9\n1", "??t???1\n     " },
};

static void test_name(const void *data)
{
	const struct name_row *row = data;
	const struct vtr_mode mode = { 1280, 800, 60000 };
	uint8_t edid[256];

	check_blocks(edid, vtr_edid_generate(&mode, row->given, 1, edid));
	g_assert_cmphex(edid[NAME_DESCRIPTOR + 3], ==, 0xfc);
	g_assert_cmpmem(edid + NAME_DESCRIPTOR + 5, 13, row->text, 13);
}

static void test_serial(const void *data)
{
	const struct vtr_mode mode = { 1280, 800, 60000 };
	uint8_t edid[256];

	vtr_edid_generate(&mode, "serial", 0xfffffffe, edid);
	g_assert_cmpmem(edid + 12, 4, "\xfe\xff\xff\xff", 4);
	g_assert_cmpmem(edid + SERIAL_DESCRIPTOR, 18,
	                "\0\0\0\xff\0"
	                "4294967294\n  ",
	                18);
	vtr_edid_generate(&mode, "serial", 0, edid);
	g_assert_cmphex(edid[SERIAL_DESCRIPTOR + 3], ==, 0x10);
}

static void test_no_mode_above_preferred(const void *data)
{
	const struct vtr_mode mode = { 1280, 800, 60000 };
	uint8_t edid[256];

	vtr_edid_generate(&mode, "modes", 1, edid);
	g_assert_cmphex(edid[35], ==, 0x21);                  /* 640x480, 800x600 */
	g_assert_cmphex(edid[36], ==, 0x08);                  /* 1024x768 */
	g_assert_cmpmem(edid + 38, 4, "\x81\xc0\x01\x01", 4); /* 1280x720 and no more */
}

int main(int argc, char **argv)
{
	size_t i;

	g_test_init(&argc, &argv, NULL);
	for (i = 0; i < G_N_ELEMENTS(mode_rows); i++) {
		g_autofree char *path = g_strdup_printf("/unit/edid/decode/%s", mode_rows[i].name);

		g_test_add_data_func(path, &mode_rows[i], test_decode);
	}
	for (i = 0; i < G_N_ELEMENTS(name_rows); i++) {
		g_autofree char *path = g_strdup_printf("/unit/edid/name/%s", name_rows[i].name);

		g_test_add_data_func(path, &name_rows[i], test_name);
	}
	g_test_add_data_func("/unit/edid/serial", NULL, test_serial);
	g_test_add_data_func("/unit/edid/smaller-modes", NULL, test_no_mode_above_preferred);
	g_test_add_data_func("/unit/edid/sweep", NULL, test_sweep);
	return g_test_run();
}
