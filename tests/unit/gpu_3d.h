/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_GPU_3D_H
#define TESTS_UNIT_GPU_3D_H

/* A machine (gpu_machine.h) with a renderer that draws nothing (fake_renderer.h), and the commands of 3D. */
#include "fake_renderer.h"
#include "gpu/gpu.h"
#include "gpu_machine.h"

static const uint64_t gpu_3d_features = UINT64_C(1) << VIRTIO_F_VERSION_1 | 1u << VIRTIO_GPU_F_EDID |
                                        1u << VIRTIO_GPU_F_RESOURCE_UUID | 1u << VIRTIO_GPU_F_RESOURCE_BLOB |
                                        1u << VIRTIO_GPU_F_VIRGL | 1u << VIRTIO_GPU_F_CONTEXT_INIT;

/* Names short enough for a table. */
enum {
	OK = VIRTIO_GPU_RESP_OK_NODATA,
	UNSPEC = VIRTIO_GPU_RESP_ERR_UNSPEC,
	MEMORY = VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY,
	RESOURCE = VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID,
	CONTEXT = VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID,
	PARAMETER = VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER,
};

struct gpu_3d {
	struct gpu_machine machine;
	struct fake_renderer *fake;
};

static inline void gpu_3d_create(struct gpu_3d *bench, uint64_t max_hostmem, unsigned outputs)
{
	bench->fake = fake_renderer_create();
	gpu_machine_create(&bench->machine, &(struct vtr_gpu_options){ .renderer = &bench->fake->base, .max_hostmem = max_hostmem },
	                   outputs, VTR_DEMAND_NONE);
	fake_renderer_use_loop(bench->fake, bench->machine.loop);
	gpu_machine_start(&bench->machine, gpu_3d_features);
}

static inline void gpu_3d_destroy(struct gpu_3d *bench)
{
	gpu_machine_destroy(&bench->machine);
	vtr_renderer_destroy(&bench->fake->base);
}

static inline struct vtr_gpu_status gpu_3d_status(const struct gpu_3d *bench)
{
	struct vtr_gpu_status status;

	vtr_gpu_status(bench->machine.gpu, &status);
	return status;
}

/* ---- commands ---- */

static inline struct virtio_gpu_ctx_create gpu_3d_ctx_create(uint32_t id)
{
	return (struct virtio_gpu_ctx_create){ .hdr = { .type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = id },
		                               .nlen = 4,
		                               .context_init = VIRTIO_GPU_CAPSET_VIRGL2,
		                               .debug_name = "test" };
}

static inline struct virtio_gpu_ctx_resource gpu_3d_ctx_resource(uint32_t type, uint32_t context, uint32_t resource)
{
	return (struct virtio_gpu_ctx_resource){ .hdr = { .type = type, .ctx_id = context }, .resource_id = resource };
}

/* A texture. flags: VIRTIO_GPU_RESOURCE_FLAG_* */
static inline struct virtio_gpu_resource_create_3d gpu_3d_create_sized(uint32_t id, uint32_t width, uint32_t height, uint32_t flags)
{
	return (struct virtio_gpu_resource_create_3d){
		.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
		.resource_id = id,
		.target = PIPE_TEXTURE_2D,
		.format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
		.bind = PIPE_BIND_RENDER_TARGET,
		.width = width,
		.height = height,
		.depth = 1,
		.array_size = 1,
		.flags = flags,
	};
}

/* ... of the small picture's size. */
static inline struct virtio_gpu_resource_create_3d gpu_3d_create_3d(uint32_t id)
{
	return gpu_3d_create_sized(id, GPU_WIDTH, GPU_HEIGHT, 0);
}

struct gpu_3d_attach {
	struct virtio_gpu_resource_attach_backing attach;
	struct virtio_gpu_mem_entry entry;
};

static inline struct gpu_3d_attach gpu_3d_attach_backing(uint32_t id, uint64_t address)
{
	return (struct gpu_3d_attach){
		.attach = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = id, .nr_entries = 1 },
		.entry = { .addr = address, .length = GPU_BYTES },
	};
}

/* All of the small picture. */
static inline struct virtio_gpu_transfer_host_3d gpu_3d_transfer(uint32_t type, uint32_t context, uint32_t id)
{
	return (struct virtio_gpu_transfer_host_3d){ .hdr = { .type = type, .ctx_id = context },
		                                     .box = { .w = GPU_WIDTH, .h = GPU_HEIGHT, .d = 1 },
		                                     .resource_id = id };
}

enum { GPU_3D_WORDS = 16 };

struct gpu_3d_submit {
	struct virtio_gpu_cmd_submit submit;
	uint32_t words[GPU_3D_WORDS];
};

static inline struct gpu_3d_submit gpu_3d_submit(uint32_t context, uint64_t fence)
{
	return (struct gpu_3d_submit){ .submit = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D,
		                                            .flags = fence ? VIRTIO_GPU_FLAG_FENCE : 0,
		                                            .fence_id = fence,
		                                            .ctx_id = context },
		                                   .size = GPU_3D_WORDS * 4 },
		                       .words = { 0xc0ffee } };
}

static inline uint32_t gpu_3d_unref(struct gpu_3d *bench, uint32_t id)
{
	struct virtio_gpu_resource_unref request = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource_id = id };

	return GPU_CALL(&bench->machine, request)->type;
}

/* Context 1. */
static inline void gpu_3d_make_context(struct gpu_3d *bench)
{
	struct virtio_gpu_ctx_create create = gpu_3d_ctx_create(1);

	GPU_ASSERT_OK(&bench->machine, create);
}

/* A texture with a backing at address, attached to context 1 (which has to be there). */
static inline void gpu_3d_make_texture(struct gpu_3d *bench, uint32_t id, uint64_t address)
{
	struct virtio_gpu_resource_create_3d create = gpu_3d_create_3d(id);
	struct gpu_3d_attach attach = gpu_3d_attach_backing(id, address);
	struct virtio_gpu_ctx_resource join = gpu_3d_ctx_resource(VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 1, id);

	GPU_ASSERT_OK(&bench->machine, create);
	GPU_ASSERT_OK(&bench->machine, attach);
	GPU_ASSERT_OK(&bench->machine, join);
}

static inline struct virtio_gpu_set_scanout gpu_3d_set_scanout(uint32_t scanout, uint32_t id)
{
	return (struct virtio_gpu_set_scanout){ .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT,
		                                .r = { 0, 0, GPU_WIDTH, GPU_HEIGHT },
		                                .scanout_id = scanout,
		                                .resource_id = id };
}

/* Posts a request, with room for an answer without data; its answer's guest address. */
#define GPU_3D_POST(bench, request)                                                                                                \
	gpu_machine_post(&(bench)->machine, 0, &(request), sizeof(request), sizeof(struct virtio_gpu_ctrl_hdr))

/* The answer at an address: type 0 as long as there is none. */
static inline const struct virtio_gpu_ctrl_hdr *gpu_3d_answer(struct gpu_3d *bench, uint64_t address)
{
	gpu_machine_settle(&bench->machine);
	return (const void *)gpu_machine_at(&bench->machine, address);
}

#endif
