/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the GPU. A picture that was drawn from the guest's memory is not done when the window was swapped, but when the GPU
 * has read that memory: only then may the guest hear of it, as it draws into the buffer of the picture before, or into the same
 * one.
 *
 *     idle --paint--> drawing --the GPU is done--> idle
 *                        \--it is not for DRAWING_NS: given up--> idle
 *
 * While a window is drawing nothing else is painted or let go in it, so a fence always stands for all that its buffers are used
 * for; frames wait in their queue, where the newest wins. Most drivers are done at once or say it by an fd; others are asked again
 * in a moment. The guest waits for none of this longer than the device lets it.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "sdl.h"

#define POLL_NS UINT64_C(1000000)
#define DRAWING_NS UINT64_C(1000000000) /* far more than a picture takes: the GPU hangs */

static void done(struct sdl_window *window)
{
	struct sdl_drawing *drawing = &window->drawing;
	struct vtr_frame *frame = drawing->frame;

	vtr_source_remove(drawing->source);
	if (drawing->fd >= 0)
		close(drawing->fd);
	vtr_timer_arm(drawing->timer, 0);
	drawing->source = NULL;
	drawing->fd = -1;
	drawing->frame = NULL;
	drawing->active = false;
	sdl_window_drawn(window, frame);
}

/* False when the GPU needs more time, which it has. */
static bool finished(struct sdl_window *window, uint64_t timeout_ns)
{
	if (window->display->renderer->finished(window, timeout_ns))
		return true;
	if (vtr_now_ns() < window->drawing.end_ns)
		return false;
	vtr_log_limited(&window->log, VTR_LOG_WARN, "sdl: output %s: the GPU has not drawn a picture in %u ms: it goes on without",
	                vtr_output_name(window->output), (unsigned)(DRAWING_NS / 1000000));
	return true;
}

static void ask_later(struct sdl_window *window)
{
	const struct sdl_drawing *drawing = &window->drawing;

	vtr_timer_arm(drawing->timer, drawing->source ? drawing->end_ns : vtr_now_ns() + POLL_NS);
}

static void ask(struct sdl_window *window)
{
	if (!sdl_alive(window->display))
		return; /* it is closed soon */
	if (finished(window, 0))
		done(window);
	else
		ask_later(window);
}

static void timer_fired(void *data)
{
	ask(data);
}

static void fd_ready(int fd, uint32_t events, void *data)
{
	struct sdl_window *window = data;

	vtr_source_remove(window->drawing.source); /* should the fence say something else, it is asked again */
	window->drawing.source = NULL;
	ask(window);
}

int sdl_drawing_init(struct sdl_window *window)
{
	window->drawing = (struct sdl_drawing){ .fd = -1 };
	window->drawing.timer = vtr_loop_add_timer(window->display->base.loop, timer_fired, window);
	return window->drawing.timer ? 0 : -ENOMEM;
}

void sdl_drawing_begin(struct sdl_window *window, struct vtr_frame *frame)
{
	struct sdl_drawing *drawing = &window->drawing;

	drawing->active = true;
	drawing->frame = frame;
	drawing->end_ns = vtr_now_ns() + DRAWING_NS;
	if (finished(window, 0)) {
		done(window);
		return;
	}
	drawing->fd = window->display->renderer->finished_fd(window);
	if (drawing->fd >= 0)
		drawing->source = vtr_loop_add_fd(window->display->base.loop, drawing->fd, EPOLLIN, fd_ready, window);
	ask_later(window);
}

void sdl_drawing_wait(struct sdl_window *window)
{
	uint64_t now = vtr_now_ns(), end = window->drawing.end_ns;

	if (!window->drawing.active)
		return;
	finished(window, end > now ? end - now : 0);
	done(window);
}

void sdl_drawing_finish(struct sdl_window *window)
{
	struct sdl_drawing *drawing = &window->drawing;

	vtr_source_remove(drawing->source);
	vtr_source_remove(drawing->timer);
	if (drawing->fd >= 0)
		close(drawing->fd);
	if (drawing->frame)
		vtr_frame_finish(drawing->frame, 0);
}
