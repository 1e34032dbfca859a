"""The only place where an SSM path, a bucket, a table or an S3 prefix is named.

A slug is `intent-classifier`; the same story in Python words is `intent_classifier`
(module names, SSM flag names) and `IntentClassifier` (construct and stack ids).
"""

from __future__ import annotations

import hashlib
import re

PROJECT = "mangaassist"
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def check_slug(slug: str) -> str:
    if not _SLUG.fullmatch(slug):
        raise ValueError(f"slug must be lower-case words joined by '-', got {slug!r}")
    return slug


def snake(slug: str) -> str:
    return slug.replace("-", "_")


def pascal(slug: str) -> str:
    return "".join(word.capitalize() for word in slug.split("-"))


# --- stacks -----------------------------------------------------------------


def stack(deployment: str, room: str) -> str:
    """CloudFormation stack name, for example `MangaAssist-jp-IntentClassifier`."""
    return f"MangaAssist-{deployment}-{pascal(room)}"


# --- SSM parameters ---------------------------------------------------------

GLOBAL_ML_FREEZE = "global_ml_freeze"
FLAG_ROOT = f"/{PROJECT}/flags"


def promotion_flag(slug: str) -> str:
    return f"{snake(slug)}_promotion_enabled"


def flag_parameter(flag: str) -> str:
    return f"{FLAG_ROOT}/{flag}"


def serving_spec_parameter(slug: str) -> str:
    return f"/{PROJECT}/serving-spec/{slug}"


def approval_parameter(slug: str) -> str:
    """`TOKEN RUN_ID VERSION` of the last release that asked for approval; written by the machine that waits."""
    return f"/{PROJECT}/approvals/{slug}"


INFERENCE_CACHE_PARAMETER = f"/{PROJECT}/inference-cache"  # contracts.inference_cache.CacheAddress

# --- buckets (one set per deployment; never shared by two regions) -----------

LAKE, ARTIFACTS, CAPTURE, ACCESS_LOGS = "lake", "artifacts", "capture", "access-logs"
BUCKETS = (LAKE, ARTIFACTS, CAPTURE, ACCESS_LOGS)


def bucket(purpose: str, deployment: str, account: str) -> str:
    if purpose not in BUCKETS:
        raise ValueError(f"unknown bucket purpose {purpose!r}: allowed are {', '.join(BUCKETS)}")
    return f"{PROJECT}-{purpose}-{deployment}-{account}"


# --- keys inside the lake bucket ---------------------------------------------

GLUE_DATABASE = f"{PROJECT}_labels"
LABEL_RECORDS, LABEL_EDITS, IAA_METRICS = "label_records", "label_edits", "iaa_metrics"
LABEL_TABLES = (LABEL_RECORDS, LABEL_EDITS, IAA_METRICS)
ICEBERG_PREFIX = "iceberg/"


def incoming_prefix(slug: str, batch_id: str) -> str:
    """One folder per batch: an S3 prefix without its slash would also match `batch-10`."""
    return f"incoming/{slug}/{batch_id}/"


def incoming_labels(slug: str, batch_id: str) -> str:
    return f"{incoming_prefix(slug, batch_id)}labels.jsonl"


def incoming_taxonomy(slug: str, batch_id: str) -> str:
    """A label set of its own, beside the label file."""
    return f"{incoming_prefix(slug, batch_id)}labels.taxonomy.json"


PROVENANCE_FILE = "provenance.json"


def incoming_provenance(slug: str, batch_id: str) -> str:
    """{"who", "why"} of a batch: without it no label that is there already may be changed."""
    return f"{incoming_prefix(slug, batch_id)}{PROVENANCE_FILE}"


TASKS_PREFIX, INBOX_PREFIX = "tasks/", "inbox/"
TASK_FILE = "task.json"


def task_prefix(slug: str, task: str) -> str:
    return f"{TASKS_PREFIX}{slug}/{task}/"


def task_key(slug: str, task: str) -> str:
    """What was sent out to be labelled; written once."""
    return f"{task_prefix(slug, task)}{TASK_FILE}"


def inbox_prefix(slug: str, task: str) -> str:
    """All deliveries to one task: whoever settles it reads them together."""
    return f"{INBOX_PREFIX}{slug}/{task}/"


