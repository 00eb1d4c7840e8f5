/* SPDX-License-Identifier: MIT */
#include "gpu/imports.h"

#include <string.h>

void vtr_imports_note(struct vtr_imports *imports, const struct vtr_import_frame *frame)
{
	imports->frames[imports->next_frame++ % VTR_IMPORT_FRAMES] = *frame;
}

struct vtr_import_frame *vtr_imports_find(struct vtr_imports *imports, uint64_t sequence)
{
	for (unsigned i = 0; i < VTR_IMPORT_FRAMES; i++)
		if (imports->frames[i].sequence == sequence)
			return sequence ? &imports->frames[i] : NULL;
	return NULL;
}

static bool same_kind(const struct vtr_import_kind *a, const struct vtr_import_kind *b)
{
	return a->path == b->path && a->format == b->format && a->width == b->width && a->height == b->height &&
	       a->stride == b->stride && a->scattered == b->scattered && a->origin == b->origin;
}

static struct vtr_import_failure *find_failure(struct vtr_imports *imports, const struct vtr_import_kind *kind)
{
	for (unsigned i = 0; i < VTR_IMPORT_FAILURES; i++)
		if (vtr_backoff_has_failed(&imports->failures[i].backoff) && same_kind(&imports->failures[i].kind, kind))
			return &imports->failures[i];
	return NULL;
}

const struct vtr_backoff *vtr_imports_failure(const struct vtr_imports *imports, const struct vtr_import_kind *kind)
{
	const struct vtr_import_failure *failure = find_failure((struct vtr_imports *)imports, kind);

	return failure ? &failure->backoff : NULL;
}

/* A free place, or that of the failure noted longest ago. */
static struct vtr_import_failure *new_failure(struct vtr_imports *imports, const struct vtr_import_kind *kind)
{
	struct vtr_import_failure *failure = NULL;

	for (unsigned i = 0; i < VTR_IMPORT_FAILURES && !failure; i++)
		if (!vtr_backoff_has_failed(&imports->failures[i].backoff))
			failure = &imports->failures[i];
	if (!failure)
		failure = &imports->failures[imports->next_failure++ % VTR_IMPORT_FAILURES];
	*failure = (struct vtr_import_failure){ .kind = *kind };
	return failure;
}

void vtr_imports_failed(struct vtr_imports *imports, const struct vtr_import_kind *kind, const struct vtr_error *error,
                        uint64_t now_ns)
{
	struct vtr_import_failure *failure = find_failure(imports, kind);

	if (!failure)
		failure = new_failure(imports, kind);
	vtr_backoff_failed(&failure->backoff, error, now_ns);
}

void vtr_imports_succeeded(struct vtr_imports *imports, const struct vtr_import_kind *kind)
{
	struct vtr_import_failure *failure = find_failure(imports, kind);

	if (failure)
		*failure = (struct vtr_import_failure){ 0 };
}

void vtr_imports_lift_revoked(struct vtr_imports *imports)
{
	for (unsigned i = 0; i < VTR_IMPORT_FAILURES; i++)
		vtr_backoff_lift_revoked(&imports->failures[i].backoff);
}

void vtr_imports_forget(struct vtr_imports *imports)
{
	memset(imports->failures, 0, sizeof(imports->failures));
}
