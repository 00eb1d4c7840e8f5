/* SPDX-License-Identifier: MIT */
/*
 * Whose screen it is. Two things take it away: a switch to another virtual terminal, which the keeper tells of and which waits for
 * us to let go; and another program that has become the card's master, which a commit's error tells of. While it is away the
 * outputs ask for nothing; when it is ours again, what was shown is put on the CRTCs anew, because whoever was there has changed
 * them.
 */
#include "kms.h"

#define RETRY_NS UINT64_C(1000000000)

static void leave(struct kms *kms)
{
	kms->away = true;
	for (size_t i = 0; i < kms->n_outputs; i++)
		kms_output_update_demand(kms->outputs[i]);
}

static void come_back(struct kms *kms)
{
	kms->away = false;
	for (size_t i = 0; i < kms->n_outputs; i++) {
		struct kms_output *output = kms->outputs[i];

		kms_output_restore(output);
		kms_connector_probe(output);
		kms_cursor_update(output, true);
		kms_output_update_demand(output);
	}
}

/* Another program may take its time to let the card go. */
void kms_retry_master(void *data)
{
	struct kms *kms = data;

	if (!kms->away || kms->left)
		return;
	if (kms_card_become_master(&kms->card, NULL)) {
		vtr_timer_arm(kms->retry, vtr_now_ns() + RETRY_NS);
		return;
	}
	vtr_log(VTR_LOG_INFO, "kms: %s is ours again", kms->card.path);
	come_back(kms);
}

void kms_lose_master(struct kms *kms)
{
	if (kms->away)
		return;
	vtr_log(VTR_LOG_WARN, "kms: another program shows its picture on %s now; waiting for it to end", kms->card.path);
	leave(kms);
	vtr_timer_arm(kms->retry, vtr_now_ns() + RETRY_NS);
}

static void leave_terminal(struct kms *kms)
{
	vtr_log(VTR_LOG_INFO, "kms: another virtual terminal is on the screen now");
	kms->left = true;
	leave(kms);
	drmDropMaster(kms->card.fd);
	kms_keeper_tell(&kms->keeper, KMS_KEEPER_LEFT);
}

void kms_keeper_event(int fd, uint32_t events, void *data)
{
	struct kms *kms = data;

	switch (kms_keeper_read(&kms->keeper)) {
	case KMS_KEEPER_LEAVE:
		leave_terminal(kms);
		break;
	case KMS_KEEPER_ENTER:
		kms->left = false;
		kms_retry_master(kms);
		break;
	case KMS_KEEPER_GONE:
		vtr_log(VTR_LOG_WARN,
		        "kms: the keeper of the terminal was killed: the console may have to be restored by hand (chvt)");
		vtr_source_remove(kms->keeper_source);
		kms->keeper_source = NULL;
		break;
	default:
		break;
	}
}
