/* SPDX-License-Identifier: MIT */
/*
 * A module of weston: a seat with keyboard and pointer, which the headless backend lacks, and whose person is a test. Datagrams to
 * the socket "seat" in XDG_RUNTIME_DIR are what that person does, one thing each:
 *
 *     key CODE 0|1      button CODE 0|1      move X Y (pixels of the screen)      wheel STEPS (down)
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
void notify_key(struct weston_seat *seat, const struct timespec *time, uint32_t key, enum wl_keyboard_key_state state,
                enum weston_key_state_update update);
void notify_motion_absolute(struct weston_seat *seat, const struct timespec *time, struct weston_coord_global position);
void notify_button(struct weston_seat *seat, const struct timespec *time, int32_t button, enum wl_pointer_button_state state);
void notify_axis_source(struct weston_seat *seat, uint32_t source);
void notify_axis(struct weston_seat *seat, const struct timespec *time, struct weston_pointer_axis_event *event);
void notify_pointer_frame(struct weston_seat *seat);

WL_EXPORT int wet_module_init(struct weston_compositor *compositor, int *argc, char *argv[]);

struct person {
	struct weston_seat seat;
	struct wl_event_source *source;
	struct wl_listener gone;
	int socket;
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

static void act(struct person *person, const char *what)
{
	struct weston_coord_global position = { 0 };
	struct timespec now;
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
	struct wl_array no_keys;

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
	wl_array_init(&no_keys);
	notify_keyboard_focus_in(&person->seat, &no_keys, STATE_UPDATE_AUTOMATIC);
	person->source = wl_event_loop_add_fd(wl_display_get_event_loop(compositor->wl_display), person->socket, WL_EVENT_READABLE,
	                                      ready, person);
	person->gone.notify = gone;
	wl_signal_add(&compositor->destroy_signal, &person->gone);
	return 0;
}
