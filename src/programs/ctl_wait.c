/* SPDX-License-Identifier: MIT */
/* The commands that look at what is shown: screenshot, and wait, which takes pictures, each of a newer frame, until they are right.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vitrine/control.h>
#include <vitrine/loop.h>

#include "vitrinectl.h"

/* What is known of the pictures so far. */
struct watch {
	const struct ctl_options *options;
	int socket;
	uint64_t deadline;
	int64_t after;           /* frames of the last picture; -1: none yet */
	struct ctl_picture seen; /* the last one */
	struct ctl_picture part; /* of it: the region */
	unsigned pictures;
};

static json_t *screenshot_request(const struct ctl_options *options, int64_t after, int64_t timeout_ms)
{
	json_t *request = json_pack("{s:s, s:I, s:b, s:I}", "command", "screenshot", "scanout", (json_int_t)options->scanout,
	                            "cursor", options->cursor, "timeout_ms", (json_int_t)timeout_ms);

	if (after >= 0)
		json_object_set_new(request, "after", json_integer(after));
	return request;
}

static int outside(const struct ctl_area *region, const struct ctl_picture *seen)
{
	return ctl_fail("the region %ux%u+%u+%u is not within the picture, which is %ux%u", region->width, region->height,
	                region->x, region->y, seen->width, seen->height);
}

/* ---- screenshot ---- */

static int save(const struct ctl_options *options, const json_t *reply, int fd)
{
	struct ctl_picture picture = { 0 }, part;
	int status = ctl_picture_from_fd(&picture, reply, fd);

	if (!status && !ctl_picture_part(&picture, &options->region, &part))
		status = outside(&options->region, &picture);
	else if (!status)
		status = ctl_picture_to_png(&part, options->arguments[0]);
	ctl_picture_finish(&picture);
	return status;
}

int ctl_screenshot(const struct ctl_options *options, int socket)
{
	char *line = NULL;
	int fd = -1;
	json_t *reply = ctl_call(socket, screenshot_request(options, -1, options->timeout_ms), options->timeout_ms, &line, &fd);

	if (!reply)
		return CTL_FAILED;
	int status = ctl_is_ok(reply) ? save(options, reply, fd) : ctl_fail_with(reply);
	if (options->json)
		puts(line);
	else if (!status && !json_is_true(json_object_get(reply, "enabled")))
		fprintf(stderr, "vitrinectl: the guest shows nothing on scanout %" PRId64 ": the picture is black\n",
		        options->scanout);
	free(line);
	json_decref(reply);
	return status;
}

/* ---- watching ---- */

enum seen { SEEN_PICTURE, SEEN_NOTHING_NEW, SEEN_ERROR /* reported */ };

static int64_t left_ms(uint64_t deadline)
{
	uint64_t now = vtr_now_ns();

	return now < deadline ? (int64_t)((deadline - now + 999999) / 1000000) : 0;
}

static enum seen take(struct watch *watch, const json_t *reply, int fd)
{
	ctl_picture_finish(&watch->seen);
	if (ctl_picture_from_fd(&watch->seen, reply, fd))
		return SEEN_ERROR;
	watch->after = json_integer_value(json_object_get(reply, "frames"));
	watch->pictures++;
	return SEEN_PICTURE;
}

/* The picture of a newer frame, as soon as there is one. */
static enum seen look(struct watch *watch, uint64_t deadline)
{
	int64_t timeout_ms = left_ms(deadline < watch->deadline ? deadline : watch->deadline);
	int fd = -1;
	json_t *reply =
		ctl_call(watch->socket, screenshot_request(watch->options, watch->after, timeout_ms), timeout_ms, NULL, &fd);
	enum seen seen = SEEN_ERROR;

	if (!reply)
		return SEEN_ERROR;
	const char *code = json_string_value(json_object_get(reply, "code"));
	if (ctl_is_ok(reply))
		seen = take(watch, reply, fd);
	else if (code && !strcmp(code, "timeout") && watch->after >= 0)
		seen = SEEN_NOTHING_NEW;
	else
		ctl_fail_with(reply);
	json_decref(reply);
	return seen;
}

/* ---- wait --image ---- */

/* Why the last picture that was seen is not the one that was waited for. */
static int explain(const struct watch *watch, const struct ctl_match *match, enum ctl_match_result result,
                   const struct ctl_difference *difference)
{
	const struct ctl_picture *wanted = match->wanted, *part = &watch->part;
	const char *image = watch->options->image;
	double seconds = (double)watch->options->timeout_ms / 1000;

	if (!ctl_picture_part(&watch->seen, &watch->options->region, &(struct ctl_picture){ 0 }))
		return outside(&watch->options->region, &watch->seen);
	if (result == CTL_MATCH_SIZE)
		return ctl_fail("%s did not come within %g s: it is %ux%u, and what is shown is %ux%u", image, seconds,
		                wanted->width, wanted->height, part->width, part->height);
	if (match->anywhere)
		return ctl_fail("%s did not come within %g s: it is nowhere in the last of %u pictures", image, seconds,
		                watch->pictures);
	const uint8_t *is = difference->is, *should = difference->should;
	return ctl_fail("%s did not come within %g s: in the last of %u pictures %" PRIu64 " of %" PRIu64
	                " pixels differ, the first at %u,%u, which is #%02x%02x%02x and should be #%02x%02x%02x",
	                image, seconds, watch->pictures, difference->pixels, (uint64_t)part->width * part->height,
	                difference->x + watch->options->region.x, difference->y + watch->options->region.y, is[0], is[1], is[2],
	                should[0], should[1], should[2]);
}

