"""A judged candidate becomes a signed, content-addressed copy and a package in the registry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contracts import manifests, naming
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from lambdas.publish.handler import handler
from lambdas.publish.logic import check_verdict, model_root, sources
from lambdas.shared.errors import EvidenceMissing, InvalidInput, SignatureInvalid
from lambdas.shared.packages import package_request
from tests.unit.lambdas.account import ARTIFACTS, IMAGE, STORY, Account
from tests.unit.lambdas.evidence import EVALUATION_KEY, EVALUATION_URI, FOLDER, RUN, passing_report, put_evaluation

Stub = Callable[[str], Stubber]
MODEL = f"{FOLDER}model/job-1/output/model/"
FILES = {"serving/model.bin": b"weights" * 300_000, "serving/config.json": b"{}", "training.json": b"{}"}
GROUP = naming.model_package_group(STORY)


@pytest.fixture
def candidate(account: Account) -> Account:
    """A trained, evaluated and accepted model in the run's folder."""
    for name, body in FILES.items():
        account.put_object(ARTIFACTS, MODEL + name, body)
    put_evaluation(account, passing_report())
    account.put_object(ARTIFACTS, f"{FOLDER}evaluation/{naming.DRIFT_REFERENCE_FILE}", b'{"features": {}}')
    put_verdict(account)
    return account


def put_verdict(account: Account, **changes: Any) -> None:
    evaluation = account.s3.get_object(Bucket=ARTIFACTS, Key=EVALUATION_KEY)["Body"].read()
    verdict = {"story": STORY, "passed": True, "evaluation_sha256": hashlib.sha256(evaluation).hexdigest()}
    account.put_object(ARTIFACTS, f"{FOLDER}evaluation/verdict.json", json.dumps(verdict | changes).encode())


def publish(context: Any, **changes: Any) -> dict[str, Any]:
    return handler({
        "story": STORY, "run_id": RUN, "model_uri": f"s3://{ARTIFACTS}/{FOLDER}model/",
        "evaluation_uri": EVALUATION_URI, "verdict_uri": EVALUATION_URI + "verdict.json", **changes,
    }, context)


def package_arn(version: int) -> str:
    return f"arn:aws:sagemaker:ap-northeast-1:123456789012:model-package/{GROUP}/{version}"


def expect_new_package(stub: Stub, version: int = 5) -> None:
    stub("sagemaker").add_response("list_model_packages", {"ModelPackageSummaryList": []})
    stub("sagemaker").add_response("create_model_package", {"ModelPackageArn": package_arn(version)})


def published(account: Account, prefix: str) -> dict[str, bytes]:
    listed = account.s3.list_objects_v2(Bucket=ARTIFACTS, Prefix=prefix).get("Contents", [])
    return {e["Key"].removeprefix(prefix): account.s3.get_object(Bucket=ARTIFACTS, Key=e["Key"])["Body"].read()
            for e in listed}


def test_every_file_and_its_evidence_is_copied_hashed_and_signed(candidate: Account, context: Any, stub: Stub) -> None:
    expect_new_package(stub)
    answer = publish(context)
    prefix = naming.model_prefix(STORY, answer["manifest_sha256"])
    assert answer == {"version": "5", "model_package_arn": package_arn(5), "model_uri": f"s3://{ARTIFACTS}/{prefix}",
                      "manifest_sha256": answer["manifest_sha256"]}
    found = published(candidate, prefix)
    manifest = found.pop("manifest.json")
    signature = found.pop("manifest.sig")
    assert set(found) == {*FILES, "evaluation.json", "drift_reference.json"}
    manifests.check_files(manifest, {name: hashlib.sha256(body).hexdigest() for name, body in found.items()})
    assert hashlib.sha256(manifest).hexdigest() == answer["manifest_sha256"]
    assert candidate.kms.verify(KeyId=candidate.key_arn, Message=manifests.digest(manifest), MessageType="DIGEST",
                                Signature=signature, SigningAlgorithm="ECDSA_SHA_256")["SignatureValid"]
    assert json.loads(manifest)["lineage"] == {
        "code_sha256": "c" * 64, "base_model_sha256": "b" * 64, "seed": "13", "training_usd": "3.5", "run_id": RUN,
        "freeze_id": "f" * 16, "label_version_to": "7"}


