/* SPDX-License-Identifier: MIT */
#include <vitrine/buffer.h>
