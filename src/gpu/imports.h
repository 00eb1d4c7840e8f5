/* SPDX-License-Identifier: MIT */
#ifndef VTR_GPU_IMPORTS_H
#define VTR_GPU_IMPORTS_H

#include <vitrine/buffer.h>

#include "gpu/backoff.h"

/*
 * What is known about the display behind one output as an importer: which kinds of dmabufs it could not take, and which frames with
 * dmabufs it has not answered yet.
 *
 * Displays fail by kind, not by buffer: a guest that flips between three buffers, or makes a new one for each frame, must not see
 * each of them fail. So failures are remembered by what can make the difference.
 */
struct vtr_import_kind {
	enum vtr_path path;
	uint32_t format;                /* DRM fourcc */
	uint32_t width, height, stride; /* drivers have limits and alignments */
	bool scattered;                 /* several ranges: not for importers behind an IOMMU that translates */
	uint64_t origin;                /* whose memory: importers reach one device and not another. To be compared only */
};

enum { VTR_IMPORT_FAILURES = 8, VTR_IMPORT_FRAMES = 16 };

struct vtr_import_failure {
	struct vtr_import_kind kind;
	struct vtr_backoff backoff;
};

/* A frame with a dmabuf. */
struct vtr_import_frame {
	uint64_t sequence; /* 0: none */
	struct vtr_import_kind kind;
	uint64_t binding;    /* the scanout's, when the frame was made */
	uint64_t flushed_ns; /* of the flush that it was made for, or 0 */
	bool done;           /* FRAME_DONE was seen */
	bool failed;         /* IMPORT_FAILED was seen */
	bool replaced;       /* another frame stands for its flush */
};

struct vtr_imports {
	struct vtr_import_failure failures[VTR_IMPORT_FAILURES];
	unsigned next_failure; /* the one to be overwritten when all are taken */
	struct vtr_import_frame frames[VTR_IMPORT_FRAMES];
	unsigned next_frame;
};

/* Notes a frame that was submitted. */
void vtr_imports_note(struct vtr_imports *imports, const struct vtr_import_frame *frame);
/* The frame with that sequence number, or NULL when it carried no dmabuf (or is forgotten). Valid until the next note. */
struct vtr_import_frame *vtr_imports_find(struct vtr_imports *imports, uint64_t sequence);

/* The failure of this kind, or NULL. Valid until the next failure. */
const struct vtr_backoff *vtr_imports_failure(const struct vtr_imports *imports, const struct vtr_import_kind *kind);
void vtr_imports_failed(struct vtr_imports *imports, const struct vtr_import_kind *kind, const struct vtr_error *error,
                        uint64_t now_ns);
void vtr_imports_succeeded(struct vtr_imports *imports, const struct vtr_import_kind *kind);

/* Memory that was revoked may be back. */
void vtr_imports_lift_revoked(struct vtr_imports *imports);
/* The display or the devices are others now: nothing is known any more of failures. */
void vtr_imports_forget(struct vtr_imports *imports);

#endif