/* CTL_OK with the place when it came. */
static int watch_for(struct watch *watch, const struct ctl_match *match, struct ctl_difference *difference)
{
	enum ctl_match_result result = CTL_MATCH_SIZE;

	for (;;) {
		enum seen seen = look(watch, UINT64_MAX);

		if (seen == SEEN_ERROR)
			return CTL_FAILED;
		if (seen == SEEN_NOTHING_NEW)
			return explain(watch, match, result, difference);
		if (!ctl_picture_part(&watch->seen, &watch->options->region, &watch->part))
			continue; /* the mode may change yet */
		result = ctl_match(match, &watch->part, difference);
		if (result == CTL_MATCH_YES)
			return CTL_OK;
	}
}

static struct ctl_match match_of(const struct ctl_options *options, const struct ctl_picture *wanted)
{
	uint64_t pixels = (uint64_t)wanted->width * wanted->height;

	return (struct ctl_match){
		.wanted = wanted,
		.anywhere = options->anywhere,
		.tolerance = (unsigned)options->tolerance,
		.differ = options->differ_in_percent ? pixels * (uint64_t)options->differ / 100 : (uint64_t)options->differ,
	};
}

/* With --anywhere: the middle of what was found, which is where one would click. */
static void print_found(const struct watch *watch, const struct ctl_match *match, const struct ctl_difference *difference,
                        int status)
{
	const struct ctl_picture *wanted = match->wanted;
	uint32_t left = difference->left + watch->options->region.x, top = difference->top + watch->options->region.y;
	bool place = match->anywhere && status == CTL_OK;

	if (watch->options->json) {
		printf("{\"ok\":%s,\"pictures\":%u", status ? "false" : "true", watch->pictures);
		if (place)
			printf(",\"x\":%u,\"y\":%u,\"width\":%u,\"height\":%u", left, top, wanted->width, wanted->height);
		puts("}");
	} else if (place) {
		printf("%u,%u\n", left + wanted->width / 2, top + wanted->height / 2);
	}
}

static void keep(const struct watch *watch)
{
	const char *path = watch->options->save;

	if (path && watch->seen.pixels && !ctl_picture_to_png(&watch->seen, path))
		fprintf(stderr, "vitrinectl: what was seen last is in %s\n", path);
}

static int wait_image(struct watch *watch)
{
	struct ctl_picture wanted = { 0 };
	struct ctl_difference difference = { 0 };
	int status = ctl_picture_from_png(&wanted, watch->options->image);

	if (!status) {
		struct ctl_match match = match_of(watch->options, &wanted);

		status = watch_for(watch, &match, &difference);
		if (status)
			keep(watch);
		print_found(watch, &match, &difference, status);
	}
	ctl_picture_finish(&wanted);
	return status;
}

/* ---- wait --still ---- */

static bool changed(const struct watch *watch, const struct ctl_picture *base)
{
	struct ctl_picture before, now;
	struct ctl_difference difference;

	if (!ctl_picture_part(base, &watch->options->region, &before) ||
	    !ctl_picture_part(&watch->seen, &watch->options->region, &now))
		return true;
	struct ctl_match match = match_of(watch->options, &before);
	return ctl_match(&match, &now, &difference) != CTL_MATCH_YES;
}

/* base is the last picture that was different; all later ones are compared with it. */
static int watch_still(struct watch *watch, struct ctl_picture *base)
{
	uint64_t still_ns = (uint64_t)watch->options->still_ms * 1000000, until = UINT64_MAX;

	for (;;) {
		enum seen seen = look(watch, until);
		uint64_t now = vtr_now_ns();

		if (seen == SEEN_ERROR)
			return CTL_FAILED;
		if (seen == SEEN_PICTURE && (!base->pixels || changed(watch, base))) {
			struct ctl_picture old = *base;

			*base = watch->seen;
			watch->seen = old;
			until = now + still_ns;
		}
		if (now >= until)
			break;
		if (now >= watch->deadline)
			return ctl_fail("the picture was never still for %g s within %g s", (double)watch->options->still_ms / 1000,
			                (double)watch->options->timeout_ms / 1000);
	}
	return ctl_picture_part(base, &watch->options->region, &watch->part) ? CTL_OK : outside(&watch->options->region, base);
}

static int wait_still(struct watch *watch)
{
	struct ctl_picture base = { 0 };
	int status = watch_still(watch, &base);

	if (watch->options->json)
		printf("{\"ok\":%s,\"pictures\":%u}\n", status ? "false" : "true", watch->pictures);
	ctl_picture_finish(&base);
	return status;
}

/* ---- wait ---- */

static int wait_frames(const struct ctl_options *options, int socket)
{
	json_t *request = json_pack("{s:s, s:I, s:I, s:I}", "command", "wait", "scanout", (json_int_t)options->scanout, "frames",
	                            (json_int_t)options->frames, "timeout_ms", (json_int_t)options->timeout_ms);

	return ctl_ask(options, socket, request, NULL);
}

int ctl_wait(const struct ctl_options *options, int socket)
{
	struct watch watch = {
		.options = options,
		.socket = socket,
		.deadline = vtr_now_ns() + (uint64_t)options->timeout_ms * 1000000,
		.after = -1,
	};

	if (options->frames >= 0)
		return wait_frames(options, socket);
	int status = options->image ? wait_image(&watch) : wait_still(&watch);
	ctl_picture_finish(&watch.seen);
	return status;
}