def delivery_key(slug: str, task: str, delivery: str) -> str:
    return f"{inbox_prefix(slug, task)}{delivery}.json"


def quarantine_prefix(slug: str, batch_id: str) -> str:
    return f"quarantine/{slug}/{batch_id}/"


def dataset_prefix(slug: str, run_id: str) -> str:
    """A frozen data set: dataset.jsonl + manifest.json."""
    return f"{all_datasets_prefix(slug)}{run_id}/"


def all_datasets_prefix(slug: str) -> str:
    return f"datasets/{slug}/"


FEATURE_DATABASE = "sagemaker_featurestore"  # SageMaker's own name for the Glue database of offline stores


def feature_store_prefix(slug: str) -> str:
    """Offline stores of the story's feature groups."""
    return f"feature-store/{slug}/"


def feature_tables(slug: str) -> str:
    """Which Glue tables those are: SageMaker names one after its group, with `-` or `_`, and the second it was made."""
    return f"{PROJECT}-{slug}-".replace("-", "?") + "*"


def last_good_features(slug: str, group: str) -> str:
    """Where the Iceberg manifest lies that was last read of a group; what a freeze falls back to."""
    return f"{last_good_features_prefix(slug)}{group}.json"


def last_good_features_prefix(slug: str) -> str:
    return f"feature-manifests/{slug}/"


JOINS_PREFIX = "joins/"


def join_prefix(slug: str, folder: str) -> str:
    """A folder of Parquet files that a join on Spark reads or writes: labels, feature rows or joined rows."""
    return f"{JOINS_PREFIX}{slug}/{folder}/"


# --- keys inside the artifacts bucket -----------------------------------------


def pretrained_prefix(encoder: str) -> str:
    return f"pretrained/{encoder}/"


def all_runs_prefix(slug: str) -> str:
    return f"runs/{slug}/"


FEATURE_JOIN_LOGS_PREFIX = "runs/feature-join/"  # the Spark driver's logs; they go after a year, as all runs do


def all_models_prefix(slug: str) -> str:
    return f"models/{slug}/"


def run_prefix(slug: str, run_id: str) -> str:
    """Everything one retrain run writes before it is judged."""
    return f"runs/{slug}/{run_id}/"


def model_prefix(slug: str, digest: str) -> str:
    """A published, signed model, addressed by the digest of its manifest."""
    return f"models/{slug}/{digest[:16]}/"


def no_champion_prefix(slug: str) -> str:
    """Stands for the champion before the first promotion: a job's input prefix may not be empty."""
    return f"models/{slug}/none/"


def announcement(slug: str) -> str:
    """What home says of the version it serves; the only key below `models/SLUG/` that is ever written anew."""
    return f"models/{slug}/promoted.json"


MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
EVALUATION_FILE = "evaluation.json"
DRIFT_REFERENCE_FILE = "drift_reference.json"
VERDICT_FILE = "verdict.json"


ALL_AUDIT_CHECKPOINTS = "audit/checkpoints/"


def audit_checkpoints_prefix(chain: str) -> str:
    """Signed heads of one audit chain. Not in the audit table: who can cut it must not reach what tells."""
    return f"{ALL_AUDIT_CHECKPOINTS}{chain}/"


def audit_checkpoint(chain: str, sequence: int) -> str:
    return f"{audit_checkpoints_prefix(chain)}{sequence:012}.json"


def audit_checkpoint_schedule() -> str:
    return f"{PROJECT}-audit-checkpoint"


def signing_key_alias(deployment: str) -> str:
    return f"{PROJECT}-{deployment}-signing"


def capture_prefix(slug: str) -> str:
    """Firehose appends the UTC hour of arrival, `yyyy/MM/dd/HH/`; the drift monitor reads by it."""
    return f"capture/{slug}/"


def drift_windows_prefix(slug: str) -> str:
    """Counts of each hour, by model version: longer spans are sums of them."""
    return f"drift-windows/{slug}/"


def feedback_prefix(slug: str) -> str:
    """JSON lines {"request_id", "label"}: what the right intent turned out to be."""
    return f"feedback/{slug}/"


# --- named resources -----------------------------------------------------------


def control_table(deployment: str) -> str:
    return f"{PROJECT}-control-{deployment}"


