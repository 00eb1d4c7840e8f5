/* SPDX-License-Identifier: MIT */
/* vitrine: the device as a program. Puts the library's parts together in the order of the way of a frame. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <vitrine/control.h>
#include <vitrine/display.h>
#include <vitrine/gpu.h>
#include <vitrine/input.h>
#include <vitrine/log.h>
#include <vitrine/loop.h>
#include <vitrine/memory.h>
#include <vitrine/renderer.h>
#include <vitrine/transport.h>
#include <vitrine/vfio.h>

#include "displays.h"
#include "options.h"
#include "vitrine-version.h"

enum { PCI_CLASS_DISPLAY_OTHER = 0x038000 };

struct vitrine {
	struct vtr_loop *loop;
	struct vtr_memory *memory;
	struct vtr_vfio_assigned *assigned;
	struct displays displays;
	bool hide;          /* a closed window takes its output away, and does not end the program */
	atomic_uint closed; /* bit per output: its window was closed */
	struct vtr_source *window_closed;
	struct vtr_outputs *outputs;
	struct vtr_renderer *renderer; /* NULL without --3d */
	bool warned;                   /* of 3D and an assigned device */
	struct vtr_gpu *gpu;
	struct vtr_vfio_user_server *vfio_user;   /* one of the two */
	struct vtr_vhost_user_server *vhost_user; /* transports */
	struct vtr_input *input;                  /* NULL without --input */
	struct vtr_vfio_user_server *input_servers[VTR_INPUT_KINDS];
	struct vtr_control *control;
	char transport[128];
};

static void quit(void *data)
{
	vtr_loop_stop(((struct vitrine *)data)->loop);
}

static int failed(const char *what, const char *remedy)
{
	int error = errno ? errno : EIO;

	vtr_log(VTR_LOG_ERROR, "%s: %s%s%s", what, strerror(error), *remedy ? "; " : "", remedy);
	return -error;
}

/* For the control socket. */
static struct vtr_display *open_display(const char *name, struct vtr_error *error, void *data)
{
	struct vitrine *vitrine = data;

	return displays_open(&vitrine->displays, name ? name : vitrine->displays.first, error);
}

/* On a display's thread. */
static void window_closed(unsigned output, void *data)
{
	struct vitrine *vitrine = data;

	atomic_fetch_or(&vitrine->closed, 1u << output);
	vtr_event_raise(vitrine->window_closed);
}

/* The output of a hidden window is headless until 'vitrinectl output move' brings it back. */
static void handle_closed(void *data)
{
	struct vitrine *vitrine = data;
	unsigned closed = atomic_exchange(&vitrine->closed, 0);
	struct vtr_error error;

	if (!vitrine->hide) {
		quit(vitrine);
		return;
	}
	for (unsigned i = 0; i < VTR_MAX_SCANOUTS; i++)
		if (closed & 1u << i)
			vtr_output_move(vtr_outputs_get(vitrine->outputs, i),
			                displays_open(&vitrine->displays, "headless", &error));
}

static int start_outputs(struct vitrine *vitrine, const struct options *options)
{
	vitrine->outputs = vtr_outputs_create();
	if (!vitrine->outputs)
		return failed("cannot start the display", "");
	if (!options->input)
		return 0;
	vitrine->input = vtr_input_create(vitrine->loop, vitrine->outputs);
	return vitrine->input ? 0 : failed("cannot create the input devices", "");
}

static int start_display(struct vitrine *vitrine, const struct options *options)
{
	struct vtr_error error;

	vitrine->hide = options->hide;
	vitrine->window_closed = vtr_loop_add_event(vitrine->loop, handle_closed, vitrine);
	if (!vitrine->window_closed)
		return failed("cannot start the display", "");
	vitrine->displays.window = (struct vtr_window_options){
		.guest = options->name,
		.integer_scaling = options->integer_scaling,
		.fullscreen = options->fullscreen,
		.tearing = options->tearing,
		.input = vitrine->input,
		.closed = window_closed,
		.data = vitrine,
	};
	if (!displays_start(&vitrine->displays, options, vitrine->outputs, &error))
		return 0;
	vtr_log(VTR_LOG_ERROR, "--display %s: %s", options->display, error.text);
	return -error.code;
}

