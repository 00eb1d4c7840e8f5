/* SPDX-License-Identifier: MIT */
/* Scripts: combinations of keys and text as steps, and what a step does. script_pointer.c has the pointer's. */
#include "input/script.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#include "input/keys.h"

enum {
	MAX_COMBINATION = 16, /* keys held at a time */
	WHEEL_STEP = 120,
	SHOWN = 32, /* bytes of a name that a message quotes */
};

void vtr_script_finish(struct vtr_script *script)
{
	free(script->steps);
	*script = (struct vtr_script){ 0 };
}

int vtr_script_add(struct vtr_script *script, struct vtr_step step, struct vtr_error *error)
{
	if (script->count == VTR_MAX_SCRIPT)
		return vtr_error_set(error, VTR_ERROR_GUEST, E2BIG, "this is more than %d steps: ask for it in parts",
		                     VTR_MAX_SCRIPT);
	if (script->count == script->capacity) {
		size_t capacity = script->capacity ? 2 * script->capacity : 64;
		struct vtr_step *steps = realloc(script->steps, capacity * sizeof(*steps));

		if (!steps)
			return vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "no memory for the steps");
		script->steps = steps;
		script->capacity = capacity;
	}
	script->steps[script->count++] = step;
	return 0;
}

static int add_key(struct vtr_script *script, uint32_t code, bool pressed, struct vtr_error *error)
{
	return vtr_script_add(script, (struct vtr_step){ .type = VTR_STEP_KEY, .code = code, .pressed = pressed }, error);
}

/* ---- keys ---- */

/* "ctrl-alt-f2" into codes. A minus or plus sign separates, so the keys of these signs go by their names. */
static int read_combination(const char *word, size_t length, uint32_t codes[MAX_COMBINATION], size_t *count,
                            struct vtr_error *error)
{
	const char *end = word + length;

	for (*count = 0; word <= end; (*count)++) {
		size_t name = 0;

		while (word + name < end && word[name] != '-' && word[name] != '+')
			name++;
		uint32_t code = name && *count < MAX_COMBINATION ? vtr_key_from_name(word, name) : 0;
		if (!code && name)
			return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "there is no key '%.*s', or too many of them at once",
			                     (int)(name < SHOWN ? name : SHOWN), word);
		if (!code)
			return vtr_error_set(
				error, VTR_ERROR_GUEST, EINVAL,
				"a key is missing: write ctrl-alt-f2, and minus and equal for the keys of these signs");
		codes[*count] = code;
		word += name + 1;
	}
	return 0;
}

static int add_combination(struct vtr_script *script, const char *word, size_t length, enum vtr_key_action action,
                           struct vtr_error *error)
{
	uint32_t codes[MAX_COMBINATION];
	size_t count;
	int result = read_combination(word, length, codes, &count, error);

	for (size_t i = 0; !result && action != VTR_KEY_RELEASE && i < count; i++)
		result = add_key(script, codes[i], true, error);
	for (size_t i = count; !result && action != VTR_KEY_PRESS && i-- > 0;)
		result = add_key(script, codes[i], false, error);
	return result;
}

int vtr_script_keys(struct vtr_script *script, const char *keys, enum vtr_key_action action, struct vtr_error *error)
{
	size_t words = 0;
	int result = 0;

	for (keys += strspn(keys, " "); *keys && !result; keys += strspn(keys, " ")) {
		size_t length = strcspn(keys, " ");

		result = add_combination(script, keys, length, action, error);
		keys += length;
		words++;
	}
	if (!words)
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "which key?");
	return result;
}

static int add_character(struct vtr_script *script, char character, struct vtr_error *error)
{
	bool shift = false;
	uint32_t code = vtr_key_from_character(character, &shift);
	int result = 0;

	if (!code)
		return vtr_error_set(error, VTR_ERROR_GUEST, EINVAL, "a US keyboard has no key for byte 0x%02x",
		                     (uint8_t)character);
	if (shift)
		result = add_key(script, KEY_LEFTSHIFT, true, error);
	if (!result)
		result = add_key(script, code, true, error);
	if (!result)
		result = add_key(script, code, false, error);
	if (!result && shift)
		result = add_key(script, KEY_LEFTSHIFT, false, error);
	return result;
}

int vtr_script_type(struct vtr_script *script, const char *text, struct vtr_error *error)
{
	int result = 0;

	for (; *text && !result; text++)
		result = add_character(script, *text, error);
	return result;
}

/* ---- steps ---- */

void vtr_step_perform(const struct vtr_step *step, struct vtr_input *input)
{
	switch (step->type) {
	case VTR_STEP_KEY:
		vtr_input_key(input, step->code, step->pressed);
		break;
	case VTR_STEP_BUTTON:
		vtr_input_button(input, step->code, step->pressed);
		break;
	case VTR_STEP_MOVE:
		vtr_input_move(input, step->output, step->x, step->y);
		break;
	case VTR_STEP_MOVE_BY:
		vtr_input_move_by(input, step->x, step->y);
		break;
	case VTR_STEP_WHEEL:
		vtr_input_wheel(input, (int32_t)(step->x * WHEEL_STEP), (int32_t)(step->y * WHEEL_STEP));
		break;
	case VTR_STEP_TOUCH:
		vtr_input_touch(input, VTR_SCRIPT_FINGER, step->output, step->x, step->y);
		vtr_input_touch_frame(input);
		break;
	case VTR_STEP_TOUCH_UP:
		vtr_input_touch_up(input, VTR_SCRIPT_FINGER);
		vtr_input_touch_frame(input);
		break;
	}
}

bool vtr_step_releases(const struct vtr_step *step)
{
	return step->type == VTR_STEP_TOUCH_UP || ((step->type == VTR_STEP_KEY || step->type == VTR_STEP_BUTTON) && !step->pressed);
}

enum vtr_input_kind vtr_step_kind(const struct vtr_step *step)
{
	switch (step->type) {
	case VTR_STEP_KEY:
		return VTR_INPUT_KEYBOARD;
	case VTR_STEP_MOVE_BY:
		return VTR_INPUT_MOUSE;
	case VTR_STEP_TOUCH:
	case VTR_STEP_TOUCH_UP:
		return VTR_INPUT_TOUCH;
	default:
		return VTR_INPUT_TABLET;
	}
}
