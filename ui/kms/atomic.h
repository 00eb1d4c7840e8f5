/* SPDX-License-Identifier: MIT */
#ifndef KMS_ATOMIC_H
#define KMS_ATOMIC_H

#include "commit.h"

/* kms_commit() and kms_commit_test() by atomic commits. modeset: the mode is not on yet. */
int kms_atomic_commit(const struct kms_pipe *pipe, const struct kms_scene *scene, bool modeset);
int kms_atomic_test(const struct kms_pipe *pipe, const struct kms_scene *scene, bool modeset);
void kms_atomic_off(const struct kms_pipe *pipe);

#endif
