/* SPDX-License-Identifier: MIT */
#ifndef VITRINE_API_H
#define VITRINE_API_H

/* What every public header needs: visibility and printf checking. */
#define VTR_API __attribute__((visibility("default")))
#define VTR_PRINTF(string, first) __attribute__((format(printf, string, first)))

#endif
