/* SPDX-License-Identifier: MIT */
/* The words of a pointer script: a table of names, each with a function that turns what stands behind its colon into steps. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <string.h>

#include "input/script.h"

enum {
	PATH_STEPS = 8,         /* motions of a drag: programs take one jump for something else */
	MAX_WHEEL = 1000,       /* steps in one word */
	MAX_POSITION = 1 << 20, /* pixels */
	SHOWN = 32,             /* bytes of a word that a message quotes */
};

/* What a pointer script knows of where it is. */
struct position {
	uint32_t output;
	double x, y;
	bool known;
};

static int bad_word(const char *word, size_t length, const char *remedy, struct vtr_error *error)
{
	return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "'%.*s': %s", (int)(length < SHOWN ? length : SHOWN), word, remedy);
}

/* A decimal number with at most three places, which strtod() would read by the locale. */
static bool read_number(const char **text, const char *end, double *number)
{
	const char *c = *text;
	const bool negative = c < end && *c == '-';
	double value = 0, scale = 1;

	c += negative;
	if (c == end || *c < '0' || *c > '9')
		return false;
	for (; c < end && *c >= '0' && *c <= '9' && value <= MAX_POSITION; c++)
		value = value * 10 + (*c - '0');
	if (c < end && *c == '.')
		for (c++; c < end && *c >= '0' && *c <= '9' && scale < 1000; c++)
			value += (*c - '0') / (scale *= 10);
	*text = c;
	*number = negative ? -value : value;
	return value <= MAX_POSITION;
}

static bool read_pair(const char *text, const char *end, double *x, double *y)
{
	return read_number(&text, end, x) && text < end && *text++ == ',' && read_number(&text, end, y) && text == end;
}

static int add_at(struct vtr_script *script, enum vtr_step_type type, const struct position *at, struct vtr_error *error)
{
	return vtr_script_add(script, (struct vtr_step){ .type = type, .output = at->output, .x = at->x, .y = at->y, .code = 0 },
	                      error);
}

static int add_button(struct vtr_script *script, uint32_t code, bool pressed, struct vtr_error *error)
{
	return vtr_script_add(script, (struct vtr_step){ .type = VTR_STEP_BUTTON, .code = code, .pressed = pressed }, error);
}

static int add_clicks(struct vtr_script *script, uint32_t code, int clicks, struct vtr_error *error)
{
	int result = 0;

	while (!result && clicks--) {
		result = add_button(script, code, true, error);
		if (!result)
			result = add_button(script, code, false, error);
	}
	return result;
}

/* On a straight line to (x, y), where *at is then. */
static int add_path(struct vtr_script *script, enum vtr_step_type type, struct position *at, double x, double y,
                    struct vtr_error *error)
{
	const struct position from = *at;
	int result = 0;

	for (int i = 1; i <= PATH_STEPS && !result; i++) {
		at->x = from.x + (x - from.x) * i / PATH_STEPS;
		at->y = from.y + (y - from.y) * i / PATH_STEPS;
		result = add_at(script, type, at, error);
	}
	return result;
}

/* Names that people give to BTN_*. */
static uint32_t read_button(const char *name, const char *end)
{
	static const struct {
		const char *name;
		uint32_t code;
	} buttons[] = {
		{ "", BTN_LEFT },     { "left", BTN_LEFT },   { "right", BTN_RIGHT },     { "middle", BTN_MIDDLE },
		{ "side", BTN_SIDE }, { "extra", BTN_EXTRA }, { "forward", BTN_FORWARD }, { "back", BTN_BACK },
	};
	size_t length = (size_t)(end - name);

	for (size_t i = 0; i < sizeof(buttons) / sizeof(buttons[0]); i++)
		if (strlen(buttons[i].name) == length && !memcmp(buttons[i].name, name, length))
			return buttons[i].code;
	return 0;
}

/* ---- the words of a pointer script: each gets what stands behind its colon ---- */

struct word {
	struct vtr_script *script;
	struct position *at;
	const char *value, *end;
	struct vtr_error *error;
};

static int do_click(const struct word *word)
{
	uint32_t button = read_button(word->value, word->end);

	return button ? add_clicks(word->script, button, 1, word->error) : -EINVAL;
}

static int do_double_click(const struct word *word)
{
	uint32_t button = read_button(word->value, word->end);

	return button ? add_clicks(word->script, button, 2, word->error) : -EINVAL;
}

static int do_press(const struct word *word)
{
	uint32_t button = read_button(word->value, word->end);

	return button ? add_button(word->script, button, true, word->error) : -EINVAL;
}

static int do_release(const struct word *word)
{
	uint32_t button = read_button(word->value, word->end);

	return button ? add_button(word->script, button, false, word->error) : -EINVAL;
}

static int do_drag(const struct word *word)
{
	double x, y;

	if (!word->at->known || !read_pair(word->value, word->end, &x, &y))
		return -EINVAL;
	int result = add_button(word->script, BTN_LEFT, true, word->error);
	if (!result)
		result = add_path(word->script, VTR_STEP_MOVE, word->at, x, y, word->error);
	return result ? result : add_button(word->script, BTN_LEFT, false, word->error);
}

