"""Errors that a state machine matches by class name. Messages carry ids, never customer text."""

from __future__ import annotations


class StepError(Exception):
    """Base of what a step says on purpose."""


class LeaseLost(StepError):
    """Somebody else holds the lease now: this run may write nothing more."""


class SignatureInvalid(StepError):
    """A model's manifest is absent, changed, or not signed by our key."""


class EvidenceMissing(StepError):
    """The evaluation or its verdict can't be read, or belongs to something else."""


class SpecUnavailable(StepError):
    """The serving spec is neither in SSM nor cached in the control table."""


class EndpointBusy(StepError):
    """The endpoint is on its way to another state: plan again later."""


class GuardrailRings(EndpointBusy):
    """A guardrail alarm is in ALARM: SageMaker would send a guarded deployment back at once."""


class GuardrailMissing(StepError):
    """A guardrail alarm of the serving spec does not exist, so nobody can say whether it rings."""


class ProbeFailed(StepError):
    """The endpoint is in service but did not answer the probe."""


class NeverPromoted(StepError):
    """There is no version to go (back) to."""


class VersionRejected(StepError):
    """The registry says that this version must not serve."""


class OlderVersion(StepError):
    """Home announces an older version than the one that serves in this region."""


class PointerMoved(StepError):
    """The pointer is not what this step was planned from."""


class RegistryNotTold(StepError):
    """The pointer has moved, but the registry could not be told: try again, and then go on without it."""


class AuditChainBusy(StepError):
    """Other writers took the place at the end of the audit chain each time: try again."""


class InvalidInput(StepError):
    """The step's input is wrong; the message names the field and what is allowed."""
