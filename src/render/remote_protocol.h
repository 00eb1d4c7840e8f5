/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_REMOTE_PROTOCOL_H
#define VTR_RENDER_REMOTE_PROTOCOL_H

#include <assert.h>
#include <stdint.h>

#include "render/renderer.h"

/*
 * What passes between the device (remote.c) and the process that renders (process.c), both of the same build, on one UNIX stream
 * socket. Every message has the size of its type.
 *
 *   device                        process
 *   START + arena        ->
 *                        <-       STARTED       capsets and what else is constant, or why it cannot
 *   ADD_FILE + file      ->                     no answer
 *   CALL                 ->
 *                        <-       DONE (+ fd)   one for each CALL, in their order
 *                        <-       FENCE_DONE    at any time
 *
 * The arena is a memfd, sealed against shrinking and growing, where the device puts what is too large for a message: the command
 * stream of a SUBMIT, and spans. It is the device's to say which part of it is free, and a CALL's part is in use until its DONE.
 * The process writes there but once, before STARTED: the capsets' data.
 *
 * Files (guest memory, and the images of READ) are sent once and have a slot from then on. A CALL says which slots are forgotten
 * when it has been carried out, before its DONE.
 */
enum {
	VTR_REMOTE_VERSION = 1,
	VTR_REMOTE_FILES = 1024,      /* slots */
	VTR_REMOTE_ARENA = 33554432,  /* bytes: the largest SUBMIT, and the longest list of spans besides */
	VTR_REMOTE_MAX_CAPSET = 8192, /* bytes of one capset; the largest known has 1384 */
	VTR_REMOTE_MAX_CAPSET_VERSION = 15,
};

enum vtr_remote_type {
	VTR_REMOTE_START = 1,
	VTR_REMOTE_ADD_FILE,
	VTR_REMOTE_CALL,
	VTR_REMOTE_STARTED,
	VTR_REMOTE_DONE,
	VTR_REMOTE_FENCE_DONE,
};

struct vtr_remote_header {
	uint32_t type; /* enum vtr_remote_type */
	uint32_t size; /* bytes of the message, with the header */
};
static_assert(sizeof(struct vtr_remote_header) == 8, "as it is sent");

struct vtr_remote_start {
	struct vtr_remote_header header;
	uint32_t version;    /* VTR_REMOTE_VERSION */
	uint32_t log_level;  /* enum vtr_log_level: what is logged is written to standard error (process.h) */
	uint64_t arena_size; /* of the file that comes with it */
};
static_assert(sizeof(struct vtr_remote_start) == 24, "as it is sent");

struct vtr_remote_add_file {
	struct vtr_remote_header header;
	uint32_t slot; /* below VTR_REMOTE_FILES, and free */
	uint32_t padding;
	uint64_t size; /* of the file that comes with it, which is mapped up to there */
};
static_assert(sizeof(struct vtr_remote_add_file) == 24, "as it is sent");

/* A piece of a resource's memory; an array of them in the arena. */
struct vtr_remote_span {
	uint32_t slot;
	uint32_t padding;
	uint64_t offset, length; /* bytes, in the file */
};
static_assert(sizeof(struct vtr_remote_span) == 24, "as it is sent");

struct vtr_remote_call {
	struct vtr_remote_header header;
	uint64_t serial; /* rising */
	struct vtr_render_args args;
	uint64_t arena_offset, arena_size; /* SUBMIT: the stream; spans where has_spans */
	uint32_t has_spans;
	struct {
		uint32_t slot, width, height, format, stride;
	} image;                                /* READ */
	uint64_t forget[VTR_REMOTE_FILES / 64]; /* a bit for each slot */
};
static_assert(sizeof(struct vtr_render_args) == 88, "as it is sent");
static_assert(sizeof(struct vtr_remote_call) == 8 + 8 + 88 + 16 + 24 + 128, "as it is sent");

struct vtr_remote_error {
	uint32_t owner, code; /* enum vtr_error_owner; errno */
	char text[sizeof(((struct vtr_error *)NULL)->text)];
};

struct vtr_remote_started {
	struct vtr_remote_header header;
	uint32_t version;              /* VTR_REMOTE_VERSION */
	int32_t code;                  /* 0, or -errno: there is no renderer, and error says why */
	struct vtr_remote_error error; /* when code is not 0 */
	uint32_t n_capsets, maps_blobs;
	struct {
		uint32_t id, max_version, max_size, offset; /* in the arena: versions 0 to max_version, max_size bytes each */
	} capsets[VTR_MAX_CAPSETS];
	char description[sizeof(((struct vtr_renderer *)NULL)->description)];
};
static_assert(sizeof(struct vtr_remote_started) == 8 + 8 + 224 + 8 + 16 * VTR_MAX_CAPSETS + 128, "as it is sent");

struct vtr_remote_done {
	struct vtr_remote_header header;
	uint64_t serial;
	int32_t code; /* 0, or an error of vtr_renderer_impl.call */
	uint32_t map_info;
	uint64_t offset, size, modifier; /* of the fd that comes with it: EXPORT, EXPORT_BLOB */
	uint32_t stride, format;         /* EXPORT */
	struct vtr_remote_error error;   /* EXPORT, EXPORT_BLOB, when code is not 0 */
};
static_assert(sizeof(struct vtr_remote_done) == 8 + 8 + 8 + 24 + 8 + 224, "as it is sent");

struct vtr_remote_fence_done {
	struct vtr_remote_header header;
	uint64_t id;
};
static_assert(sizeof(struct vtr_remote_fence_done) == 16, "as it is sent");

#endif
