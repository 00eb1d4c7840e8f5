/* SPDX-License-Identifier: MIT */
#ifndef KMS_HOTPLUG_H
#define KMS_HOTPLUG_H

#include <stdbool.h>
#include <sys/types.h>

/* The kernel's messages about devices (NETLINK_KOBJECT_UEVENT), without udev. */

/* A socket that becomes readable when something happens to a device, or -errno. */
int kms_hotplug_open(void);

/* Reads what has come: true when something happened to the card that is character device `card`, or when messages were lost. */
bool kms_hotplug_read(int fd, dev_t card);

#endif
