/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UI_MOCK_SESSION_H
#define TESTS_UI_MOCK_SESSION_H

/* A Wayland display with one output, and the mock compositor that it is a client of, on the test's thread. */
#include <pthread.h>

#include <vitrine/log.h>

#include "mock_compositor.h"
#include "window_scanout.h"

enum { WIDTH = 320, HEIGHT = 200, PATIENCE_SECONDS = 60 };

/* Presented as scanned out; linux-dmabuf's feedback flags and the others are not of interest. */
enum { ZERO_COPY = 8 };

struct session {
	struct mock mock;
	struct scanout scanout;
	struct vtr_display *headless;
	uint64_t end; /* by then it is over, or it hangs */
};

static char log_text[65536];

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* not GLib's: TSan does not see those */

static inline void keep_log(enum vtr_log_level level, const char *text, void *data)
{
	pthread_mutex_lock(&log_lock);
	g_strlcat(log_text, text, sizeof(log_text));
	pthread_mutex_unlock(&log_lock);
}

static inline bool logged(const char *text)
{
	pthread_mutex_lock(&log_lock);
	bool found = strstr(log_text, text);
	pthread_mutex_unlock(&log_lock);
	return found;
}

/* ---- a session ---- */

struct creation {
	const struct mock *mock;
	bool fullscreen, tearing;
	gint done;
};

static inline gpointer create_display(gpointer data)
{
	struct creation *creation = data;
	struct vtr_window_options options = { .guest = "test", .fullscreen = creation->fullscreen, .tearing = creation->tearing };
	struct vtr_error error = { 0 };
	struct vtr_display *display = vtr_wayland_create(creation->mock->socket, &options, &error);

	if (!display)
		g_error("%s", error.text);
	g_atomic_int_set(&creation->done, 1);
	return display;
}

static inline void dispatch_mock(void *data)
{
	mock_dispatch(data, 0);
}

/* Of a loop that waits for something. */
static inline void step(struct session *session)
{
	struct vtr_event event;

	g_assert_cmpuint(vtr_now_ns(), <, session->end);
	mock_dispatch(&session->mock, 2);
	while (vtr_outputs_next_event(session->scanout.outputs, &event))
		scanout_handle(&session->scanout, &event);
}

/* Whatever is under way has arrived. */
static inline void settle(struct session *session)
{
	for (int i = 0; i < 50; i++)
		step(session);
}

static inline void start(struct session *session, const struct mock_options *options)
{
	struct mock *mock = &session->mock;

	*session = (struct session){ .end = vtr_now_ns() + PATIENCE_SECONDS * UINT64_C(1000000000) };
	mock_start(mock, options);
	struct creation creation = { .mock = mock, .fullscreen = options->n_monitors, .tearing = options->tearing };
	GThread *creator = g_thread_new("creator", create_display, &creation); /* it waits for the compositor, which is us */
	while (!g_atomic_int_get(&creation.done))
		mock_dispatch(mock, 5);
	scanout_init(&session->scanout, g_thread_join(creator), WIDTH, HEIGHT);
	session->scanout.idle = dispatch_mock;
	session->scanout.idle_data = mock;
	scanout_run_until(&session->scanout, &session->scanout.needed, 1);
	scanout_new_buffer(&session->scanout, 0);
	scanout_draw(&session->scanout, 1);
}

static inline void finish(struct session *session)
{
	struct vtr_display *display = session->scanout.display;

	vtr_display_destroy(display);
	vtr_display_destroy(session->headless);
	session->scanout.display = NULL;
	scanout_finish(&session->scanout);
	mock_finish(&session->mock);
	log_text[0] = '\0';
}

static inline bool shows_pixels(const struct session *session)
{
	return session->mock.pixels && (session->mock.pixels[5] & 0xffffff) == scanout_color(5, 0, session->scanout.seed);
}

/* New memory for the scanout; the last one stays where the caller has it. */
static inline struct vtr_buffer *another_buffer(struct session *session)
{
	struct vtr_buffer *last = session->scanout.buffer;

	session->scanout.buffer = NULL;
	scanout_new_buffer(&session->scanout, 0);
	return last;
}

static const struct mock_options plain = { .dmabuf_version = 3 };

/* ---- programs ---- */

/* Before all tests; the result is for session_run_tests(). */
static inline char *session_init(int *argc, char ***argv)
{
	char *directory = g_dir_make_tmp("vitrine-mock-XXXXXX", NULL);

	g_test_init(argc, argv, NULL);
	g_setenv("XDG_RUNTIME_DIR", directory, true);
	vtr_log_set_handler(keep_log, NULL);
	return directory;
}

static inline int session_run_tests(const char *directory)
{
	int failed = g_test_run();

	rmdir(directory);
	return failed;
}

#endif
