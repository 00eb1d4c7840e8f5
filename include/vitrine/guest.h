/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_GUEST_H
#define VITRINE_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <vitrine/api.h>
#include <vitrine/error.h>

/*
 * A guest in user space: the far end of a virtio-gpu device, for tests, conformance and benchmarks. It is a client of the device's
 * vfio-user socket, gives it memory, and drives the PCI function it finds there as an operating system would (virtio 1.3, 4.1 and
 * 5.7); or it is the front-end of a vhost-user device, VMM and guest in one. Nothing here trusts the device: every wait ends, every
 * number it gives is checked.
 *
 * Not thread safe: one guest, one thread.
 */
struct vtr_guest;

/* Kinds of memory that a guest has, as the device gets to know them. The last one is there over vfio-user only. */
enum vtr_guest_memory {
	VTR_GUEST_SYSTEM, /* RAM for rings and commands: always there */
	VTR_GUEST_RAM,    /* RAM for pictures: a sealed memfd */
	VTR_GUEST_BAR,    /* the BAR of an assigned device, high up: a memfd that plays one, or options.assign */
	VTR_GUEST_REMOTE, /* memory without an fd: the device has to ask for its bytes */
	VTR_GUEST_MEMORY_COUNT,
};

/* "system", "ram", "bar", "remote". */
VTR_API const char *vtr_guest_memory_name(enum vtr_guest_memory kind);
/* 0 or -EINVAL, *kind left alone. "system" is not a choice. */
VTR_API int vtr_guest_memory_from_name(const char *name, enum vtr_guest_memory *kind);

struct vtr_guest_options {
	const char *vfio_user;  /* path of the device's socket; or else */
	const char *vhost_user; /* path of its socket as a vhost-user back-end */
	bool iommu;             /* with vhost_user: addresses are IOVAs, which the device asks for (ACCESS_PLATFORM) */
	bool display_socket;    /* with vhost_user: give it a display socket, as QEMU's vhost-user-gpu does */
	uint64_t without;       /* with vhost_user: protocol features to do without */
	const char *control;    /* path of its control socket, for what is shown; may be NULL */
	const char *assign; /* "vfio-user=PATH": a device that is assigned to the guest; its BAR is VTR_GUEST_BAR; may be NULL */
	const char *input;  /* beginning of the paths of its input devices' sockets, as vitrine --input; may be NULL */
	int timeout_ms;     /* of every single wait; 0: 10 seconds */
	uint32_t pid;       /* of the device, for CPU time and memory; 0: whoever listens on the socket */
};

/* Connects, gives the device all memory and, over vfio-user, reads the PCI function. NULL with *error (may be NULL) filled. */
VTR_API struct vtr_guest *vtr_guest_open(const struct vtr_guest_options *options, struct vtr_error *error);
VTR_API void vtr_guest_close(struct vtr_guest *guest); /* NULL is fine */

/* Resets the device, negotiates `features` of those that the device offers (VERSION_1 always), sets up the queues and goes to
 * DRIVER_OK (virtio 1.3, 3.1.1). 0 or -errno: EPROTO (the device broke the rules), ETIMEDOUT, ENOTCONN, ... */
VTR_API int vtr_guest_start(struct vtr_guest *guest, uint64_t features);
VTR_API uint64_t vtr_guest_features(const struct vtr_guest *guest); /* negotiated */
/* Resets the device and waits until it says so. 0 or -errno. */
VTR_API int vtr_guest_stop(struct vtr_guest *guest);

/* Sends one control command and waits for its answer, at most the time-out. request begins with struct virtio_gpu_ctrl_hdr. Bytes
 * of response that the device did not write are 0. Returns the number of bytes written or -errno. */
VTR_API long vtr_guest_command(struct vtr_guest *guest, const void *request, size_t request_size, void *response,
                               size_t response_size);

/* What the last failure was, a sentence; valid until the next call. */
VTR_API const char *vtr_guest_error(const struct vtr_guest *guest);

/*
 * The runners: what `vitrine-guest` does. Each opens a guest of its own, writes for people (or JSON) to out and messages through
 * the log, and returns an exit code.
 */
enum {
	VTR_GUEST_OK = 0,
	VTR_GUEST_FAILED = 1, /* a check failed; a number could not be taken */
	VTR_GUEST_USAGE = 2,
	VTR_GUEST_GONE = 3, /* no device there, or it hung, died or broke the protocol */
};

/* Prints the device: PCI ids, BARs, capabilities, features, configuration, display info, EDIDs. */
VTR_API int vtr_guest_probe(const struct vtr_guest_options *options, bool json, FILE *out);

enum { VTR_GUEST_DEMO_BUFFERS = 2 };
struct vtr_guest_demo {
	uint32_t width, height; /* 0: the mode the device prefers */
	uint32_t scanout;
	uint32_t heads;   /* the same picture on so many scanouts, from that one on; 0: one */
	uint32_t ranges;  /* mem entries of each blob; 0: 63 */
	uint64_t frames;  /* stop after so many; 0: no limit */
	uint32_t seconds; /* stop after so long; 0: no limit */
	enum vtr_guest_memory memory;
	uint32_t buffers;            /* blobs to flip between, 1: it is drawn into while it is shown; 0: VTR_GUEST_DEMO_BUFFERS */
	bool cursor;                 /* with a cursor, */
	uint32_t cursor_x, cursor_y; /* whose upper left corner is there */
	bool three_d;                /* a triangle that the device's renderer draws, in place of pixels of the guest's */
	bool keep;                   /* at the end leave the last picture until standard input or the device closes */
};
/* Shows a moving picture, flipping between two blobs of many shuffled ranges; prints a line of figures at the end. */
VTR_API int vtr_guest_demo(const struct vtr_guest_options *options, const struct vtr_guest_demo *demo, FILE *out);

struct vtr_guest_check {
	const char *filter; /* glob over "family/name", with the extended patterns of glibc (!(a|b)); NULL: all */
	bool list;          /* print the names only */
	bool tap;           /* TAP version 13 in place of PASS and FAIL lines */
	bool three_d;       /* contexts, streams and what they draw, too: the device has to offer VIRGL */
};
/* Runs the conformance suite, a line for each check. With a control socket pictures are compared pixel by pixel; without one those
 * checks are skipped and say so. */
VTR_API int vtr_guest_check(const struct vtr_guest_options *options, const struct vtr_guest_check *check, FILE *out);

struct vtr_guest_events {
	const char *devices; /* "keyboard,tablet,mouse,touch", or some of them: a guest that has no others; NULL: all */
	uint32_t seconds;    /* stop after so long; 0: when standard input ends */
};
/* Drives the input devices (options->input) and prints each event they send: `DEVICE EV_TYPE CODE VALUE`, codes by number. */
VTR_API int vtr_guest_events(const struct vtr_guest_options *options, const struct vtr_guest_events *events, FILE *out);

struct vtr_guest_bench {
	bool json;
	bool round_trips; /* nothing else: any virtio-gpu device has those */
	bool three_d;     /* nothing else: what clearing a picture in a 3D context costs, reading it back, showing it */
};
/* Measures round trips, the device's CPU time a frame, its resident memory, and what a screenshot costs. */
VTR_API int vtr_guest_bench(const struct vtr_guest_options *options, const struct vtr_guest_bench *choice, FILE *out);

#endif