def audit_table(deployment: str) -> str:
    return f"{PROJECT}-audit-{deployment}"


def retrain_state_machine(slug: str) -> str:
    return f"{PROJECT}-{slug}-retrain"


def release_state_machine(slug: str) -> str:
    return f"{PROJECT}-{slug}-release"


def receive_state_machine(slug: str) -> str:
    return f"{PROJECT}-{slug}-receive"


def receive_schedule(slug: str) -> str:
    return f"{PROJECT}-{slug}-receive"


def freeze_job(slug: str, run: str) -> str:
    """Of one run, told apart by twelve digits of its hash: a processing job's name has 63 characters."""
    return f"{PROJECT}-{slug}-freeze-{run[:12]}"[:63]


def label_ingest_state_machine() -> str:
    return f"{PROJECT}-label-ingest"


def label_expiry_state_machine() -> str:
    """Also its schedule's name."""
    return f"{PROJECT}-label-expiry"


def feature_join_state_machine() -> str:
    """Also the name of its EMR Serverless application."""
    return f"{PROJECT}-feature-join"


def feature_join_logs() -> str:
    """Log group of the Spark driver."""
    return f"/aws/emr-serverless/{feature_join_state_machine()}"


def label_callback_api() -> str:
    return f"{PROJECT}-label-callback"


def vendor_secret(vendor: str) -> str:
    """Secrets Manager: what this vendor signs with."""
    return f"{PROJECT}/label-vendors/{vendor}"


def pipeline(slug: str) -> str:
    return f"{PROJECT}-{slug}"


def endpoint(slug: str) -> str:
    return f"{PROJECT}-{slug}"


def model_package_group(slug: str) -> str:
    return f"{PROJECT}-{slug}"


def feature_group(slug: str, name: str) -> str:
    return f"{PROJECT}-{slug}-{name}"


def capture_stream(slug: str) -> str:
    return f"{PROJECT}-{slug}-capture"


def inference_cache(deployment: str) -> str:
    """Replication group, and its one user; ElastiCache allows 40 characters."""
    return f"{PROJECT}-{deployment}-inference"


def function(slug_or_room: str, name: str) -> str:
    return f"{PROJECT}-{slug_or_room}-{name}"


def drift_alarm(slug: str, monitor: str, language: str) -> str:
    return f"{PROJECT}-{slug}-drift-{monitor}-{language}"


def guardrail_alarm(slug: str, name: str) -> str:
    return f"{PROJECT}-{slug}-guardrail-{name}"


def image_repository(kind: str) -> str:
    """ECR repository of an image: `training` or `serving`."""
    return f"{PROJECT}/{kind}"


def sagemaker_model(slug: str, version: str, spec_digest: str) -> str:
    """Model and endpoint-config names: the same version and spec give the same name, so a retry finds it."""
    return f"{PROJECT}-{slug}-v{version}-{spec_digest[:8]}"


def shadow_config(champion: str, candidate: str, percent: int) -> str:
    """Endpoint config with the candidate as the shadow of the champion, which goes by its own config's name.

    So what serves can be told by how a config's name begins, and an undo finds the champion's own config.
    """
    told = hashlib.sha256(f"{candidate} {percent}".encode()).hexdigest()
    return f"{champion}-s{told[:8]}"


_SHADOW_CONFIG = re.compile(r"(?P<champion>.+-[0-9a-f]{8})-s[0-9a-f]{8}")


def champions_own_config(config: str) -> str:
    """The config without the shadow; itself when it has none."""
    found = _SHADOW_CONFIG.fullmatch(config)
    return found["champion"] if found else config


def endpoint_log_group(slug: str) -> str:
    """SageMaker names it; every container of the endpoint logs there."""
    return f"/aws/sagemaker/Endpoints/{endpoint(slug)}"


MAX_EXECUTION_NAME = 80  # Step Functions' limit


def execution_name(mode: str, key: str) -> str:
    """Idempotent execution name: the same event gives the same name, another event another one."""
    name = f"{mode}-{key}"
    clean = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if clean == name and len(name) <= MAX_EXECUTION_NAME:
        return name
    # what was replaced or cut off must still tell two keys apart
    return f"{clean[:MAX_EXECUTION_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
