/* SPDX-License-Identifier: MIT */
/*
 * A module of weston: a seat with keyboard, pointer and touch screen, which the headless backend lacks, and whose person is a test.
 * Datagrams to the socket "seat" in XDG_RUNTIME_DIR are what that person does, one thing each:
 *
 *     key CODE 0|1      button CODE 0|1      move X Y (pixels of the screen)      push DX DY      wheel STEPS (down)
 *     scroll RIGHT DOWN (pixels, on a touch pad)      touch FINGER X Y (down, or there now)      lift FINGER
 *     leave (the keyboard turns to nothing)      enter
 *
 * desktop.py compiles it against the kit's headers when it starts a compositor.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <libweston/libweston.h>

/* What libweston exports to backends, without a header that is installed. */
void weston_seat_init(struct weston_seat *seat, struct weston_compositor *compositor, const char *name);
int weston_seat_init_keyboard(struct weston_seat *seat, struct xkb_keymap *keymap);
int weston_seat_init_pointer(struct weston_seat *seat);
void weston_seat_release(struct weston_seat *seat);
void notify_keyboard_focus_in(struct weston_seat *seat, struct wl_array *keys, enum weston_key_state_update update);
void notify_keyboard_focus_out(struct weston_seat *seat);
void notify_key(struct weston_seat *seat, const struct timespec *time, uint32_t key, enum wl_keyboard_key_state state,
                enum weston_key_state_update update);
void notify_motion_absolute(struct weston_seat *seat, const struct timespec *time, struct weston_coord_global position);
void notify_motion(struct weston_seat *seat, const struct timespec *time, struct weston_pointer_motion_event *event);
void notify_button(struct weston_seat *seat, const struct timespec *time, int32_t button, enum wl_pointer_button_state state);
void notify_axis_source(struct weston_seat *seat, uint32_t source);
void notify_axis(struct weston_seat *seat, const struct timespec *time, struct weston_pointer_axis_event *event);
void notify_pointer_frame(struct weston_seat *seat);
int weston_seat_init_touch(struct weston_seat *seat);
struct weston_touch_device *weston_touch_create_touch_device(struct weston_touch *touch, const char *syspath, void *backend_data,
                                                             const struct weston_touch_device_ops *ops);
void weston_touch_device_destroy(struct weston_touch_device *device);
void notify_touch_normalized(struct weston_touch_device *device, const struct timespec *time, int finger,
                             const struct weston_coord_global *position, const void *normalized, int type);
void notify_touch_frame(struct weston_touch_device *device);

WL_EXPORT int wet_module_init(struct weston_compositor *compositor, int *argc, char *argv[]);

struct person {
	struct weston_seat seat;
	struct wl_event_source *source;
	struct wl_listener gone;
	int socket;
	struct weston_touch_device *screen;
	unsigned fingers; /* that are down: bits */
};

static void turn_wheel(struct person *person, const struct timespec *now, int steps)
{
	struct weston_pointer_axis_event event = {
		.axis = WL_POINTER_AXIS_VERTICAL_SCROLL, .value = steps * 15.0, .has_discrete = true, .discrete = steps
	};

	notify_axis_source(&person->seat, WL_POINTER_AXIS_SOURCE_WHEEL);
	notify_axis(&person->seat, now, &event);
	notify_pointer_frame(&person->seat);
}

static void push(struct person *person, const struct timespec *now, const double pixels[2])
{
	struct weston_pointer_motion_event event = { .mask = WESTON_POINTER_MOTION_REL | WESTON_POINTER_MOTION_REL_UNACCEL };

	event.rel.x = event.rel_unaccel.x = pixels[0];
	event.rel.y = event.rel_unaccel.y = pixels[1];
	notify_motion(&person->seat, now, &event);
	notify_pointer_frame(&person->seat);
}

static void scroll(struct person *person, const struct timespec *now, const double pixels[2])
{
	notify_axis_source(&person->seat, WL_POINTER_AXIS_SOURCE_FINGER);
	for (int i = 0; i < 2; i++) {
		struct weston_pointer_axis_event event = { .axis = i ? WL_POINTER_AXIS_VERTICAL_SCROLL
			                                             : WL_POINTER_AXIS_HORIZONTAL_SCROLL,
			                                   .value = pixels[i] };

		if (pixels[i])
			notify_axis(&person->seat, now, &event);
	}
	notify_pointer_frame(&person->seat);
}

