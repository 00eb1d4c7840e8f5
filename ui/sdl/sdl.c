/* SPDX-License-Identifier: MIT */
/*
 * Windows by SDL2: one per output.
 *
 * SDL is started, used and ended on the display's thread. Its events come through the window system's connection, which the loop
 * watches where SDL tells which fd that is; but libraries read that connection while they draw, too, so events are also pumped
 * after each picture, after whatever else was asked of SDL, and by a timer. Nothing in SDL is asked to wait: swapping is not
 * synchronised (a compositor shows no half-drawn windows anyway) and pictures are paced by a timer at the monitor's rate
 * (window.c). Should swapping block all the same - Mesa waits when a stopped compositor keeps all its buffers - only this thread
 * stands still, and the guest goes on.
 *
 * One OpenGL ES context serves all windows (gl.c); where there is none, pictures are drawn by pixman (software.c).
 */
#include "sdl.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <vitrine/log.h>

/* How often events are looked for without being told that there are any; where the connection is watched, and nothing is asked of
 * SDL, less and less often. */
enum { PUMP_MS = 10, PUMP_WATCHED_MS = 100, PUMP_IDLE_MS = 1600 };

static struct sdl_display *sdl_from(struct vtr_display *display)
{
	return (struct sdl_display *)display;
}

struct sdl_window *sdl_find_window(struct sdl_display *display, uint32_t id)
{
	for (size_t i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (display->windows[i] && SDL_GetWindowID(display->windows[i]->window) == id)
			return display->windows[i];
	return NULL;
}

/* ---- events ---- */

static void pump(void *data)
{
	struct sdl_display *display = data;
	unsigned next_ms = display->pump_ms < PUMP_IDLE_MS ? display->pump_ms * 2 : PUMP_IDLE_MS;
	SDL_Event event;

	while (sdl_alive(display) && SDL_PollEvent(&event)) {
		sdl_handle_event(display, &event);
		next_ms = PUMP_WATCHED_MS;
	}
	if (display->ended)
		return;
	display->pump_ms = next_ms;
	vtr_timer_arm(display->pump, vtr_now_ns() + UINT64_C(1000000) * (display->watch ? next_ms : PUMP_MS));
}

void sdl_pump_soon(struct sdl_display *display)
{
	display->pump_ms = PUMP_WATCHED_MS;
	vtr_timer_arm(display->pump, vtr_now_ns());
}

/* The same as sdl_alive() for what the device thread wants: SDL is asked something, and may read events over it. */
static bool use(struct sdl_display *display)
{
	bool alive = sdl_alive(display);

	if (alive)
		sdl_pump_soon(display);
	return alive;
}

void sdl_connection_lost(struct sdl_display *display)
{
	struct vtr_error error;

	if (display->ended)
		return;
	vtr_error_set(&error, VTR_ERROR_HOST, ECONNRESET, "the connection to the desktop was lost");
	display->ended = true;
	vtr_source_remove(display->watch);
	display->watch = NULL;
	vtr_display_failed(&display->base, &error);
}

bool sdl_alive(struct sdl_display *display)
{
	struct pollfd connection = { .fd = display->watch ? display->watched_fd : -1 };

	if (!display->ended && poll(&connection, 1, 0) > 0 && connection.revents & (POLLHUP | POLLERR))
		sdl_connection_lost(display);
	return !display->ended;
}

static void connection_ready(int fd, uint32_t events, void *data)
{
	struct sdl_display *display = data;

	if (events & (EPOLLHUP | EPOLLERR))
		sdl_connection_lost(display);
	else
		pump(display);
}

/* Every window has the same connection: the first one tells. */
static void watch_connection(struct sdl_display *display, SDL_Window *window)
{
	if (!display->watch)
		display->watched_fd = sdl_connection_fd(display, window);
	if (!display->watch && display->watched_fd >= 0)
		display->watch = vtr_loop_add_fd(display->base.loop, display->watched_fd, EPOLLIN, connection_ready, display);
	pump(display);
}

/* ---- the display ---- */

static void set_hints(void)
{
	SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
	SDL_SetHint(SDL_HINT_QUIT_ON_LAST_WINDOW_CLOSE, "0");
	SDL_SetHint(SDL_HINT_VIDEO_X11_FORCE_EGL, "1"); /* GLX cannot import dmabufs */
	SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
	SDL_SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
	SDL_SetHint(SDL_HINT_TOUCH_MOUSE_EVENTS, "0");
	SDL_SetHint(SDL_HINT_MOUSE_TOUCH_EVENTS, "0");
	SDL_SetHint(SDL_HINT_GRAB_KEYBOARD, "0"); /* not with the pointer: by itself */
	SDL_SetHint(SDL_HINT_APP_NAME, "Vitrine");
}

static int choose_renderer(struct sdl_display *display)
{
	struct vtr_error error = { 0 };

	display->renderer = &sdl_software_renderer;
	display->demand = VTR_DEMAND_PIXELS;
	if (display->options.renderer == VTR_RENDERER_SOFTWARE)
		return 0;
	if (sdl_gl_start(display, &error) < 0) {
		vtr_log(VTR_LOG_WARN, "sdl: no OpenGL, pictures are drawn by the processor: %s", error.text);
		return 0;
	}
	display->renderer = &sdl_gl_renderer;
	display->demand = display->caps.import || display->caps.textures ? VTR_DEMAND_DMABUF : VTR_DEMAND_PIXELS;
	vtr_log(VTR_LOG_INFO, "sdl: %s by %s, %s%s", (const char *)glGetString(GL_VERSION), (const char *)glGetString(GL_RENDERER),
	        display->caps.import ? "dmabufs are imported" : "dmabufs are not imported: ",
	        display->caps.import ? "" : display->caps.no_import.text);
	return 0;
}

static int start(struct vtr_display *base)
{
	struct sdl_display *display = sdl_from(base);

	set_hints();
	if (SDL_WasInit(SDL_INIT_VIDEO))
		return -EBUSY;
	if (SDL_InitSubSystem(SDL_INIT_VIDEO) < 0)
		return -ENODEV; /* SDL_GetError() is this thread's, see vtr_sdl_create() */
	SDL_EventState(SDL_DROPFILE, SDL_IGNORE);
	SDL_EventState(SDL_TEXTINPUT, SDL_IGNORE);
	SDL_StopTextInput();
	display->pump = vtr_loop_add_timer(base->loop, pump, display);
	display->pump_ms = PUMP_WATCHED_MS;
	return display->pump ? choose_renderer(display) : -ENOMEM;
}

static void stop(struct vtr_display *base)
{
	struct sdl_display *display = sdl_from(base);

	sdl_gl_stop(display);
	if (!display->ended) /* Xlib would end the program, connection.c */
		SDL_QuitSubSystem(SDL_INIT_VIDEO);
	SDL_TLSCleanup(); /* this thread is not SDL's */
}

static int attach(struct vtr_display *base, struct vtr_output *output)
{
	struct sdl_display *display = sdl_from(base);
	int error = sdl_window_open(display, output);

	if (!error)
		watch_connection(display, ((struct sdl_window *)vtr_output_user(output))->window);
	return error;
}

static void detach(struct vtr_display *base, struct vtr_output *output)
{
	sdl_window_close(vtr_output_user(output));
}

static void frame(struct vtr_display *base, struct vtr_output *output)
{
	sdl_window_frame(vtr_output_user(output));
}

static void cursor(struct vtr_display *base, struct vtr_output *output)
{
	if (use(sdl_from(base)))
		sdl_cursor_changed(vtr_output_user(output));
}

static void mode(struct vtr_display *base, struct vtr_output *output)
{
	if (use(sdl_from(base)))
		sdl_window_fit(vtr_output_user(output));
}

static void frozen(struct vtr_display *base, struct vtr_output *output)
{
	if (use(sdl_from(base)))
		sdl_window_set_title(vtr_output_user(output));
}

static void capture(struct vtr_display *base, struct vtr_output *output, struct vtr_capture *capture)
{
	if (use(sdl_from(base)))
		sdl_window_capture(vtr_output_user(output), capture);
	else
		vtr_capture_give_back(capture);
}

static bool accepts(struct vtr_display *base, const struct vtr_output *output, uint32_t format, uint64_t modifier,
                    struct vtr_error *error)
{
	struct sdl_display *display = sdl_from(base);

