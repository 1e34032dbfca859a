"""Event sources and detail types that cross a boundary, each named once."""

from __future__ import annotations

SOURCE = "mangaassist.ml"

ALARM_STATE_CHANGE = "CloudWatch Alarm State Change"
PARAMETER_STORE_CHANGE = "Parameter Store Change"

# What the retrain machine says of an execution; also the names of its end states.
PROMOTED = "Promoted"
REJECTED = "Rejected"
NOT_PROMOTED = "NotPromoted"
SHADOW_WORSE = "ShadowWorse"  # worse than the champion on copies of live requests; no customer got its answers
CANARY_ABORTED = "CanaryAborted"  # worse than the champion in live traffic; SageMaker sent it back
ROLLED_BACK = "RolledBack"
RECONCILED = "Reconciled"
SKIPPED_LEASED = "SkippedLeased"
SKIPPED_FROZEN = "SkippedFrozen"
SKIPPED_NO_NEW_LABELS = "SkippedNoNewLabels"
REJECTED_LABELS = "RejectedLabels"
FAILED = "Failed"
NOT_APPROVED = "NotApproved"  # only of stories that ask a person: said no, or nobody answered in time

# Further ends of the receive machine, which runs outside home.
RECEIVED = "Received"
REFUSED = "Refused"  # home's copy is not what home signed, or older than what serves
UP_TO_DATE = "UpToDate"
SKIPPED_REJECTED = "SkippedRejected"  # this region went back from that version and waits for a newer one

RETRAIN_OUTCOMES: tuple[str, ...] = (
    PROMOTED,
    REJECTED,
    NOT_PROMOTED,
    SHADOW_WORSE,
    CANARY_ABORTED,
    ROLLED_BACK,
    RECONCILED,
    SKIPPED_LEASED,
    SKIPPED_FROZEN,
    SKIPPED_NO_NEW_LABELS,
    REJECTED_LABELS,
    FAILED,
)
RECEIVE_OUTCOMES: tuple[str, ...] = (
    RECEIVED,
    REFUSED,
    UP_TO_DATE,
    NOT_PROMOTED,
    SHADOW_WORSE,
    CANARY_ABORTED,
    SKIPPED_LEASED,
    SKIPPED_FROZEN,
    SKIPPED_REJECTED,
    FAILED,
)
OUTCOMES: tuple[str, ...] = (
    *RETRAIN_OUTCOMES, *(o for o in RECEIVE_OUTCOMES if o not in RETRAIN_OUTCOMES), NOT_APPROVED)

APPROVED = "Approved"  # a person let a release begin; who and why is in the record
LABELS_EDITED = "LabelsEdited"  # a batch changed labels that were there; who, when, why is in label_edits

AUDITED: tuple[str, ...] = (*OUTCOMES, APPROVED, LABELS_EDITED)  # what the audit function records

MODES: tuple[str, ...] = ("retrain", "reconcile", "rollback")
TRIGGERS: tuple[str, ...] = ("weekly", "drift", "manual", "spec-change", "hourly")
