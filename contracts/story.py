"""StoryContract: one declaration of an ML system; templates, gates, alarms and flags are derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts import naming
from contracts.features import CohortRule, FeatureGroupContract
from contracts.gates import Gate, MetricGate
from contracts.kill_switches import Flag, promotion_flag
from contracts.registry import RegistryContract
from contracts.serving import CanaryPolicy, CanaryTest, ShadowPolicy

MIN_APPROVAL_S, MAX_APPROVAL_S = 300, 43_200  # a run that waits holds its lease, and ends within a day
MIN_DEADLINE_MS = 10  # below this no share of it is worth a network call


@dataclass(frozen=True, kw_only=True)
class Target:
    """A headline number: what it must reach and where it stands today."""

    metric: str
    goal: str
    baseline: str


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A cron expression in a named time zone (EventBridge Scheduler), and when the run must be done."""

    cron: str
    time_zone: str
    done_within_s: int


@dataclass(frozen=True, kw_only=True)
class Slo:
    """A latency or recovery objective that an alarm watches."""

    metric: str
    at_most: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class DriftMonitor:
    """One watched distribution. `min_requests` in a window, or the window says nothing."""

    name: str
    kind: str  # input, label, prediction or concept
    features: tuple[str, ...]
    threshold: float
    window_s: int
    detect_within_s: int
    min_requests: int


@dataclass(frozen=True, kw_only=True)
class JobSizing:
    """Production instance of a job; the laptop runs the same script with smaller hyperparameters."""

    instance_type: str
    instances: int
    volume_gb: int
    max_runtime_s: int


@dataclass(frozen=True, kw_only=True)
class ServingContract:
    instance_type: str
    min_instances: int
    max_instances: int
    invocations_per_instance: int
    workers_per_instance: int
    utilisation: float
    canary: CanaryPolicy
    canary_test: CanaryTest
    shadow: ShadowPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class InferenceContract:
    """How a caller's fabric answers for the story.

    `deadline_ms` is the whole budget of one question: cache, endpoint and one repeat. `cache_ttl_s` bounds how
    long a repeated question misses a change that keeps the model's version (a serving spec, a technique flag).
    `fallback` is what is answered, marked `source: fallback`, when no model can be asked.
    """

    deadline_ms: int
    cache_ttl_s: int
    fallback: str

    def __post_init__(self) -> None:
        if self.deadline_ms < MIN_DEADLINE_MS:
            raise ValueError(f"deadline_ms must be {MIN_DEADLINE_MS} or more, got {self.deadline_ms}")
        if self.cache_ttl_s < 1:
            raise ValueError(f"cache_ttl_s must be 1 or more, got {self.cache_ttl_s}")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the story may cost. Its gates judge a candidate's report and `mangaassist cost` alike."""

    usd_per_training_run: float
    usd_per_100k_requests: float

    def gates(self) -> tuple[MetricGate, ...]:
        return (
            MetricGate(name="training_usd", path="cost.training_usd", at_most=self.usd_per_training_run),
            MetricGate(
                name="serving_usd_per_100k", path="cost.serving_usd_per_100k", at_most=self.usd_per_100k_requests
            ),
        )


@dataclass(frozen=True, kw_only=True)
class LabelPolicy:
    """When labels are good enough to train on. `min_kappa` per language that was annotated twice."""

    min_kappa: float
    min_rows: int


@dataclass(frozen=True, kw_only=True)
class RosterEntry:
    """What deploy order and KPI roll-up need of a story, built or not yet built."""

    code: str
    slug: str
    owner: str
    upstream: tuple[str, ...]  # slugs
    targets: tuple[Target, ...]

    def __post_init__(self) -> None:
        naming.check_slug(self.slug)


@dataclass(frozen=True, kw_only=True)
class StoryContract:
    entry: RosterEntry
    taxonomy: str
    dataset_schema_version: int
    encoder: str  # name of the production `pretrained` channel
    hyperparameters: Mapping[str, str]
    schedule: Schedule
    labels: LabelPolicy
    gates: tuple[Gate, ...]
    registry: RegistryContract
    slos: tuple[Slo, ...]
    monitors: tuple[DriftMonitor, ...]
    feature_groups: tuple[FeatureGroupContract, ...]
    cohorts: CohortRule
    techniques: tuple[Flag, ...]
    prepare: JobSizing
    training: JobSizing
    evaluation: JobSizing
    serving: ServingContract
    inference: InferenceContract
    budget: Budget
    release_strategy: str = "endpoint"
    approval_within_s: int | None = None  # a person has this long to approve each release; None: nobody is asked
    prefilter_min_confidence: float = 0.85

    def __post_init__(self) -> None:
        within_s = self.approval_within_s
        if within_s is not None and not MIN_APPROVAL_S <= within_s <= MAX_APPROVAL_S:
            raise ValueError(
                f"{self.slug}: approval_within_s must be {MIN_APPROVAL_S} to {MAX_APPROVAL_S}, or None, got {within_s}"
            )
        missing = [gate.name for gate in self.budget.gates() if gate not in self.gates]
        if missing:
            raise ValueError(
                f"{self.slug}: the budget is a gate, but gates lack {', '.join(missing)} as the budget has it; "
                "add *BUDGET.gates()"
            )
        strangers = [group.name for group in self.feature_groups if group.namespace != self.slug]
        if strangers:
            raise ValueError(f"{self.slug}: feature groups {strangers} are of another namespace")
        if self.cohorts.feature not in self.cohort_group.values:
            raise ValueError(f"{self.slug}: cohorts need the feature {self.cohorts.feature!r} of {self.cohorts.group}, "
                             f"which has {', '.join(self.cohort_group.values)}")

    @property
    def slug(self) -> str:
        return self.entry.slug

    def feature_group(self, name: str) -> FeatureGroupContract:
        found = {group.name: group for group in self.feature_groups}
        if name not in found:
            raise ValueError(f"{self.slug} has no feature group {name!r}; allowed: {', '.join(found)}")
        return found[name]

    @property
    def cohort_group(self) -> FeatureGroupContract:
        return self.feature_group(self.cohorts.group)

    @property
    def slowest_ms(self) -> float:
        """What no answer may take longer than: the largest latency objective."""
        return max(slo.at_most for slo in self.slos if slo.unit == "Milliseconds")

    @property
    def flags(self) -> tuple[Flag, ...]:
        """The story's own flags; the global freeze belongs to the platform."""
        return (promotion_flag(self.slug), *self.techniques)
