/* SPDX-License-Identifier: MIT */
/*
 * The conformance suite: runs the families' tables against a device and reports, a line a check.
 *
 * Goal: no check can hurt the next. Each starts from a reset device that has all memory and ends with a reset that the device has
 * to accept. When a check costs the connection, it has failed, and a new connection is made for those that follow; when that cannot
 * be had, the device is gone and the suite ends.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include <vitrine/control.h>
#include <vitrine/log.h>

#include "guest/check/check.h"
#include "util/fd.h"

static const struct vtr_check_family *const families[] = {
	&vtr_check_pci,         &vtr_check_setup,      &vtr_check_display,     &vtr_check_2d,          &vtr_check_blob,
	&vtr_check_scanout,     &vtr_check_cursor,     &vtr_check_fence,       &vtr_check_memory,      &vtr_check_bad_ring,
	&vtr_check_bad_command, &vtr_check_assigned,   &vtr_check_input,       &vtr_check_vhost,       &vtr_check_iotlb,
	&vtr_check_3d_capset,   &vtr_check_3d_context, &vtr_check_3d_resource, &vtr_check_3d_transfer, &vtr_check_3d_submit,
	&vtr_check_3d_draw,     &vtr_check_3d_fence,   &vtr_check_3d_scanout,  &vtr_check_3d_blob,     &vtr_check_3d_hostmem,
};

enum outcome { PASSED, FAILED, SKIPPED, OUTCOMES };

struct suite {
	const struct vtr_guest_options *options;
	const struct vtr_guest_check *choice;
	struct vtr_check check;
	uint64_t offered; /* features */
	unsigned number;  /* of the check, for TAP */
	unsigned counts[OUTCOMES];
	FILE *out;
};

enum { NAME_SIZE = 128 };

/* VTR_ON_*: what there is. */
static unsigned links_of(const struct vtr_guest_options *options)
{
	if (!options->vhost_user)
		return VTR_ON_VFIO_USER;
	return VTR_ON_VHOST_USER | (options->iommu ? VTR_ON_IOMMU : 0);
}

/* "family/name"; false when the filter does not want it, or it is about another link. */
static bool chosen(const struct suite *suite, const struct vtr_check_family *family, const struct vtr_check_case *c,
                   char name[NAME_SIZE])
{
	snprintf(name, NAME_SIZE, "%s/%s", family->name, c->name);
	unsigned links = links_of(suite->options);

	if ((family->links && !(family->links & links)) || (c->links && !(c->links & links)))
		return false;
	if ((family->assigned && !suite->options->assign) || (family->input && !suite->options->input) ||
	    (family->three_d && !suite->choice->three_d))
		return false;
	return !suite->choice->filter || !fnmatch(suite->choice->filter, name, FNM_EXTMATCH);
}

static void report(struct suite *suite, enum outcome outcome, const char *name, const char *text)
{
	static const char *const words[] = { [PASSED] = "PASS", [FAILED] = "FAIL", [SKIPPED] = "SKIP" };

	suite->counts[outcome]++;
	suite->number++;
	if (!suite->choice->tap)
		fprintf(suite->out, "%s %s%s%s\n", words[outcome], name, *text ? ": " : "", text);
	else if (outcome == SKIPPED)
		fprintf(suite->out, "ok %u %s # SKIP %s\n", suite->number, name, text);
	else if (outcome == PASSED)
		fprintf(suite->out, "ok %u %s\n", suite->number, name);
	else
		fprintf(suite->out, "not ok %u %s\n# %s: %s\n", suite->number, name, name, text);
	fflush(suite->out);
}

/* A connection to the device, the one there is or a new one. */
static bool connect_device(struct suite *suite)
{
	struct vtr_check *check = &suite->check;
	struct vtr_error error;

	if (check->guest && vtr_guest_connected(check->guest))
		return true;
	vtr_guest_close(check->guest);
	check->guest = vtr_guest_open(suite->options, &error);
	if (!check->guest) {
		vtr_log(VTR_LOG_ERROR, "%s", error.text);
		return false;
	}
	suite->offered = vtr_guest_offered(check->guest);
	return suite->offered;
}

static bool give_all_memory(struct vtr_check *check)
{
	for (unsigned i = 0; i < VTR_GUEST_MEMORY_COUNT; i++)
		if (vtr_guest_has_memory(check->guest, i) && !check->guest->areas[i].mapped &&
		    !vtr_expect_success(check, "giving memory", vtr_guest_map(check->guest, i)))
			return false;
	return true;
}

