/* SPDX-License-Identifier: MIT */
/* Pictures: from the device, from and to PNG files, and parts of them. ctl_match.c compares them. */
#include <errno.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vitrinectl.h"

enum { MAX_DIMENSION = 16384 };

static int allocate(struct ctl_picture *picture, uint32_t width, uint32_t height)
{
	*picture = (struct ctl_picture){
		.width = width,
		.height = height,
		.stride = (size_t)width * 3,
		.pixels = malloc((size_t)width * height * 3),
	};
	return picture->pixels ? 0 : ctl_fail("no memory for a picture of %ux%u", width, height);
}

void ctl_picture_finish(struct ctl_picture *picture)
{
	free(picture->pixels);
	free(picture->opaque);
	*picture = (struct ctl_picture){ 0 };
}

bool ctl_picture_part(const struct ctl_picture *picture, const struct ctl_area *area, struct ctl_picture *part)
{
	*part = *picture;
	part->opaque = NULL;
	if (!area->width)
		return true;
	if (area->width > picture->width || area->x > picture->width - area->width || area->height > picture->height ||
	    area->y > picture->height - area->height)
		return false;
	part->width = area->width;
	part->height = area->height;
	part->pixels = picture->pixels + area->y * picture->stride + (size_t)area->x * 3;
	return true;
}

/* XRGB8888, which in memory is blue, green, red, nothing. */
static void convert_row(uint8_t *target, const uint8_t *source, uint32_t width)
{
	for (uint32_t x = 0; x < width; x++, target += 3, source += 4) {
		target[0] = source[2];
		target[1] = source[1];
		target[2] = source[0];
	}
}

int ctl_picture_from_fd(struct ctl_picture *picture, const json_t *reply, int fd)
{
	json_int_t width = json_integer_value(json_object_get(reply, "width"));
	json_int_t height = json_integer_value(json_object_get(reply, "height"));
	json_int_t stride = json_integer_value(json_object_get(reply, "stride"));
	const uint8_t *data = MAP_FAILED;
	int status = CTL_FAILED;

	if (fd < 0)
		return ctl_fail("the reply came without a picture");
	if (width < 1 || width > MAX_DIMENSION || height < 1 || height > MAX_DIMENSION || stride < width * 4 ||
	    lseek(fd, 0, SEEK_END) < stride * height) {
		ctl_fail("the picture is not what the reply says");
		goto out;
	}
	data = mmap(NULL, (size_t)(stride * height), PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) {
		ctl_fail("cannot map the picture: %s", strerror(errno));
		goto out;
	}
	status = allocate(picture, (uint32_t)width, (uint32_t)height);
	for (json_int_t y = 0; !status && y < height; y++)
		convert_row(picture->pixels + (size_t)(y * width) * 3, data + y * stride, picture->width);
	munmap((void *)data, (size_t)(stride * height));
out:
	close(fd);
	return status;
}

/* Red, green, blue, and how opaque: 0 is a hole. */
static int split(struct ctl_picture *picture, const uint8_t *rgba)
{
	size_t count = (size_t)picture->width * picture->height;

	picture->opaque = malloc(count);
	if (!picture->opaque)
		return ctl_fail("no memory for a picture of %ux%u", picture->width, picture->height);
	for (size_t i = 0; i < count; i++) {
		memcpy(picture->pixels + i * 3, rgba + i * 4, 3);
		picture->opaque[i] = rgba[i * 4 + 3];
	}
	return 0;
}

int ctl_picture_from_png(struct ctl_picture *picture, const char *path)
{
	png_image image = { .version = PNG_IMAGE_VERSION };
	uint8_t *rgba = NULL;
	int status;

	if (!png_image_begin_read_from_file(&image, path))
		return ctl_fail("%s: %s", path, image.message);
	image.format = PNG_FORMAT_RGBA;
	if (image.width > MAX_DIMENSION || image.height > MAX_DIMENSION)
		status = ctl_fail("%s: %ux%u is larger than any scanout", path, image.width, image.height);
	else if (!(rgba = malloc(PNG_IMAGE_SIZE(image))))
		status = ctl_fail("no memory for a picture of %ux%u", image.width, image.height);
	else
		status = allocate(picture, image.width, image.height);
	if (!status && !png_image_finish_read(&image, NULL, rgba, 0, NULL))
		status = ctl_fail("%s: %s", path, image.message);
	else if (!status)
		status = split(picture, rgba);
	if (status)
		ctl_picture_finish(picture);
	free(rgba);
	png_image_free(&image);
	return status;
}

int ctl_picture_to_png(const struct ctl_picture *picture, const char *path)
{
	png_image image = {
		.version = PNG_IMAGE_VERSION,
		.width = picture->width,
		.height = picture->height,
		.format = PNG_FORMAT_RGB,
	};

	if (!png_image_write_to_file(&image, path, 0, picture->pixels, (png_int_32)picture->stride, NULL))
		return ctl_fail("%s: %s", path, image.message);
	return 0;
}
