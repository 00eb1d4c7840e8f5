/* SPDX-License-Identifier: MIT */
/* Words into steps: names of keys, combinations, text, what a pointer does. */
#include <errno.h>
#include <glib.h>
#include <linux/input-event-codes.h>
#include <locale.h>

#include "input/keys.h"
#include "input/script.h"
#include "rows.h"

/* ---- names and characters ---- */

static const struct name_row {
	const char *name; /* of the row and of the key */
	uint32_t code;
} name_rows[] = {
	{ "a", KEY_A },
	{ "A", KEY_A },
	{ "0", KEY_0 },
	{ "f1", KEY_F1 },
	{ "F12", KEY_F12 },
	{ "f24", KEY_F24 },
	{ "ctrl", KEY_LEFTCTRL },
	{ "rightctrl", KEY_RIGHTCTRL },
	{ "Shift", KEY_LEFTSHIFT },
	{ "altgr", KEY_RIGHTALT },
	{ "super", KEY_LEFTMETA },
	{ "esc", KEY_ESC },
	{ "escape", KEY_ESC },
	{ "delete", KEY_DELETE },
	{ "del", KEY_DELETE },
	{ "pgup", KEY_PAGEUP },
	{ "print", KEY_SYSRQ },
	{ "sysrq", KEY_SYSRQ },
	{ "kpenter", KEY_KPENTER },
	{ "kp7", KEY_KP7 },
	{ "102nd", KEY_102ND },
	{ "minus", KEY_MINUS },
	{ ";", KEY_SEMICOLON },
	{ "\\", KEY_BACKSLASH },
	{ "volumeup", KEY_VOLUMEUP },
	{ "micmute", KEY_MICMUTE },
	{ ":", 0 }, /* takes shift */
	{ "f25", 0 },
	{ "ctr", 0 },
	{ "ctrll", 0 },
	{ "key_a", 0 },
};

static void test_name(const void *data)
{
	const struct name_row *row = data;

	g_assert_cmpuint(vtr_key_from_name(row->name, strlen(row->name)), ==, row->code);
}

/* Every character that can be printed has a key, and no two have the same. */
static void test_characters(void)
{
	bool seen[2][KEY_CNT] = { { false } };

	for (unsigned c = ' '; c <= '~'; c++) {
		bool shift = false;
		uint32_t code = vtr_key_from_character((char)c, &shift);

		g_assert_cmpuint(code, >, 0);
		g_assert_false(seen[shift][code]);
		seen[shift][code] = true;
	}
	for (unsigned c = 1; c < 256; c++) {
		bool shift = false;

		if (c < ' ' || c > '~')
			g_assert_cmpuint(vtr_key_from_character((char)c, &shift) != 0, ==, strchr("\n\t\b\033", (int)c) != NULL);
	}
}

/* ---- scripts ---- */

static char *describe(const struct vtr_script *script)
{
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < script->count; i++) {
		const struct vtr_step *step = &script->steps[i];

		switch (step->type) {
		case VTR_STEP_KEY:
			g_string_append_printf(text, " k%u%c", step->code, step->pressed ? '+' : '-');
			break;
		case VTR_STEP_BUTTON:
			g_string_append_printf(text, " b%u%c", step->code - BTN_LEFT, step->pressed ? '+' : '-');
			break;
		case VTR_STEP_MOVE:
			g_string_append_printf(text, " %u:%g,%g", step->output, step->x, step->y);
			break;
		case VTR_STEP_MOVE_BY:
			g_string_append_printf(text, " by%g,%g", step->x, step->y);
			break;
		case VTR_STEP_WHEEL:
			g_string_append_printf(text, " w%g,%g", step->x, step->y);
			break;
		case VTR_STEP_TOUCH:
			g_string_append_printf(text, " t%u:%g,%g", step->output, step->x, step->y);
			break;
		case VTR_STEP_TOUCH_UP:
			g_string_append(text, " up");
			break;
		}
	}
	return g_string_free(text, FALSE);
}

enum script_kind { KEYS, PRESS, RELEASE, TEXT, POINTER };