/* The GPU that was named draws; else the one of a display that lends its EGLDisplay (sdl), which then shows what was drawn as it
 * is; else the first that EGL has. */
static int start_renderer(struct vitrine *vitrine, const struct options *options)
{
	struct vtr_error error;
	struct vtr_renderer_options renderer = {
		.render_node = options->render_node,
		.isolate = options->isolate,
		.max_hostmem = options->max_hostmem ? options->max_hostmem : VTR_DEFAULT_MAX_HOSTMEM,
	};

	if (!options->virgl) {
		if (options->render_node) /* not a mistake to end for: libvirt gives it to every back-end that knows it */
			vtr_log(VTR_LOG_WARN, "--render-node %s: nothing is drawn there without 3D: give --3d virgl as well",
			        options->render_node);
		return 0;
	}
	if (!options->isolate && !options->render_node)
		renderer.egl_display = displays_lend_egl(&vitrine->displays);
	vitrine->renderer = vtr_virgl_create(vitrine->loop, &renderer, &error);
	if (!vitrine->renderer && renderer.egl_display) {
		vtr_log(VTR_LOG_WARN, "3D cannot use the display's OpenGL, so it is not shown without a copy: %s", error.text);
		renderer.egl_display = NULL;
		vitrine->renderer = vtr_virgl_create(vitrine->loop, &renderer, &error);
	}
	if (vitrine->renderer && options->record)
		vitrine->renderer = vtr_renderer_record(vitrine->renderer, options->record, &error);
	if (!vitrine->renderer) {
		vtr_log(VTR_LOG_ERROR, "--3d virgl: %s", error.text);
		return -error.code;
	}
	vtr_log(VTR_LOG_INFO, "3D: %s", vtr_renderer_description(vitrine->renderer));
	return 0;
}

static void warn_of_devices(struct vitrine *vitrine)
{
	if (!vitrine->renderer || vitrine->warned)
		return;
	vitrine->warned = true;
	vtr_log(VTR_LOG_WARN,
	        "3D and an assigned device: a Linux guest that is offered 3D (VIRGL) does not import the dmabufs of its "
	        "assigned devices, so their frames are not shown here; give the VM two devices: one vitrine with "
	        "--assign, one with --3d");
}

static void devices_changed(void *data)
{
	struct vitrine *vitrine = data;

	if (vtr_vfio_devices_get(vtr_vfio_assigned_devices(vitrine->assigned), 0))
		warn_of_devices(vitrine);
	vtr_gpu_devices_changed(vitrine->gpu);
}

static void vmm_left(void *data)
{
	struct vitrine *vitrine = data;

	vtr_vfio_assigned_vmm_left(vitrine->assigned);
	displays_vmm_left(&vitrine->displays);
}

static int assign(struct vitrine *vitrine, const char *text)
{
	struct vtr_error error;

	if (vtr_vfio_assigned_acquire(vitrine->assigned, text, &error) >= 0)
		return 0;
	bool early = !strncmp(text, "pid=", 4) && error.code == ESRCH;
	vtr_log(VTR_LOG_ERROR, "--assign %s: %s%s%s", text, error.text,
	        early ? "; once the VMM runs and has the device: vitrinectl assign " : "", early ? text : "");
	return -error.code;
}

static int start_device(struct vitrine *vitrine, const struct options *options)
{
	struct vtr_gpu_options gpu = {
		.max_hostmem = options->max_hostmem,
		.force_path = options->force_path,
		.no_blob = options->no_blob,
		.renderer = vitrine->renderer,
	};

	vitrine->memory = vtr_memory_create();
	if (vitrine->memory)
		vitrine->assigned = vtr_vfio_assigned_create(vitrine->loop, vitrine->memory);
	if (!vitrine->assigned)
		return failed("cannot create the device", "");
	gpu.devices = vtr_vfio_assigned_devices(vitrine->assigned);
	vitrine->gpu = vtr_gpu_create(vitrine->loop, vitrine->memory, vitrine->outputs, &gpu);
	if (!vitrine->gpu)
		return failed("cannot create the device", "");
	vtr_vfio_assigned_on_change(vitrine->assigned, devices_changed, vitrine);
	if (options->n_assign)
		warn_of_devices(vitrine);
	for (size_t i = 0; i < options->n_assign; i++) {
		int error = assign(vitrine, options->assign[i]);

		if (error)
			return error;
	}
	return 0;
}