def test_the_package_names_the_prefix_the_image_and_where_the_model_comes_from(
    candidate: Account, context: Any, stub: Stub
) -> None:
    sagemaker = stub("sagemaker")
    sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": []})
    sent: dict[str, Any] = {}
    sagemaker.client.meta.events.register_last(
        "provide-client-params.sagemaker.CreateModelPackage", lambda params, **_: sent.update(params))
    sagemaker.add_response("create_model_package", {"ModelPackageArn": package_arn(1)})
    answer = publish(context)
    assert sent["ClientToken"] == answer["manifest_sha256"][:36]
    assert sent["ModelApprovalStatus"] == "PendingManualApproval"
    container = sent["InferenceSpecification"]["Containers"][0]
    assert container == {"Image": IMAGE, "ModelDataSource": {"S3DataSource": {
        "S3Uri": answer["model_uri"], "S3DataType": "S3Prefix", "CompressionType": "None"}}}
    properties = sent["CustomerMetadataProperties"]
    assert properties["manifest_sha256"] == answer["manifest_sha256"]
    assert properties["verdict_uri"] == EVALUATION_URI + "verdict.json"
    assert properties["run_id"] == RUN
    assert {origin.name for origin in INTENT_CLASSIFIER.registry.lineage} <= properties.keys()
    assert {path: properties[path] for path in INTENT_CLASSIFIER.registry.metrics} == {
        "metrics.macro_accuracy": "0.93", "metrics.macro_f1": "0.92", "metrics.calibration_error": "0.03",
        "serving.p95_ms": "6", "serving.p99_ms": "9", "cost.training_usd": "3.5", "cost.serving_usd_per_100k": "0.4"}
    assert sent["ModelMetrics"]["ModelQuality"]["Statistics"] == {
        "ContentType": "application/json", "S3Uri": answer["model_uri"] + "evaluation.json"}


def test_publishing_twice_is_publishing_once(candidate: Account, context: Any, stub: Stub) -> None:
    expect_new_package(stub)
    first = publish(context)
    prefix = naming.model_prefix(STORY, first["manifest_sha256"])
    before = published(candidate, prefix)
    sagemaker = stub("sagemaker")
    sagemaker.add_response("list_model_packages", {"ModelPackageSummaryList": [
        summary(9), summary(5)]}, {"ModelPackageGroupName": GROUP, "SortBy": "CreationTime", "SortOrder": "Descending",
                                   "MaxResults": ANY})
    sagemaker.add_response("describe_model_package", described(9, None))
    sagemaker.add_response("describe_model_package", described(5, first["manifest_sha256"]))
    assert publish(context) == first
    assert published(candidate, prefix) == before  # the signature, too: ECDSA signs differently each time


def summary(version: int) -> dict[str, Any]:
    return {"ModelPackageName": GROUP, "ModelPackageArn": package_arn(version), "CreationTime": 0,
            "ModelPackageStatus": "Completed"}


def described(version: int, manifest_sha256: str | None) -> dict[str, Any]:
    answer = {**summary(version), "ModelPackageStatusDetails": {"ValidationStatuses": []}}
    return answer | ({"CustomerMetadataProperties": {"manifest_sha256": manifest_sha256}} if manifest_sha256 else {})


def test_the_evaluation_may_be_named_by_its_file(candidate: Account, context: Any, stub: Stub) -> None:
    expect_new_package(stub)
    assert publish(context, evaluation_uri=EVALUATION_URI + "evaluation.json")["version"] == "5"


def test_a_try_that_stopped_before_the_signature_is_finished(candidate: Account, context: Any, stub: Stub) -> None:
    expect_new_package(stub)
    first = publish(context)
    prefix = naming.model_prefix(STORY, first["manifest_sha256"])
    candidate.s3.delete_object(Bucket=ARTIFACTS, Key=prefix + "manifest.sig")
    candidate.s3.delete_object(Bucket=ARTIFACTS, Key=prefix + "serving/config.json")
    expect_new_package(stub)
    publish(context)
    assert {"manifest.sig", "serving/config.json"} <= published(candidate, prefix).keys()


