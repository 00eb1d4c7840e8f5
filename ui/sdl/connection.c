/* SPDX-License-Identifier: MIT */
/*
 * The connection to the window system, as far as SDL lets us at it. libwayland gives errors when the compositor dies, which SDL
 * ignores. Xlib ends the program when the X server does, unless two handlers are set: one of the process, and one of the
 * connection, whose functions do nothing from then on. SDL has a second connection that it does not show; it is used at the end
 * only, so after a loss SDL is not ended, and windows are forgotten without being destroyed, for which SDL would wait for ever.
 *
 * Where OpenGL's library has written to the connection last, Xlib's next request crashes on a dead one, which no handler prevents.
 * So the connection is looked at before SDL is called (sdl_alive()). What is left is a server that dies between the two.
 */
#include <SDL_syswm.h>
#include <wayland-client-core.h>

#include "sdl.h"

#ifdef SDL_VIDEO_DRIVER_X11
/* In place of one that ends the program. A connection of somebody else still ends it: by its own handler. */
static int x11_go_on(Display *connection)
{
	return 0;
}

static void x11_lost(Display *connection, void *data)
{
	sdl_connection_lost(data);
}
#endif

int sdl_connection_fd(struct sdl_display *display, SDL_Window *window)
{
	SDL_SysWMinfo info;

	SDL_VERSION(&info.version);
	if (!SDL_GetWindowWMInfo(window, &info))
		return -1;
#ifdef SDL_VIDEO_DRIVER_WAYLAND
	if (info.subsystem == SDL_SYSWM_WAYLAND)
		return wl_display_get_fd(info.info.wl.display);
#endif
#ifdef SDL_VIDEO_DRIVER_X11
	if (info.subsystem == SDL_SYSWM_X11) {
		XSetIOErrorHandler(x11_go_on);
		XSetIOErrorExitHandler(info.info.x11.display, x11_lost, display);
		return ConnectionNumber(info.info.x11.display);
	}
#endif
	return -1;
}
