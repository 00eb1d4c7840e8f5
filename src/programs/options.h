/* SPDX-License-Identifier: MIT */
#ifndef VTR_PROGRAMS_OPTIONS_H
#define VTR_PROGRAMS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vitrine/buffer.h>
#include <vitrine/display.h>
#include <vitrine/limits.h>
#include <vitrine/log.h>

/* vitrine's command line, checked. Strings point into argv. */
struct options {
	bool vhost_user;         /* the transport: vhost-user, or vfio-user */
	const char *socket_path; /* of the transport; NULL: socket_fd, which was inherited */
	int socket_fd;
	unsigned n_transports; /* given; 1 after parsing */
	const char *state;     /* file path; NULL: beside the socket where that is possible */
	bool no_state;         /* not there either */
	const char *display;
	const char *name; /* of the guest, or NULL */
	bool integer_scaling, fullscreen, tearing;
	bool hide;           /* closing a window takes its output away */
	const char *control; /* socket path, or NULL */
	const char *input;   /* beginning of socket paths, or NULL */
	struct {
		struct vtr_mode mode; /* all 0: that of its window */
		char name[32];
	} outputs[VTR_MAX_SCANOUTS];
	size_t n_outputs;
	size_t max_outputs;                       /* scanouts of the guest; 0: as many as are of use */
	const char *assign[VTR_MAX_VFIO_DEVICES]; /* as vtr_vfio_acquire() takes them */
	size_t n_assign;
	bool virgl;              /* 3D for the guest */
	bool isolate;            /* in a process of its own */
	const char *record;      /* file that it is recorded to, or NULL */
	const char *render_node; /* or NULL */
	enum vtr_path force_path;
	uint64_t max_hostmem;
	bool no_blob;
	enum vtr_log_level log_level;
};

/* 0: go on; otherwise exit with *status (help, version, or a mistake that was reported). */
int options_parse(struct options *options, int argc, char **argv, int *status);

#endif