static int serve_vfio_user(struct vitrine *vitrine, const struct options *options)
{
	vitrine->vfio_user = vtr_vfio_user_server_create(vitrine->loop, options->socket_path, options->socket_fd,
	                                                 vtr_gpu_virtio(vitrine->gpu), PCI_CLASS_DISPLAY_OTHER, vitrine->memory);
	if (!vitrine->vfio_user)
		return -errno;
	vtr_vfio_user_server_on_end(vitrine->vfio_user, quit, vitrine);
	vtr_vfio_user_server_on_leave(vitrine->vfio_user, vmm_left, vitrine);
	return 0;
}

static int take_display_socket(int fd, void *data)
{
	return displays_take_vmm(&((struct vitrine *)data)->displays, fd);
}

/* A file that was asked for has to be there; the other one is where it can be. */
static int keep_state(struct vitrine *vitrine, const struct options *options)
{
	struct vtr_error error;

	if (options->no_state || !vtr_vhost_user_server_keep_state(vitrine->vhost_user, options->state, &error))
		return 0;
	if (options->state) {
		vtr_log(VTR_LOG_ERROR, "--state: %s", error.text);
		return -error.code;
	}
	vtr_log(error.owner == VTR_ERROR_UNSUPPORTED ? VTR_LOG_DEBUG : VTR_LOG_WARN,
	        "nothing is kept for a restart under a guest: %s", error.text);
	return 0;
}

/* For tests (docs/testing.md): a back-end of less than we have. */
static int withhold_features(struct vitrine *vitrine)
{
	const char *names = getenv("VITRINE_VHOST_USER_WITHOUT");
	uint64_t features;

	if (!names || !*names)
		return 0;
	if (!vtr_vhost_user_protocol_features_parse(names, &features)) {
		vtr_log(VTR_LOG_ERROR, "VITRINE_VHOST_USER_WITHOUT=%s: no such protocol features", names);
		return -EINVAL;
	}
	vtr_vhost_user_server_withhold(vitrine->vhost_user, features);
	return 0;
}

static int serve_vhost_user(struct vitrine *vitrine, const struct options *options)
{
	vitrine->vhost_user = vtr_vhost_user_server_create(vitrine->loop, options->socket_path, options->socket_fd,
	                                                   vtr_gpu_virtio(vitrine->gpu), vitrine->memory);
	if (!vitrine->vhost_user)
		return -errno;
	vtr_vhost_user_server_on_end(vitrine->vhost_user, quit, vitrine);
	vtr_vhost_user_server_on_leave(vitrine->vhost_user, vmm_left, vitrine);
	vtr_vhost_user_server_on_gpu_socket(vitrine->vhost_user, take_display_socket, vitrine);
	int error = withhold_features(vitrine);
	return error ? error : keep_state(vitrine, options);
}

static int start_transport(struct vitrine *vitrine, const struct options *options)
{
	const char *protocol = options->vhost_user ? "vhost-user" : "vfio-user";

	if (options->socket_path)
		snprintf(vitrine->transport, sizeof(vitrine->transport), "%s %s", protocol, options->socket_path);
	else
		snprintf(vitrine->transport, sizeof(vitrine->transport), "%s fd %d", protocol, options->socket_fd);
	int error = options->vhost_user ? serve_vhost_user(vitrine, options) : serve_vfio_user(vitrine, options);
	errno = -error;
	return error ? failed(vitrine->transport,
	                      error == -EADDRINUSE ? "another vitrine serves this socket: end it, or use another path" : "")
	             : 0;
}

