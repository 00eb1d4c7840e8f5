/* SPDX-License-Identifier: MIT */
#ifndef VTR_RENDER_RECORD_H
#define VTR_RENDER_RECORD_H

#include <assert.h>
#include <stdint.h>

#include "render/renderer.h"

/*
 * What vtr_renderer_record() writes: a header, then chunks, all of it in the byte order of the (little-endian) host. A call's chunk
 * is written before the call is made, so that a crash leaves its cause as the last thing in the file; its result follows, unless it
 * was still in progress then.
 */
enum { VTR_RECORD_VERSION = 1 };

struct vtr_record_header {
	char magic[8]; /* "VTRREC", no NUL needed behind it */
	uint32_t version;
	uint32_t args_size;    /* sizeof(struct vtr_render_args) */
	char description[128]; /* the renderer's, with a NUL: pictures are compared with what the same one drew */
};

enum vtr_record_kind {
	VTR_RECORD_CALL = 1, /* struct vtr_record_call, then the command stream of SUBMIT */
	VTR_RECORD_MEMORY,   /* struct vtr_record_memory, then bytes: the guest has written to a backing */
	VTR_RECORD_RESULT,   /* struct vtr_record_result, of the last call */
};

struct vtr_record_chunk {
	uint32_t kind;
	uint32_t size; /* bytes that follow */
};

struct vtr_record_call {
	struct vtr_render_args args;
	uint64_t backing;               /* bytes of spans; 0: none. They are zero until VTR_RECORD_MEMORY */
	uint32_t width, height, format; /* READ: of image */
	uint32_t padding;
};

struct vtr_record_memory {
	uint32_t resource_id, padding;
	uint64_t offset; /* in the backing */
};

struct vtr_record_result {
	int32_t code;
	uint32_t padding;
	uint64_t checksum; /* READ: vtr_record_checksum() of what was read */
};

static_assert(sizeof(struct vtr_render_args) == 88,
              "recordings have it: raise VTR_RECORD_VERSION and record the tests' corpus anew");

/* FNV-1a of the colours in the box of a READ that is done: the fourth byte of a pixel may mean nothing. */
uint64_t vtr_record_checksum(const struct vtr_render_call *call);

#endif