	if (display->renderer == &sdl_gl_renderer)
		return vtr_egl_accepts(&display->caps, format, modifier, error);
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "windows are drawn without OpenGL");
	return false;
}

/* Of the context that start() made: the renderer comes later, and draws with the same. */
static void *egl(const struct vtr_display *base)
{
	const struct sdl_display *display = (const struct sdl_display *)base;

	return display->renderer == &sdl_gl_renderer && display->caps.textures ? display->caps.display : NULL;
}

static bool accepts_texture(struct vtr_display *base, void *egl_display, struct vtr_error *error)
{
	struct sdl_display *display = sdl_from(base);

	if (display->renderer == &sdl_gl_renderer)
		return vtr_egl_accepts_texture(&display->caps, egl_display, error);
	vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EOPNOTSUPP, "windows are drawn without OpenGL");
	return false;
}

static void destroy(struct vtr_display *base)
{
	struct sdl_display *display = sdl_from(base);

	free((char *)display->options.guest);
	free(display);
}

static const struct vtr_display_impl impl = {
	.name = "sdl",
	.start = start,
	.stop = stop,
	.attach = attach,
	.detach = detach,
	.frame = frame,
	.cursor = cursor,
	.mode = mode,
	.frozen = frozen,
	.capture = capture,
	.accepts = accepts,
	.egl = egl,
	.accepts_texture = accepts_texture,
	.flips = true,
	.destroy = destroy,
};

struct vtr_display *vtr_sdl_create(const struct vtr_window_options *options, struct vtr_error *error)
{
	struct sdl_display *display = calloc(1, sizeof(*display));

	if (display)
		display->options = *options;
	if (display)
		display->options.guest = strdup(options->guest ? options->guest : "Vitrine");
	if (!display || !display->options.guest) {
		free(display);
		vtr_error_set(error, VTR_ERROR_HOST, ENOMEM, "out of memory");
		return NULL;
	}
	int code = vtr_display_init(&display->base, &impl);
	if (!code)
		return &display->base;
	if (code == -ENODEV)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, ENODEV,
		              "SDL finds no desktop: set DISPLAY or WAYLAND_DISPLAY, or use --display headless");
	else if (code == -EBUSY)
		vtr_error_set(error, VTR_ERROR_UNSUPPORTED, EBUSY,
		              "SDL is in use already, or has lost its desktop: windows need a new process, or --display wayland");
	else
		vtr_error_set(error, VTR_ERROR_HOST, -code, "SDL cannot be started: %s", strerror(-code));
	destroy(&display->base);
	return NULL;
}