static const struct script_row {
	const char *name;
	enum script_kind kind;
	const char *words;
	const char *steps; /* NULL: refused */
} script_rows[] = {
	{ "key", KEYS, "a", " k30+ k30-" },
	{ "combination", KEYS, "ctrl-alt-f2", " k29+ k56+ k60+ k60- k56- k29-" },
	{ "plus-signs", KEYS, "shift+a", " k42+ k30+ k30- k42-" },
	{ "several", KEYS, "  a  ctrl-c ", " k30+ k30- k29+ k46+ k46- k29-" },
	{ "press", PRESS, "shift-a", " k42+ k30+" },
	{ "release", RELEASE, "shift-a", " k30- k42-" },
	{ "no-key", KEYS, "", NULL },
	{ "blanks", KEYS, "   ", NULL },
	{ "unknown-key", KEYS, "ctrl-foo", NULL },
	{ "nothing-after-minus", KEYS, "ctrl-", NULL },
	{ "nothing-before-minus", KEYS, "-a", NULL },
	{ "minus-alone", KEYS, "-", NULL },
	{ "two-minus", KEYS, "a--b", NULL },
	{ "sixteen-at-once", PRESS, "1-2-3-4-5-6-7-8-9-0-a-b-c-d-e-f",
	  " k2+ k3+ k4+ k5+ k6+ k7+ k8+ k9+ k10+ k11+ k30+ k48+ k46+ k32+ k18+ k33+" },
	{ "seventeen-at-once", PRESS, "1-2-3-4-5-6-7-8-9-0-a-b-c-d-e-f-g", NULL },
	{ "text", TEXT, "aB\n", " k30+ k30- k42+ k48+ k48- k42- k28+ k28-" },
	{ "text-signs", TEXT, "~\t-", " k42+ k41+ k41- k42- k15+ k15- k12+ k12-" },
	{ "text-empty", TEXT, "", "" },
	{ "text-not-ascii", TEXT, "gr\xc3\xbc\xc3\x9f", NULL },
	{ "text-control-character", TEXT, "a\001", NULL },
	{ "move", POINTER, "100,200", " 3:100,200" },
	{ "move-fraction", POINTER, "1.5,2.125", " 3:1.5,2.125" },
	{ "click", POINTER, "100,200 click", " 3:100,200 b0+ b0-" },
	{ "click-here", POINTER, "click", " b0+ b0-" },
	{ "click-right", POINTER, "click:right", " b1+ b1-" },
	{ "double", POINTER, "double", " b0+ b0- b0+ b0-" },
	{ "press-move-release", POINTER, "press:middle 5,6 release:middle", " b2+ 3:5,6 b2-" },
	{ "drag", POINTER, "0,0 drag:80,8", " 3:0,0 b0+ 3:10,1 3:20,2 3:30,3 3:40,4 3:50,5 3:60,6 3:70,7 3:80,8 b0-" },
	{ "drag-on", POINTER, "8,8 drag:0,0 click", " 3:8,8 b0+ 3:7,7 3:6,6 3:5,5 3:4,4 3:3,3 3:2,2 3:1,1 3:0,0 b0- b0+ b0-" },
	{ "by", POINTER, "by:-3,4.5", " by-3,4.5" },
	{ "wheel", POINTER, "wheel:2", " w0,1 w0,1" },
	{ "wheel-down", POINTER, "wheel:-2.5", " w0,-1 w0,-1 w0,-0.5" },
	{ "hwheel", POINTER, "hwheel:1", " w1,0" },
	{ "wheel-nothing", POINTER, "wheel:0", "" },
	{ "tap", POINTER, "7,8 tap", " t3:7,8 up" },
	{ "tap-does-not-move-the-pointer", POINTER, "1,1 click 7,8   tap", " 3:1,1 b0+ b0- t3:7,8 up" },
	{ "swipe", POINTER, "0,8 swipe:8,0", " t3:0,8 t3:1,7 t3:2,6 t3:3,5 t3:4,4 t3:5,3 t3:6,2 t3:7,1 t3:8,0 up" },
	{ "nothing", POINTER, "", NULL },
	{ "unknown", POINTER, "100,200 jump", NULL },
	{ "half-a-place", POINTER, "100", NULL },
	{ "place-without-y", POINTER, "100,", NULL },
	{ "place-and-more", POINTER, "100,200,300", NULL },
	{ "negative-place", POINTER, "10,-1", NULL },
	{ "place-far-away", POINTER, "99999999999999999999,1", NULL },
	{ "place-hexadecimal", POINTER, "0x10,1", NULL },
	{ "unknown-button", POINTER, "click:top", NULL },
	{ "clicks", POINTER, "clicks", NULL },
	{ "drag-from-nowhere", POINTER, "drag:1,1", NULL },
	{ "drag-without-end", POINTER, "1,1 drag", NULL },
	{ "tap-nowhere", POINTER, "tap", NULL },
	{ "tap-with-more", POINTER, "1,1 tap:2", NULL },
	{ "wheel-without-number", POINTER, "wheel", NULL },
	{ "wheel-too-far", POINTER, "wheel:1001", NULL },
	{ "wheel-nan", POINTER, "wheel:nan", NULL },
	{ "wheel-and-more", POINTER, "wheel:1x", NULL },
	{ "by-half", POINTER, "by:1", NULL },
};