static bool run_prepared(struct vtr_check *check, const struct vtr_check_case *c)
{
	struct vtr_guest *guest = check->guest;

	guest->queue_limit = 0;
	guest->failure = (struct vtr_error){ 0 };
	return give_all_memory(check) && vtr_expect_success(check, "starting the device", vtr_guest_start(guest, UINT64_MAX)) &&
	       c->run(check, c->row) && vtr_expect_success(check, "resetting the device afterwards", vtr_guest_stop(guest));
}

/* False when the device is gone. */
static bool run_case(struct suite *suite, const char *name, const struct vtr_check_family *family, const struct vtr_check_case *c)
{
	struct vtr_check *check = &suite->check;

	if (!connect_device(suite))
		return false;
	check->failure[0] = 0;
	check->guest->three_d = family->three_d;
	if (c->features & ~suite->offered)
		report(suite, SKIPPED, name, "the device does not offer the feature");
	else if (c->pictures && !suite->options->control && !suite->options->display_socket)
		report(suite, SKIPPED, name, "what comes of it is seen with --control PATH");
	else if (run_prepared(check, c))
		report(suite, PASSED, name, "");
	else
		report(suite, FAILED, name, *check->failure ? check->failure : vtr_guest_error(check->guest));
	return true;
}

static bool run_all(struct suite *suite)
{
	char name[NAME_SIZE];

	for (size_t i = 0; i < VTR_CHECK_COUNT(families); i++)
		for (size_t j = 0; j < families[i]->n_cases; j++)
			if (chosen(suite, families[i], &families[i]->cases[j], name) &&
			    !run_case(suite, name, families[i], &families[i]->cases[j]))
				return false;
	return true;
}

static unsigned count_chosen(const struct suite *suite)
{
	unsigned count = 0;
	char name[NAME_SIZE];

	for (size_t i = 0; i < VTR_CHECK_COUNT(families); i++) {
		for (size_t j = 0; j < families[i]->n_cases; j++) {
			if (!chosen(suite, families[i], &families[i]->cases[j], name))
				continue;
			count++;
			if (suite->choice->list)
				fprintf(suite->out, "%s\n", name);
		}
	}
	return count;
}

/* A control socket that is asked for has to be there from the start. */
static bool control_is_there(const struct vtr_guest_options *options)
{
	int socket = options->control ? vtr_control_connect(options->control) : -1;

	if (options->control && socket < 0) {
		vtr_log(VTR_LOG_ERROR, "no control socket at %s: %s; start the device with: vitrine --control %s", options->control,
		        strerror(-socket), options->control);
		return false;
	}
	vtr_fd_close(&socket);
	return true;
}

/* Nor is 3D something to find out about a hundred times. */
static bool three_d_is_there(struct suite *suite)
{
	if (!suite->choice->three_d || !connect_device(suite) || suite->offered & VTR_FEATURE(VIRTIO_GPU_F_VIRGL))
		return true; /* a device that is not there is told of by whoever needs it next */
	vtr_log(VTR_LOG_ERROR, "the device does not offer VIRGL, which --3d is about; start it with: vitrine --3d virgl");
	return false;
}

int vtr_guest_check(const struct vtr_guest_options *options, const struct vtr_guest_check *choice, FILE *out)
{
	struct suite suite = { .options = options, .choice = choice, .out = out };
	unsigned count = count_chosen(&suite);

	if (!count) {
		vtr_log(VTR_LOG_ERROR, "no check is called \"%s\"; --list prints the names", choice->filter);
		return VTR_GUEST_USAGE;
	}
	if (choice->list)
		return VTR_GUEST_OK;
	if (!control_is_there(options))
		return VTR_GUEST_GONE;
	if (!three_d_is_there(&suite)) {
		vtr_guest_close(suite.check.guest);
		return VTR_GUEST_FAILED;
	}
	if (choice->tap)
		fprintf(out, "TAP version 13\n1..%u\n", count);

	bool finished = run_all(&suite);
	if (!finished)
		fprintf(out, "%sthe device is gone\n", choice->tap ? "Bail out! " : "");
	fprintf(out, "%s%u passed, %u failed, %u skipped\n", choice->tap ? "# " : "", suite.counts[PASSED], suite.counts[FAILED],
	        suite.counts[SKIPPED]);
	vtr_guest_close(suite.check.guest);
	return !finished ? VTR_GUEST_GONE : suite.counts[FAILED] ? VTR_GUEST_FAILED : VTR_GUEST_OK;
}
