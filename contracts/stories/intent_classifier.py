"""US-MLE-01: the intent classifier. Every acceptance row of the story is a line here."""

from __future__ import annotations

from contracts.datasets import SCHEMA_VERSION
from contracts.features import INTEGRAL, STRING, CohortRule, FeatureDefinition, FeatureGroupContract
from contracts.gates import ComparisonGate, Gate, MetricGate, SliceGate
from contracts.kill_switches import Flag
from contracts.monitors import concept, distribution
from contracts.registry import RegistryContract
from contracts.serving import CanaryPolicy, CanaryTest, ShadowPolicy
from contracts.stories.roster import ROSTER
from contracts.story import (
    Budget,
    InferenceContract,
    JobSizing,
    LabelPolicy,
    Schedule,
    ServingContract,
    Slo,
    StoryContract,
)

HOUR = 3_600

# A slice's macro-F1 has a standard error of about 3 points at 120 rows; fewer rows prove nothing.
MIN_SLICE_ROWS = 120

BUDGET = Budget(usd_per_training_run=12.0, usd_per_100k_requests=1.80)

GATES: tuple[Gate, ...] = (
    MetricGate(name="macro_accuracy", path="metrics.macro_accuracy", at_least=0.90),
    SliceGate(name="slice_macro_f1", metric="macro_f1", at_least=0.85, min_rows=MIN_SLICE_ROWS),
    ComparisonGate(
        name="champion_accuracy", comparison="accuracy", allowed_drop=0.0, min_rows=MIN_SLICE_ROWS
    ),
    # 2 sigma over the family of safety-critical intents, so that three of them don't triple the false alarms.
    ComparisonGate(name="safety_critical", comparison="safety_critical", allowed_drop=0.0, min_rows=20),
    ComparisonGate(
        name="adversarial_regression", comparison="adversarial", allowed_drop=0.01, min_rows=MIN_SLICE_ROWS
    ),
    MetricGate(name="calibration_error", path="metrics.calibration_error", at_most=0.10),
    MetricGate(name="serving_p95_ms", path="serving.p95_ms", at_most=15.0),
    MetricGate(name="serving_p99_ms", path="serving.p99_ms", at_most=35.0),
    *BUDGET.gates(),
)

INTENT_CLASSIFIER = StoryContract(
    entry=ROSTER["intent-classifier"],
    taxonomy="manga14-v1",
    dataset_schema_version=SCHEMA_VERSION,
    encoder="distilbert-base-multilingual-cased",
    hyperparameters={
        "epochs": "0",  # as many as the rows need: eight for hundreds, three for thousands
        "max-steps": "0",
        "learning-rate": "3e-4",  # of the top layer; each layer below learns at 0.9 of the one above
        "batch-size": "32",
        "calibration-rows": "256",
        "seed": "13",
    },
    # Friday 03:00 in Tokyo; Japan has no daylight saving, but the zone says what is meant.
    schedule=Schedule(cron="cron(0 3 ? * FRI *)", time_zone="Asia/Tokyo", done_within_s=8 * HOUR),
    labels=LabelPolicy(min_kappa=0.75, min_rows=200),
    gates=GATES,
    # Every number that a gate judged, and the one that people ask for first.
    registry=RegistryContract(metrics=(
        "metrics.macro_f1", *(gate.path for gate in GATES if isinstance(gate, MetricGate)))),
    slos=(
        Slo(metric="p95_ms", at_most=15, unit="Milliseconds"),
        Slo(metric="p99_ms", at_most=35, unit="Milliseconds"),
        Slo(metric="rollback_s", at_most=60, unit="Seconds"),
    ),
    monitors=(
        distribution("input", "chars", "tokens", "unknown_share", "japanese_share"),
        distribution("prediction", "intent", "confidence"),
        concept("macro_f1", largest_drop=0.03),
    ),
    feature_groups=(
        FeatureGroupContract(
            namespace="intent-classifier",
            name="customer-cohort",
            record_identifier="customer_id",
            event_time="event_time",
            arrival="arrived_at",
            ttl_days=90,
            features=(
                FeatureDefinition(name="customer_id", type=STRING),
                FeatureDefinition(name="event_time", type=STRING),
                FeatureDefinition(name="arrived_at", type=STRING),
                FeatureDefinition(name="interactions", type=INTEGRAL),  # of the customer so far, with the chatbot
            ),
        ),
    ),
    # Five interactions end a cold start (US-MLE-06); a customer that the store does not know is new.
    cohorts=CohortRule(group="customer-cohort", feature="interactions", absent="new",
                       at_least=(("returning", 5), ("power_user", 50))),
    techniques=(
        Flag(
            name="intent_classifier_prefilter_enabled",
            initial=True,
            safe=True,
            description="rule-based pre-filter answers first when its confidence is >= 0.85",
        ),
    ),
    prepare=JobSizing(instance_type="ml.m5.large", instances=1, volume_gb=30, max_runtime_s=HOUR),
    training=JobSizing(instance_type="ml.g5.xlarge", instances=1, volume_gb=50, max_runtime_s=4 * HOUR),
    evaluation=JobSizing(instance_type="ml.c7i.xlarge", instances=1, volume_gb=30, max_runtime_s=HOUR),
    serving=ServingContract(
        instance_type="ml.g5.xlarge",
        min_instances=2,
        max_instances=12,
        invocations_per_instance=6_000,
        workers_per_instance=4,
        utilisation=0.5,
        canary=CanaryPolicy(percent=10, bake_s=600, termination_wait_s=3_600),
        # One needless abort in a hundred releases that are no worse costs a week's delay each, a missed one customers.
        canary_test=CanaryTest(alpha=0.01, unsure_below=0.5, tolerated_errors=0.005, tolerated_slow=0.02,
                               tolerated_unsure=0.05),
        shadow=ShadowPolicy(percent=100, watch_s=480, compared_percent=10, tolerated_disagreement=0.15),
    ),
    # Ten times the p95: a chatbot's turn waits no longer. Smalltalk, for it is the intent that starts nothing.
    inference=InferenceContract(deadline_ms=150, cache_ttl_s=600, fallback="smalltalk"),
    budget=BUDGET,
)