static int make(struct vtr_script *script, enum script_kind kind, const char *words, struct vtr_error *error)
{
	if (kind == TEXT)
		return vtr_script_type(script, words, error);
	if (kind == POINTER)
		return vtr_script_pointer(script, 3, words, error);
	return vtr_script_keys(script, words, kind == KEYS ? VTR_KEY_TAP : kind == PRESS ? VTR_KEY_PRESS : VTR_KEY_RELEASE, error);
}

static void test_script(const void *data)
{
	const struct script_row *row = data;
	struct vtr_script script = { 0 };
	struct vtr_error error = { 0 };
	int result = make(&script, row->kind, row->words, &error);

	if (row->steps) {
		g_autofree char *steps = describe(&script);

		g_assert_cmpint(result, ==, 0);
		g_assert_cmpstr(steps, ==, row->steps);
	} else {
		g_assert_cmpint(result, ==, -EINVAL);
		g_assert_cmpint(error.owner, ==, VTR_ERROR_GUEST);
		g_assert_cmpuint(strlen(error.text), >, 5);
	}
	vtr_script_finish(&script);
}

static void test_too_long(void)
{
	g_autofree char *text = g_strnfill(VTR_MAX_SCRIPT / 2 + 1, 'x');
	struct vtr_script script = { 0 };
	struct vtr_error error;

	g_assert_cmpint(vtr_script_type(&script, text, &error), ==, -E2BIG);
	g_assert_cmpuint(script.count, ==, VTR_MAX_SCRIPT);
	vtr_script_finish(&script);
	text[VTR_MAX_SCRIPT / 2] = '\0';
	g_assert_cmpint(vtr_script_type(&script, text, &error), ==, 0);
	g_assert_cmpuint(script.count, ==, VTR_MAX_SCRIPT);
	vtr_script_finish(&script);
}

static const struct {
	struct vtr_step step;
	enum vtr_input_kind kind;
	bool releases;
} step_rows[] = {
	{ { .type = VTR_STEP_KEY, .pressed = true }, VTR_INPUT_KEYBOARD, false },
	{ { .type = VTR_STEP_KEY }, VTR_INPUT_KEYBOARD, true },
	{ { .type = VTR_STEP_BUTTON, .pressed = true }, VTR_INPUT_TABLET, false },
	{ { .type = VTR_STEP_BUTTON }, VTR_INPUT_TABLET, true },
	{ { .type = VTR_STEP_MOVE }, VTR_INPUT_TABLET, false },
	{ { .type = VTR_STEP_MOVE_BY }, VTR_INPUT_MOUSE, false },
	{ { .type = VTR_STEP_WHEEL }, VTR_INPUT_TABLET, false },
	{ { .type = VTR_STEP_TOUCH }, VTR_INPUT_TOUCH, false },
	{ { .type = VTR_STEP_TOUCH_UP }, VTR_INPUT_TOUCH, true },
};

static void test_steps(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(step_rows); i++) {
		g_assert_cmpint(vtr_step_kind(&step_rows[i].step), ==, step_rows[i].kind);
		g_assert_cmpint(vtr_step_releases(&step_rows[i].step), ==, step_rows[i].releases);
	}
}

int main(int argc, char **argv)
{
	setlocale(LC_ALL, "");
	g_test_init(&argc, &argv, NULL);
	ADD_ROWS("/input-script/name/", name_rows, test_name);
	g_test_add_func("/input-script/characters", test_characters);
	ADD_ROWS("/input-script/words/", script_rows, test_script);
	g_test_add_func("/input-script/too-long", test_too_long);
	g_test_add_func("/input-script/steps", test_steps);
	return g_test_run();
}