def test_a_prefix_that_somebody_else_signed_is_refused(candidate: Account, context: Any, stub: Stub) -> None:
    expect_new_package(stub)
    prefix = naming.model_prefix(STORY, publish(context)["manifest_sha256"])
    candidate.put_object(ARTIFACTS, prefix + "manifest.sig", b"forged")
    with pytest.raises(SignatureInvalid, match="not ours"):
        publish(context)


@pytest.mark.parametrize(("changes", "said"), [
    ({"passed": False}, "a rejected candidate is never published"),
    ({"passed": "true"}, "a rejected candidate is never published"),
    ({"evaluation_sha256": "0" * 64}, "judged another evaluation"),
    ({"story": "spam"}, "verdict is of story 'spam'"),
])
def test_only_an_accepted_verdict_on_this_very_evaluation_publishes(
    candidate: Account, context: Any, changes: dict[str, Any], said: str
) -> None:
    put_verdict(candidate, **changes)
    with pytest.raises(EvidenceMissing, match=said):
        publish(context)
    assert published(candidate, naming.all_models_prefix(STORY)) == {}


def test_a_candidate_without_drift_reference_is_not_published(candidate: Account, context: Any) -> None:
    candidate.s3.delete_object(Bucket=ARTIFACTS, Key=f"{FOLDER}evaluation/{naming.DRIFT_REFERENCE_FILE}")
    with pytest.raises(EvidenceMissing, match=r"drift_reference\.json does not exist"):
        publish(context)


def test_a_model_outside_the_storys_runs_is_refused(candidate: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match="must lie below s3://artifacts/runs/intent-classifier/"):
        publish(context, model_uri=f"s3://{ARTIFACTS}/models/{STORY}/x/")


def test_an_empty_prefix_is_no_model(candidate: Account, context: Any) -> None:
    with pytest.raises(EvidenceMissing, match="no model below runs/intent-classifier/nothing/"):
        publish(context, model_uri=f"s3://{ARTIFACTS}/runs/{STORY}/nothing/")


def test_the_models_folder_is_found_below_the_training_jobs_output() -> None:
    keys = ["r/model/job/output/model/a", "r/model/job/output/model/b/c"]
    assert model_root(keys, "r/model/") == "r/model/job/output/model/"
    assert model_root(["m/a", "m/b"], "m/") == "m/"
    with pytest.raises(EvidenceMissing, match="several models below r/"):
        model_root(["r/j1/output/model/a", "r/j2/output/model/a"], "r/")


def test_a_training_job_may_not_write_its_own_evidence() -> None:
    with pytest.raises(EvidenceMissing, match=r"wrote evaluation\.json"):
        sources(["m/evaluation.json", "m/a"], "m/", "e/")


def test_a_verdict_must_say_true_and_nothing_like_it() -> None:
    with pytest.raises(EvidenceMissing, match="did not pass"):
        check_verdict({"story": STORY, "evaluation_sha256": "x", "passed": 1}, story=STORY, evaluation_sha256="x")


@pytest.mark.parametrize(("spoilt", "said"), [
    ({"lineage": {"seed": 13, "base_model_sha256": "b" * 64}}, r"code_sha256 \(lineage.code_sha256 must be 64 hex"),
    ({"dataset": {"label_version_to": 7}}, r"freeze_id .* train on a data set that the freeze job wrote"),
    ({"serving": {"p95_ms": 6.0}}, r"serving.p99_ms \(a finite number"),
])
def test_a_candidate_that_lacks_a_part_of_the_registry_contract_is_refused_by_name_and_nothing_is_written(
    candidate: Account, context: Any, spoilt: dict[str, Any], said: str
) -> None:
    put_evaluation(candidate, passing_report() | spoilt)
    put_verdict(candidate)
    with pytest.raises(EvidenceMissing, match=said):
        publish(context)
    assert published(candidate, naming.all_models_prefix(STORY)) == {}


def test_metadata_keeps_the_registrys_limit_of_256_characters() -> None:
    request = package_request(group="g", image="i", model_uri="u", manifest_sha256="d" * 64,
                              instance_type="ml.m5.large", properties={"long": "x" * 999, "empty": ""})
    assert request["CustomerMetadataProperties"] == {"manifest_sha256": "d" * 64, "long": "x" * 256}
