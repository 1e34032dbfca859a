"""Labels in, a promoted and serving model out."""

from __future__ import annotations

import time

from cli import features
from contracts import events, naming
from demo.stage import Stage, expect, expect_outcome


def first_promotion(stage: Stage) -> str:
    started = time.monotonic()
    records = put_history(stage)
    upload_encoder(stage)
    ingest = stage.ingest(stage.material.path)
    if records:
        stage.say("waiting for the offline store")
        features.wait_offline(stage.target, stage.story.cohort_group, records)
    run = stage.retrain(reason="first promotion")
    expect_outcome(run, events.PROMOTED)
    stage.timings["first_promotion"] = time.monotonic() - started
    pointer = stage.pointer()
    endpoint = stage.endpoint()
    expect(endpoint.status == "InService", f"the endpoint is {endpoint.status}")
    expect(
        stage.served_version() == str(pointer["version"]),
        f"the pointer says {pointer['version']}, the endpoint answers as {stage.served_version()}",
    )
    expect(any(run.name in id_ for id_ in stage.audit_ids()), f"no audit record names run {run.name}")
    package = stage.target.client("sagemaker").describe_model_package(
        ModelPackageName=pointer["model_package_arn"]
    )
    expect(
        package["ModelApprovalStatus"] == "Approved",
        f"the registered package is {package['ModelApprovalStatus']}, wanted Approved",
    )
    metrics = stage.evidence(run.name, naming.EVALUATION_FILE)["metrics"]
    return (
        f"{len(ingest.validation.rows)} labels of {ingest.validation.taxonomy.name} -> version "
        f"{pointer['version']}, "
        f"golden macro accuracy {metrics['macro_accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}; signed, "
        f"registered, serving and audited in {stage.timings['first_promotion']:.0f} s"
    )


def put_history(stage: Stage) -> int:
    """What the feature store knows of the customers, into both of its stores; how many records."""
    if stage.material.history is None:
        return 0
    stage.say("putting customers' interaction counts")
    group = stage.story.cohort_group
    records = features.read_records(stage.material.history, group)
    features.put(stage.target, group, records)
    return len(records)


def upload_encoder(stage: Stage) -> None:
    """The pretrained weights, once; production has DistilBERT's files under the same prefix."""
    prefix = naming.pretrained_prefix(stage.story.encoder)
    s3, bucket = stage.target.client("s3"), stage.target.bucket(naming.ARTIFACTS)
    for path in sorted(stage.material.encoder.iterdir()):
        stage.say(f"uploading {path.name}")
        with path.open("rb") as body:
            s3.put_object(Bucket=bucket, Key=prefix + path.name, Body=body)