/* Each input device is a function of its own: a VMM takes those it wants, and each gets a memory map of its own. */
static int start_input(struct vitrine *vitrine, const struct options *options)
{
	char path[128];

	for (unsigned kind = 0; options->input && kind < VTR_INPUT_KINDS; kind++) {
		int length = snprintf(path, sizeof(path), "%s.%s", options->input, vtr_input_kind_name(kind));

		errno = ENAMETOOLONG;
		if (length < (int)sizeof(path))
			vitrine->input_servers[kind] =
				vtr_vfio_user_server_create(vitrine->loop, path, -1, vtr_input_virtio(vitrine->input, kind),
			                                    vtr_input_class_code(kind), vtr_input_memory(vitrine->input, kind));
		if (!vitrine->input_servers[kind])
			return failed(path,
			              errno == EADDRINUSE ? "another vitrine serves this socket: end it, or use another path" : "");
	}
	return 0;
}

static int start_control(struct vitrine *vitrine, const struct options *options)
{
	struct vtr_control_subject subject = {
		.gpu = vitrine->gpu,
		.memory = vitrine->memory,
		.outputs = vitrine->outputs,
		.assigned = vitrine->assigned,
		.vfio_user = vitrine->vfio_user,
		.vhost_user = vitrine->vhost_user,
		.input = vitrine->input,
		.renderer = vitrine->renderer,
		.transport = vitrine->transport,
		.display = open_display,
		.quit = quit,
		.data = vitrine,
	};

	if (!options->control)
		return 0;
	vitrine->control = vtr_control_create(vitrine->loop, options->control, &subject);
	if (!vitrine->control)
		return failed(options->control,
		              errno == EADDRINUSE ? "another vitrine has this control socket: end it, or use another path" : "");
	return 0;
}

static int start(struct vitrine *vitrine, const struct options *options)
{
	vitrine->loop = vtr_loop_create();
	if (!vitrine->loop || !vtr_loop_add_signal(vitrine->loop, SIGTERM, quit, vitrine) ||
	    !vtr_loop_add_signal(vitrine->loop, SIGINT, quit, vitrine))
		return failed("cannot start the event loop", "");
	int error = start_outputs(vitrine, options);

	if (!error)
		error = start_display(vitrine, options);
	if (!error)
		error = start_renderer(vitrine, options);
	if (!error)
		error = start_device(vitrine, options);
	if (!error)
		error = start_transport(vitrine, options);
	if (!error)
		error = start_input(vitrine, options);
	if (!error)
		error = start_control(vitrine, options);
	return error;
}

static void stop(struct vitrine *vitrine)
{
	vtr_control_destroy(vitrine->control);
	for (unsigned kind = 0; kind < VTR_INPUT_KINDS; kind++)
		vtr_vfio_user_server_destroy(vitrine->input_servers[kind]);
	vtr_vhost_user_server_destroy(vitrine->vhost_user);
	vtr_vfio_user_server_destroy(vitrine->vfio_user);
	vtr_gpu_destroy(vitrine->gpu);
	vtr_renderer_destroy(vitrine->renderer);
	vtr_vfio_assigned_destroy(vitrine->assigned);
	vtr_memory_destroy(vitrine->memory);
	displays_close(&vitrine->displays);
	vtr_input_destroy(vitrine->input);
	vtr_outputs_destroy(vitrine->outputs);
	vtr_loop_destroy(vitrine->loop);
}

/* Guest memory comes as fds, up to VTR_MAX_REGIONS of them; the usual limit is 1024, for the sake of programs that call select().
 */
static void raise_fd_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char **argv)
{
	struct vitrine vitrine = { 0 };
	struct options options;
	int status;

	if (options_parse(&options, argc, argv, &status) < 0)
		return status;
	vtr_log_set_level(options.log_level);
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	int error = start(&vitrine, &options);
	if (!error) {
		vtr_log(VTR_LOG_INFO, "vitrine " VTR_VERSION ": serving %s, display %s", vitrine.transport, vitrine.displays.first);
		error = vtr_loop_run(vitrine.loop);
	}
	stop(&vitrine);
	return error ? 1 : 0;
}