static int do_by(const struct word *word)
{
	double x, y;

	if (!read_pair(word->value, word->end, &x, &y))
		return -EINVAL;
	return vtr_script_add(word->script, (struct vtr_step){ .type = VTR_STEP_MOVE_BY, .x = x, .y = y }, word->error);
}

/* Steps of the wheel, each by itself as a hand makes them; a fraction goes last. */
static int add_wheel(const struct word *word, bool horizontal)
{
	const char *value = word->value;
	double steps;
	int result = 0;

	if (!read_number(&value, word->end, &steps) || value != word->end || steps > MAX_WHEEL || steps < -MAX_WHEEL)
		return -EINVAL;
	while (steps != 0 && !result) {
		double step = steps > 1 ? 1 : steps < -1 ? -1 : steps;

		result = vtr_script_add(
			word->script,
			(struct vtr_step){ .type = VTR_STEP_WHEEL, .x = horizontal ? step : 0, .y = horizontal ? 0 : step },
			word->error);
		steps -= step;
	}
	return result;
}

static int do_wheel(const struct word *word)
{
	return add_wheel(word, false);
}

static int do_hwheel(const struct word *word)
{
	return add_wheel(word, true);
}

static int do_tap(const struct word *word)
{
	if (!word->at->known || word->value != word->end)
		return -EINVAL;
	int result = add_at(word->script, VTR_STEP_TOUCH, word->at, word->error);
	return result ? result : add_at(word->script, VTR_STEP_TOUCH_UP, word->at, word->error);
}

static int do_swipe(const struct word *word)
{
	double x, y;

	if (!word->at->known || !read_pair(word->value, word->end, &x, &y))
		return -EINVAL;
	int result = add_at(word->script, VTR_STEP_TOUCH, word->at, word->error);
	if (!result)
		result = add_path(word->script, VTR_STEP_TOUCH, word->at, x, y, word->error);
	return result ? result : add_at(word->script, VTR_STEP_TOUCH_UP, word->at, word->error);
}

static const struct {
	const char *name;
	int (*run)(const struct word *word); /* -EINVAL without *error: usage is what it should have been */
	const char *usage;
} words[] = {
	{ "click", do_click, "write click, or click:BUTTON (left, right, middle, side, extra, forward, back)" },
	{ "double", do_double_click, "write double, or double:BUTTON (left, right, middle, side, extra, forward, back)" },
	{ "press", do_press, "write press, or press:BUTTON (left, right, middle, side, extra, forward, back)" },
	{ "release", do_release, "write release, or release:BUTTON (left, right, middle, side, extra, forward, back)" },
	{ "drag", do_drag, "write X,Y drag:X,Y: from where to where" },
	{ "by", do_by, "write by:DX,DY" },
	{ "wheel", do_wheel, "write wheel:N, N steps up or (negative) down, at most 1000" },
	{ "hwheel", do_hwheel, "write hwheel:N, N steps to the right or (negative) to the left, at most 1000" },
	{ "tap", do_tap, "write X,Y tap: where" },
	{ "swipe", do_swipe, "write X,Y swipe:X,Y: from where to where" },
};

/* "X,Y" places what follows; it moves the pointer unless a finger is meant. */
static int do_place(const struct word *word, bool moves)
{
	double x, y;

	if (!read_pair(word->value, word->end, &x, &y) || x < 0 || y < 0)
		return -EINVAL;
	*word->at = (struct position){ word->at->output, x, y, true };
	return moves ? add_at(word->script, VTR_STEP_MOVE, word->at, word->error) : 0;
}

static bool is_touch(const char *next)
{
	return !strncmp(next, "tap", 3) || !strncmp(next, "swipe", 5);
}

static int add_word(struct vtr_script *script, struct position *at, const char *text, size_t length, struct vtr_error *error)
{
	struct word word = { script, at, text, text + length, error };
	const char *remedy = "write X,Y, click, double, press, release, drag:X,Y, by:DX,DY, wheel:N, hwheel:N, tap or swipe:X,Y";
	int result = -EINVAL;

	if (*text >= '0' && *text <= '9') {
		result = do_place(&word, !is_touch(text + length + strspn(text + length, " ")));
		remedy = "write X,Y: pixels from the left and from the top";
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t name = strlen(words[i].name);

		if (length < name || memcmp(text, words[i].name, name) || (length > name && text[name] != ':'))
			continue;
		word.value = text + name + (length > name);
		result = words[i].run(&word);
		remedy = words[i].usage;
	}
	return result == -EINVAL ? bad_word(text, length, remedy, error) : result;
}

int vtr_script_pointer(struct vtr_script *script, uint32_t output, const char *actions, struct vtr_error *error)
{
	struct position at = { .output = output };
	size_t count = 0;
	int result = 0;

	for (actions += strspn(actions, " "); *actions && !result; actions += strspn(actions, " ")) {
		size_t length = strcspn(actions, " ");

		result = add_word(script, &at, actions, length, error);
		actions += length;
		count++;
	}
	if (!count)
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "what should the pointer do? for example: 100,200 click");
	return result;
}