/* position NULL: lifted */
static void touch(struct person *person, const struct timespec *now, int finger, const struct weston_coord_global *position)
{
	unsigned bit = 1u << finger % 32;
	int type = !position ? WL_TOUCH_UP : person->fingers & bit ? WL_TOUCH_MOTION : WL_TOUCH_DOWN;

	person->fingers = position ? person->fingers | bit : person->fingers & ~bit;
	notify_touch_normalized(person->screen, now, finger, position, NULL, type);
	notify_touch_frame(person->screen);
}

static void focus(struct person *person, bool in)
{
	struct wl_array no_keys;

	wl_array_init(&no_keys);
	if (in)
		notify_keyboard_focus_in(&person->seat, &no_keys, STATE_UPDATE_AUTOMATIC);
	else
		notify_keyboard_focus_out(&person->seat);
}

static void act(struct person *person, const char *what)
{
	struct weston_coord_global position = { 0 };
	struct timespec now;
	double pixels[2];
	int code, state, x, y;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (sscanf(what, "key %d %d", &code, &state) == 2) {
		notify_key(&person->seat, &now, (uint32_t)code, (enum wl_keyboard_key_state)state, STATE_UPDATE_AUTOMATIC);
	} else if (sscanf(what, "button %d %d", &code, &state) == 2) {
		notify_button(&person->seat, &now, code, (enum wl_pointer_button_state)state);
		notify_pointer_frame(&person->seat);
	} else if (sscanf(what, "move %d %d", &x, &y) == 2) {
		position.c.x = x;
		position.c.y = y;
		notify_motion_absolute(&person->seat, &now, position);
		notify_pointer_frame(&person->seat);
	} else if (sscanf(what, "wheel %d", &x) == 1) {
		turn_wheel(person, &now, x);
	} else if (sscanf(what, "push %lf %lf", &pixels[0], &pixels[1]) == 2) {
		push(person, &now, pixels);
	} else if (sscanf(what, "scroll %lf %lf", &pixels[0], &pixels[1]) == 2) {
		scroll(person, &now, pixels);
	} else if (sscanf(what, "touch %d %d %d", &code, &x, &y) == 3) {
		position.c.x = x;
		position.c.y = y;
		touch(person, &now, code, &position);
	} else if (sscanf(what, "lift %d", &code) == 1) {
		touch(person, &now, code, NULL);
	} else if (!strcmp(what, "leave") || !strcmp(what, "enter")) {
		focus(person, *what == 'e');
	} else {
		weston_log("vitrine seat: nobody can do '%s'\n", what);
	}
}

static int ready(int fd, uint32_t mask, void *data)
{
	char what[64];
	ssize_t length = recv(fd, what, sizeof(what) - 1, MSG_DONTWAIT);

	if (length > 0) {
		what[length] = '\0';
		act(data, what);
	}
	return 0;
}

static void gone(struct wl_listener *listener, void *data)
{
	struct person *person = wl_container_of(listener, person, gone);

	wl_event_source_remove(person->source);
	close(person->socket);
	weston_touch_device_destroy(person->screen);
	weston_seat_release(&person->seat);
	free(person);
}

static int listen_at(const char *directory)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/seat", directory);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	weston_log("vitrine seat: %s: %m\n", address.sun_path);
	if (fd >= 0)
		close(fd);
	return -1;
}

int wet_module_init(struct weston_compositor *compositor, int *argc, char *argv[])
{
	struct person *person = calloc(1, sizeof(*person));

	if (!person)
		return -1;
	person->socket = listen_at(getenv("XDG_RUNTIME_DIR"));
	if (person->socket < 0) {
		free(person);
		return -1;
	}
	weston_seat_init(&person->seat, compositor, "test");
	weston_seat_init_keyboard(&person->seat, NULL);
	weston_seat_init_pointer(&person->seat);
	weston_seat_init_touch(&person->seat);
	person->screen = weston_touch_create_touch_device(weston_seat_get_touch(&person->seat), "/test", NULL, NULL);
	focus(person, true);
	person->source = wl_event_loop_add_fd(wl_display_get_event_loop(compositor->wl_display), person->socket, WL_EVENT_READABLE,
	                                      ready, person);
	person->gone.notify = gone;
	wl_signal_add(&compositor->destroy_signal, &person->gone);
	return 0;
}
