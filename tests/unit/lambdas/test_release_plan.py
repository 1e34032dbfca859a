"""From a signed model and the serving spec to what the endpoint needs next."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber

from contracts import manifests, naming, records
from contracts.serving import LINEAR, CanaryPolicy, ShadowPolicy
from lambdas.lease.store import DynamoLease
from lambdas.release_plan import logic
from lambdas.release_plan.handler import handler
from lambdas.release_plan.logic import Action, choose_action, deployment_config, endpoint_config_request
from lambdas.shared.endpoints import EndpointState
from lambdas.shared.errors import (
    EndpointBusy,
    GuardrailMissing,
    GuardrailRings,
    LeaseLost,
    NeverPromoted,
    SignatureInvalid,
    SpecUnavailable,
    VersionRejected,
)
from tests.unit.lambdas.account import (
    ARTIFACTS,
    CONTROL,
    GROUP_ARN,
    IMAGE,
    STORY,
    Account,
    endpoint_answer,
    serving_spec,
)

Stub = Callable[[str], Stubber]
PREFILTER = "intent_classifier_prefilter_enabled"
SPEC_PARAMETER = naming.serving_spec_parameter(STORY)


def sign_model(account: Account, version: str, *, story: str = STORY) -> dict[str, str]:
    """A published model: what the pointer says of it."""
    files = {"model.bin": f"weights {version}".encode(), "evaluation.json": b"{}"}
    manifest = manifests.canonical({n: hashlib.sha256(b).hexdigest() for n, b in files.items()}, story=story,
                                   lineage={"run_id": f"run-{version}"})
    digest = manifests.digest(manifest)
    prefix = naming.model_prefix(STORY, digest.hex())
    signature = account.kms.sign(KeyId=account.key_arn, Message=digest, MessageType="DIGEST",
                                 SigningAlgorithm="ECDSA_SHA_256")["Signature"]
    for name, body in {**files, "manifest.json": manifest, "manifest.sig": signature}.items():
        account.put_object(ARTIFACTS, prefix + name, body)
    return {"version": version, "model_uri": f"s3://{ARTIFACTS}/{prefix}", "manifest_sha256": digest.hex()}


@pytest.fixture
def promoted(account: Account) -> Account:
    """Version 2 is current, version 1 previous; spec and flags are in SSM."""
    account.put_control(records.POINTER, **sign_model(account, "2"), previous=sign_model(account, "1"))
    account.ssm.put_parameter(Name=SPEC_PARAMETER, Value=serving_spec().to_json(), Type="String")
    account.set_flag(PREFILTER, "true")
    return account


def config_name(version: str, *, prefilter: bool = True) -> str:
    spec = logic.with_techniques(serving_spec(), STORY, {PREFILTER: prefilter})
    return naming.sagemaker_model(STORY, version, spec.digest())


def at_rest(stub: Stub, config: str | None) -> None:
    if config is None:
        stub("sagemaker").add_client_error("describe_endpoint", "ValidationException", "Could not find endpoint \"x\"")
    else:
        stub("sagemaker").add_response("describe_endpoint", endpoint_answer("InService", config))


def alarms(stub: Stub, **states: str) -> None:
    """CloudWatch's next answer; the guardrails that are not named are quiet."""
    known = {name: "OK" for name in serving_spec().guardrail_alarms} | states
    stub("cloudwatch").add_response(
        "describe_alarms", {"MetricAlarms": [{"AlarmName": n, "StateValue": s} for n, s in known.items()]},
        {"AlarmNames": list(serving_spec().guardrail_alarms)})


def plan(context: Any, version: str = "current", *, undo: bool = False, token: int = 0) -> dict[str, Any]:
    return handler({"story": STORY, "token": token, "version": version, "undo": undo}, context)


def test_the_first_release_creates_an_isolated_endpoint_that_can_verify_its_model(
    promoted: Account, context: Any, stub: Stub
) -> None:
    at_rest(stub, None)
    planned = plan(context)
    assert planned["action"] == "create"
    assert planned["version"] == "2"
    model, container = planned["model"], planned["model"]["PrimaryContainer"]
    assert planned["model_name"] == planned["endpoint_config_name"] == model["ModelName"] == config_name("2")
    assert model["EnableNetworkIsolation"] is True
    assert model["VpcConfig"] == {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    pointer = promoted.control(records.POINTER)
    assert pointer is not None
    assert container["Image"] == IMAGE
    assert container["ModelDataSource"]["S3DataSource"] == {
        "S3Uri": pointer["model_uri"], "S3DataType": "S3Prefix", "CompressionType": "None"}
    key = promoted.kms.get_public_key(KeyId=promoted.key_arn)["PublicKey"]
    assert container["Environment"] == {
        "STORY": STORY, "MODEL_VERSION": "2", "MODEL_MANIFEST_SHA256": pointer["manifest_sha256"],
        "MODEL_PUBLIC_KEY": base64.b64encode(key).decode(), "PREFILTER_ENABLED": "true"}


def test_the_requests_are_what_sagemaker_accepts(promoted: Account, context: Any, stub: Stub) -> None:
    """Held against botocore's service model, which the state machine's SDK integration uses too."""
    at_rest(stub, None)
    planned = plan(context)
    sagemaker = stub("sagemaker")
    arn = "arn:aws:sagemaker:ap-northeast-1:123456789012:x/y"
    sagemaker.add_response("create_model", {"ModelArn": arn})
    sagemaker.client.create_model(**planned["model"])
    sagemaker.add_response("create_endpoint_config", {"EndpointConfigArn": arn})
    sagemaker.client.create_endpoint_config(**planned["endpoint_config"])
    sagemaker.add_response("update_endpoint", {"EndpointArn": arn})
    sagemaker.client.update_endpoint(
        EndpointName=planned["endpoint_name"], DeploymentConfig=planned["deployment_config"],
        EndpointConfigName=planned["endpoint_config_name"])


def test_an_endpoint_on_the_wanted_config_needs_nothing(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("2"))
    assert plan(context)["action"] == "none"


def test_going_back_needs_no_registry(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("2"))
    planned = plan(context, "previous")
    assert (planned["action"], planned["version"]) == ("update", "1")
    assert planned["endpoint_config_name"] == config_name("1")


def test_a_candidate_comes_from_the_registry(promoted: Account, context: Any, stub: Stub) -> None:
    candidate = sign_model(promoted, "3")
    arn = GROUP_ARN.replace("model-package-group/", "model-package/") + "/3"
    stub("sagemaker").add_response(
        "describe_model_package", package("3", candidate, "PendingManualApproval"), {"ModelPackageName": arn})
    at_rest(stub, config_name("2"))
    alarms(stub)
    planned = plan(context, "3")
    assert (planned["action"], planned["endpoint_config_name"]) == ("update", config_name("3"))


def test_a_candidate_is_not_planned_while_the_registry_can_not_be_reached(
    promoted: Account, context: Any, stub: Stub
) -> None:
    """Nobody can say then whether it was rejected: what serves goes on."""
    stub("sagemaker").add_client_error("describe_model_package", "ServiceUnavailable", http_status_code=503)
    with pytest.raises(Exception, match="ServiceUnavailable"):
        plan(context, "4")


def test_a_rejected_version_is_never_released(promoted: Account, context: Any, stub: Stub) -> None:
    stub("sagemaker").add_response("describe_model_package", package("3", sign_model(promoted, "3"), "Rejected"))
    with pytest.raises(VersionRejected, match="version 3 of intent-classifier is rejected"):
        plan(context, "3")


def package(version: str, model: dict[str, str], status: str) -> dict[str, Any]:
    return {
        "ModelPackageName": "g", "ModelPackageArn": f"{GROUP_ARN}/{version}", "CreationTime": 0,
        "ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": status,
        "CustomerMetadataProperties": {"manifest_sha256": model["manifest_sha256"]},
        "InferenceSpecification": {"Containers": [{"Image": IMAGE, "ModelDataSource": {"S3DataSource": {
            "S3Uri": model["model_uri"], "S3DataType": "S3Prefix", "CompressionType": "None"}}}]},
    }


def test_before_any_promotion_there_is_nothing_to_go_to(account: Account, context: Any) -> None:
    with pytest.raises(NeverPromoted, match="was never promoted"):
        plan(context, "current")
    account.put_control(records.POINTER, **sign_model(account, "1"), previous=None)
    with pytest.raises(NeverPromoted, match="has no previous version"):
        plan(context, "previous")


# --- the signature ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "body", "said"), [
    ("manifest.json", b"{}", "not the one that was published"),
    ("manifest.sig", b"forged", "signature is not ours"),
    ("extra.py", b"import os", r"extra\.py is not in the signed manifest"),
    ("model.bin", None, r"model\.bin is in the signed manifest but missing"),
    ("manifest.sig", None, "not signed"),
    ("manifest.json", None, "not signed"),
])
def test_a_tampered_model_is_refused_before_anything_is_planned(
    promoted: Account, context: Any, name: str, body: bytes | None, said: str
) -> None:
    pointer = promoted.control(records.POINTER)
    assert pointer is not None
    key = pointer["model_uri"].removeprefix(f"s3://{ARTIFACTS}/") + name
    if body is None:
        promoted.s3.delete_object(Bucket=ARTIFACTS, Key=key)
    else:
        promoted.put_object(ARTIFACTS, key, body)
    with pytest.raises(SignatureInvalid, match=said):
        plan(context)


def test_another_storys_signed_model_is_refused(promoted: Account, context: Any) -> None:
    promoted.put_control(records.POINTER, **sign_model(promoted, "2", story="spam"))
    with pytest.raises(SignatureInvalid, match="signed for story 'spam'"):
        plan(context)


def test_a_signature_that_kms_calls_invalid_is_a_forgery(promoted: Account, context: Any, stub: Stub) -> None:
    stub("kms").add_client_error("verify", "KMSInvalidSignatureException")
    with pytest.raises(SignatureInvalid, match="signature is not ours"):
        plan(context)


def test_a_bucket_that_refuses_is_an_error_not_a_missing_signature(promoted: Account, context: Any, stub: Stub) -> None:
    stub("s3").add_client_error("get_object", "AccessDenied")
    with pytest.raises(Exception, match="AccessDenied"):
        plan(context)


def test_kms_that_can_not_answer_is_an_error_not_a_forgery(promoted: Account, context: Any, stub: Stub) -> None:
    stub("kms").add_client_error("verify", "ThrottlingException")
    with pytest.raises(Exception, match="ThrottlingException"):
        plan(context)


# --- the spec and the technique flags ------------------------------------------------


def ssm_down(stub: Stub, *operations: str) -> None:
    for operation in operations:
        stub("ssm").add_client_error(operation, "InternalServerError")


def test_the_copy_in_the_control_table_serves_while_ssm_is_down(
    promoted: Account, context: Any, stub: Stub
) -> None:
    at_rest(stub, config_name("2"))
    plan(context)
    assert promoted.control(records.SPEC) == {"spec": serving_spec().to_json()}
    ssm_down(stub, "get_parameter", "get_parameters")
    at_rest(stub, config_name("2"))
    assert plan(context)["action"] == "none"


def test_without_ssm_and_without_a_copy_nothing_is_planned(promoted: Account, context: Any, stub: Stub) -> None:
    ssm_down(stub, "get_parameter")
    with pytest.raises(SpecUnavailable, match="neither in SSM nor in the control table"):
        plan(context)


def test_a_changed_spec_replaces_the_copy_and_gives_another_config(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("2"))
    plan(context)
    changed = serving_spec(min_instances=3).to_json()
    promoted.ssm.put_parameter(Name=SPEC_PARAMETER, Value=changed, Type="String", Overwrite=True)
    at_rest(stub, config_name("2"))
    alarms(stub)
    planned = plan(context)
    assert planned["action"] == "update"
    assert planned["endpoint_config"]["ProductionVariants"][0]["InitialInstanceCount"] == 3
    assert promoted.control(records.SPEC) == {"spec": changed}


def test_a_broken_spec_does_not_replace_a_good_copy(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("2"))
    plan(context)
    promoted.ssm.put_parameter(Name=SPEC_PARAMETER, Value="{", Type="String", Overwrite=True)
    with pytest.raises(json.JSONDecodeError):
        plan(context)
    assert promoted.control(records.SPEC) == {"spec": serving_spec().to_json()}


def test_a_flipped_technique_flag_gives_another_config(promoted: Account, context: Any, stub: Stub) -> None:
    promoted.set_flag(PREFILTER, "false")
    at_rest(stub, config_name("2"))
    alarms(stub)
    planned = plan(context)
    assert planned["action"] == "update"
    assert planned["endpoint_config_name"] == config_name("2", prefilter=False)
    assert planned["model"]["PrimaryContainer"]["Environment"]["PREFILTER_ENABLED"] == "false"


def test_an_unreadable_technique_flag_takes_its_safe_default_and_is_counted(
    promoted: Account, context: Any, stub: Stub, emitted: Callable[[str], list[dict[str, Any]]]
) -> None:
    promoted.ssm.delete_parameter(Name=naming.flag_parameter(PREFILTER))
    at_rest(stub, config_name("2", prefilter=True))
    assert plan(context)["action"] == "none"
    assert [line["Flag"] for line in emitted("FlagFallback")] == [PREFILTER]


# --- an endpoint that is not at rest ---------------------------------------------------


def test_a_canary_to_something_else_is_called_back_and_planned_again(
    promoted: Account, context: Any, stub: Stub
) -> None:
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer("Updating", config_name("2"), pending="other"))
    stub("cloudwatch").add_response("put_metric_data", {}, {"Namespace": "MangaAssist/ML", "MetricData": [{
        "MetricName": "CanaryAbort", "Value": 1, "Unit": "None",
        "Dimensions": [{"Name": "Story", "Value": STORY}, {"Name": "Language", "Value": "all"}]}]})
    with pytest.raises(EndpointBusy, match="abort_canary"):
        plan(context)


def test_a_failed_endpoint_is_deleted_for_nothing_else_is_allowed(promoted: Account, context: Any, stub: Stub) -> None:
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer("Failed", config_name("1"), reason="no ping"))
    stub("sagemaker").add_response("delete_endpoint", {}, {"EndpointName": naming.endpoint(STORY)})
    with pytest.raises(EndpointBusy, match="delete_failed"):
        plan(context)


def test_an_endpoint_on_its_way_elsewhere_is_waited_for(promoted: Account, context: Any, stub: Stub) -> None:
    stub("sagemaker").add_response("describe_endpoint", endpoint_answer("Creating", "other"))
    with pytest.raises(EndpointBusy, match="wait"):
        plan(context)


@pytest.mark.parametrize(("status", "config", "pending", "action"), [
    ("InService", "wanted", "", Action.NONE),
    ("InService", "other", "", Action.UPDATE),
    ("Updating", "other", "wanted", Action.NONE),
    ("Updating", "wanted", "other", Action.ABORT_CANARY),
    ("Updating", "other", "third", Action.ABORT_CANARY),
    ("Creating", "wanted", "", Action.NONE),
    ("Creating", "other", "", Action.WAIT),
    ("RollingBack", "wanted", "other", Action.NONE),
    ("RollingBack", "other", "wanted", Action.WAIT),
    ("Failed", "wanted", "", Action.DELETE_FAILED),
    ("UpdateRollbackFailed", "wanted", "", Action.UPDATE),
    ("SystemUpdating", "wanted", "", Action.WAIT),
    ("Deleting", "wanted", "", Action.WAIT),
])
def test_what_is_done_depends_on_what_the_endpoint_is_doing(
    status: str, config: str, pending: str, action: Action
) -> None:
    assert choose_action(EndpointState(status=status, config=config, pending=pending), "wanted") is action


# --- guardrail alarms that ring before a deployment ------------------------------------


@pytest.mark.parametrize("version", ["current", "3"])
def test_a_release_waits_while_a_guardrail_rings_and_says_which(
    promoted: Account, context: Any, stub: Stub, version: str
) -> None:
    if version == "3":
        stub("sagemaker").add_response(
            "describe_model_package", package("3", sign_model(promoted, "3"), "PendingManualApproval"))
    at_rest(stub, config_name("1"))
    alarms(stub, abort="ALARM", errors="INSUFFICIENT_DATA")
    with pytest.raises(GuardrailRings, match=r"^abort in ALARM: .* intent-classifier .*previous version"):
        plan(context, version)


def test_all_guardrails_that_ring_are_named() -> None:
    found = [{"AlarmName": n, "StateValue": s} for n, s in
             (("abort", "ALARM"), ("errors", "OK"), ("latency", "ALARM"), ("other", "ALARM"))]
    with pytest.raises(EndpointBusy, match=r"^latency, abort in ALARM"):
        logic.refuse_while_ringing(serving_spec(), found)


def test_a_quiet_release_is_guarded_by_its_alarms(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("1"))
    alarms(stub)
    assert plan(context)["deployment_config"] == deployment_config(serving_spec())


def test_traffic_moves_in_the_steps_of_the_contract() -> None:
    linear = CanaryPolicy(percent=30, bake_s=600, termination_wait_s=3_600, routing=LINEAR)
    policy = deployment_config(serving_spec(canary=linear))["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {
        "Type": "LINEAR", "WaitIntervalInSeconds": 600,
        "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 30}}
    assert policy["MaximumExecutionTimeoutInSeconds"] == 1_800 + 4 * 600 + 3_600, "30, 60, 90 and 100 %"
    canary = deployment_config(serving_spec())["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert (canary["Type"], canary["CanarySize"]["Value"]) == ("CANARY", serving_spec().canary.percent)


@pytest.mark.parametrize(("version", "undo", "serves"), [("previous", False, "2"), ("current", True, "3")])
def test_going_back_asks_no_alarm_and_is_guarded_by_none(
    promoted: Account, context: Any, stub: Stub, version: str, undo: bool, serves: str
) -> None:
    stub("cloudwatch")  # any call of it would be refused
    at_rest(stub, config_name(serves))
    planned = plan(context, version, undo=undo)
    assert planned["action"] == "update"
    assert planned["deployment_config"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert "AutoRollbackConfiguration" not in planned["deployment_config"]


def test_undoing_a_reconcile_keeps_the_champions_fleet_and_does_not_bring_the_spec_that_failed(
    promoted: Account, context: Any, stub: Stub
) -> None:
    promoted.ssm.put_parameter(
        Name=SPEC_PARAMETER, Value=serving_spec(min_instances=3).to_json(), Type="String", Overwrite=True)
    at_rest(stub, config_name("2"))
    planned = plan(context, undo=True)
    assert (planned["action"], planned["endpoint_config_name"]) == ("none", config_name("2"))


@pytest.mark.parametrize(("state", "wanted"), [
    (None, "m-v2-new"),
    (EndpointState(status="InService", config="m-v2-old"), "m-v2-old"),
    (EndpointState(status="Updating", config="m-v2-old", pending="m-v2-new"), "m-v2-old"),
    (EndpointState(status="InService", config="m-v20-old"), "m-v2-new"),
    (EndpointState(status="InService", config="m-v3-new"), "m-v2-new"),
    (EndpointState(status="UpdateRollbackFailed", config="m-v2-old"), "m-v2-new"),
    (EndpointState(status="InService", config="m-v2-01234567-s89abcdef"), "m-v2-01234567"),
    (EndpointState(status="Updating", config="m-v2-01234567-s89abcdef", pending="m-v3-01234567"), "m-v2-01234567"),
])
def test_an_undo_wants_the_champions_own_config_while_that_serves(state: EndpointState | None, wanted: str) -> None:
    assert logic.undone(state, "m-v2-new", any_spec="m-v2-") == wanted


@pytest.mark.parametrize("given_back", [False, True])
@pytest.mark.parametrize("undo", [False, True])
def test_a_run_that_lost_its_lease_plans_nothing_more_and_says_who_took_over(
    promoted: Account, context: Any, stub: Stub, undo: bool, given_back: bool
) -> None:
    stub("sagemaker")  # any call of it would be refused
    lease = DynamoLease(promoted.dynamodb, CONTROL, STORY)
    mine = lease.acquire("weekly", now=0, expires_at=100, preempt=False)
    assert mine is not None
    lease.acquire("rollback", now=1, expires_at=100, preempt=True)
    if given_back:  # the roll-back was over before this run looked again
        lease.release("rollback")
    with pytest.raises(LeaseLost, match=r"^token 1 of intent-classifier .* rollback took over"):
        plan(context, undo=undo, token=mine.token)


def test_a_lease_that_was_given_back_and_taken_by_nobody_still_carries_its_last_run(
    promoted: Account, context: Any, stub: Stub
) -> None:
    lease = DynamoLease(promoted.dynamodb, CONTROL, STORY)
    lease.acquire("weekly", now=0, expires_at=100, preempt=False)
    lease.release("weekly")
    at_rest(stub, None)
    assert plan(context, token=1)["action"] == "create"


@pytest.mark.parametrize("serves", ["2", None])
def test_alarms_are_asked_only_when_a_fleet_is_to_be_replaced(
    promoted: Account, context: Any, stub: Stub, serves: str | None
) -> None:
    stub("cloudwatch")
    at_rest(stub, serves and config_name(serves))
    assert plan(context)["action"] == ("none" if serves else "create")


def test_nothing_is_released_while_the_alarms_can_not_be_read(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("1"))
    stub("cloudwatch").add_client_error("describe_alarms", "InternalServiceFault")
    with pytest.raises(Exception, match="InternalServiceFault"):
        plan(context)


def test_a_guardrail_that_does_not_exist_is_an_error_not_silence(promoted: Account, context: Any, stub: Stub) -> None:
    at_rest(stub, config_name("1"))
    stub("cloudwatch").add_response("describe_alarms", {"MetricAlarms": [{"AlarmName": "abort", "StateValue": "OK"}]})
    with pytest.raises(GuardrailMissing, match="latency, errors of intent-classifier"):
        plan(context)


def test_an_execution_of_the_machine_before_it_knew_undo_is_planned_as_a_release(
    promoted: Account, context: Any, stub: Stub
) -> None:
    at_rest(stub, config_name("1"))
    alarms(stub)
    assert "AutoRollbackConfiguration" in handler({"story": STORY, "version": "current"}, context)["deployment_config"]


# --- a shadow on the way -----------------------------------------------------------------

SHADOW = ShadowPolicy(percent=50, watch_s=480, tolerated_disagreement=0.15, compared_percent=10)


@pytest.fixture
def shadowed(promoted: Account, stub: Stub) -> Account:
    """The story has a shadow, and version 3 is a candidate."""
    promoted.ssm.put_parameter(Name=SPEC_PARAMETER, Value=serving_spec(shadow=SHADOW).to_json(), Type="String",
                               Overwrite=True)
    stub("sagemaker").add_response(
        "describe_model_package", package("3", sign_model(promoted, "3"), "PendingManualApproval"))
    return promoted


def shadow_name(champion: str = "2", candidate: str = "3") -> str:
    return naming.shadow_config(config_name(champion), config_name(candidate), SHADOW.percent)


def own_config(stub: Stub, version: str = "2", *, instance_type: str = "ml.g5.2xlarge") -> dict[str, Any]:
    """The champion's own config, of another time: another instance type and count than the spec has now."""
    name = config_name(version)
    variant = {"VariantName": records.VARIANT, "ModelName": name, "InstanceType": instance_type,
               "InitialInstanceCount": 4, "InitialVariantWeight": 2.0}
    stub("sagemaker").add_response("describe_endpoint_config", {
        "EndpointConfigName": name, "EndpointConfigArn": "arn:aws:sagemaker:ap-northeast-1:123456789012:x/y",
        "CreationTime": 0, "ProductionVariants": [variant]}, {"EndpointConfigName": name})
    return variant


def serves(stub: Stub, status: str, config: str, *, pending: str = "", instances: int = 5) -> None:
    stub("sagemaker").add_response("describe_endpoint", {
        **endpoint_answer(status, config, pending=pending),
        "ProductionVariants": [{"VariantName": records.VARIANT, "DesiredInstanceCount": instances}]})


def release(context: Any, version: str = "3", **more: Any) -> dict[str, Any]:
    return handler({"story": STORY, "token": 0, "version": version, "undo": False, "heed_switches": True,
                    "shadowed": False, **more}, context)


def test_a_candidate_stops_as_the_shadow_of_the_champion_as_it_serves(
    shadowed: Account, context: Any, stub: Stub
) -> None:
    serves(stub, "InService", config_name("2"))
    champion = own_config(stub)
    alarms(stub)
    planned = release(context)
    assert (planned["action"], planned["phase"], planned["version"]) == ("update", "shadow", "2")
    assert planned["endpoint_config_name"] == shadow_name()
    assert planned["model_name"] == planned["model"]["ModelName"] == shadow_name(), "a model of its own"
    settings = planned["model"]["PrimaryContainer"]["Environment"]
    assert (settings["MODEL_VERSION"], settings["MODEL_SHADOW"]) == ("3", "true")
    assert planned["endpoint_config"] == {
        "EndpointConfigName": shadow_name(), "ProductionVariants": [champion],
        "ShadowProductionVariants": [{
            "VariantName": records.SHADOW_VARIANT, "ModelName": shadow_name(), "InstanceType": "ml.g5.xlarge",
            "InitialInstanceCount": 3, "InitialVariantWeight": 1.0}]}, "half of five instances' requests"
    policy = planned["deployment_config"]["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"
    assert planned["deployment_config"]["AutoRollbackConfiguration"]["Alarms"]
    assert planned["shadow"] == {"percent": 50, "watch_s": 480, "tolerated_disagreement": 0.15,
                                 "compared_percent": 10, "looks": 5}


def test_a_shadow_config_is_what_sagemaker_accepts(shadowed: Account, context: Any, stub: Stub) -> None:
    serves(stub, "InService", config_name("2"))
    own_config(stub)
    alarms(stub)
    planned, sagemaker = release(context), stub("sagemaker")
    sagemaker.add_response("create_endpoint_config", {"EndpointConfigArn": "arn:aws:sagemaker:ap-northeast-1:1:x/y"})
    sagemaker.client.create_endpoint_config(**planned["endpoint_config"])


@pytest.mark.parametrize(("status", "config", "pending"), [
    ("InService", "", ""), ("Updating", config_name("2"), shadow_name()), ("Updating", "", shadow_name())])
def test_a_release_that_is_started_again_finds_its_shadow(
    shadowed: Account, context: Any, stub: Stub, status: str, config: str, pending: str
) -> None:
    serves(stub, status, config or shadow_name(candidate="1" if pending else "3"), pending=pending)
    own_config(stub)
    planned = release(context)
    assert (planned["action"], planned["phase"], planned["endpoint_config_name"]) == ("none", "shadow", shadow_name())


def test_another_candidates_shadow_makes_room_and_the_champion_keeps_its_own_config(
    shadowed: Account, context: Any, stub: Stub
) -> None:
    serves(stub, "InService", shadow_name(candidate="1"))
    own_config(stub)
    alarms(stub)
    planned = release(context)
    assert (planned["action"], planned["endpoint_config_name"]) == ("update", shadow_name())


def test_after_its_shadow_a_candidate_goes_on_to_its_canary(shadowed: Account, context: Any, stub: Stub) -> None:
    serves(stub, "InService", shadow_name())
    alarms(stub)
    planned = release(context, shadowed=True)
    assert (planned["action"], planned["phase"], planned["version"]) == ("update", "canary", "3")
    assert planned["endpoint_config_name"] == planned["model_name"] == config_name("3")
    assert "MODEL_SHADOW" not in planned["model"]["PrimaryContainer"]["Environment"]
    assert planned["deployment_config"] == deployment_config(serving_spec())
    assert planned["shadow"] == {}


@pytest.mark.parametrize(("status", "config", "pending"), [
    ("Updating", shadow_name(), config_name("3")), ("InService", config_name("3"), "")])
def test_a_canary_in_flight_or_arrived_has_had_its_shadow(
    shadowed: Account, context: Any, stub: Stub, status: str, config: str, pending: str
) -> None:
    serves(stub, status, config, pending=pending)
    planned = release(context)
    assert (planned["action"], planned["phase"]) == ("none", "canary")


@pytest.mark.parametrize(("status", "config", "pending", "said"), [
    ("Updating", config_name("2"), shadow_name(candidate="1"), "abort_canary"),
    ("RollingBack", shadow_name(), config_name("3"), "wait")])
def test_a_shadow_waits_like_any_release_for_what_moves_elsewhere(
    shadowed: Account, context: Any, stub: Stub, status: str, config: str, pending: str, said: str
) -> None:
    serves(stub, status, config, pending=pending)
    if said == "abort_canary":
        stub("cloudwatch").add_response("put_metric_data", {})
    with pytest.raises(EndpointBusy, match=said):
        release(context)


@pytest.mark.parametrize(("more", "config"), [
    ({"heed_switches": False}, "2"), ({"shadowed": True}, "2"), ({}, "1"), ({"version": "2"}, "1")])
def test_no_shadow_without_switches_twice_or_beside_another_version_than_the_promoted_one(
    promoted: Account, context: Any, stub: Stub, more: dict[str, Any], config: str
) -> None:
    promoted.ssm.put_parameter(Name=SPEC_PARAMETER, Value=serving_spec(shadow=SHADOW).to_json(), Type="String",
                               Overwrite=True)
    stub("sagemaker").add_response(
        "describe_model_package", package("3", sign_model(promoted, more.get("version", "3")), "Approved"))
    serves(stub, "InService", config_name(config))
    alarms(stub)
    planned = release(context, **more)
    assert (planned["action"], planned["phase"]) == ("update", "canary")


@pytest.mark.parametrize("story_has_one", [True, False])
def test_no_shadow_without_a_policy_and_none_of_which_only_one_takes_a_volumes_key(
    promoted: Account, context: Any, stub: Stub, story_has_one: bool
) -> None:
    spec = serving_spec(shadow=SHADOW if story_has_one else None)
    promoted.ssm.put_parameter(Name=SPEC_PARAMETER, Value=spec.to_json(), Type="String", Overwrite=True)
    stub("sagemaker").add_response("describe_model_package", package("3", sign_model(promoted, "3"), "Approved"))
    serves(stub, "InService", config_name("2"))
    if story_has_one:
        own_config(stub, instance_type="ml.c7i.xlarge")
    alarms(stub)
    assert release(context)["phase"] == "canary"


def test_the_key_of_volumes_is_the_shadows_too() -> None:
    own = {"ProductionVariants": [{"InstanceType": "ml.c7i.large", "ModelName": "a", "VariantName": "champion"}]}
    found = logic.shadow_config_request(serving_spec(instance_type="ml.c7i.xlarge"), own, name="n", policy=SHADOW,
                                        instances=1)
    assert found is not None
    assert found["KmsKeyId"] == "key-1"
    assert found["ShadowProductionVariants"][0]["InitialInstanceCount"] == 1


@pytest.mark.parametrize(("version", "undo", "wanted"), [("current", True, "2"), ("previous", False, "1")])
def test_an_undo_brings_the_champions_own_config_back_and_a_roll_back_the_previous_ones(
    promoted: Account, context: Any, stub: Stub, version: str, undo: bool, wanted: str
) -> None:
    at_rest(stub, shadow_name())
    planned = plan(context, version, undo=undo)
    assert (planned["action"], planned["endpoint_config_name"]) == ("update", config_name(wanted))
    assert planned["deployment_config"]["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


# --- requests ---------------------------------------------------------------------------


def test_a_key_is_given_only_to_instances_that_take_one() -> None:
    assert "KmsKeyId" not in endpoint_config_request(serving_spec(), name="n")  # ml.g5 has a disk of its own
    assert endpoint_config_request(serving_spec(instance_type="ml.c7i.xlarge"), name="n")["KmsKeyId"] == "key-1"


def test_the_canary_follows_the_spec_and_ends_in_time() -> None:
    config = deployment_config(serving_spec())
    policy = config["BlueGreenUpdatePolicy"]
    assert policy["TrafficRoutingConfiguration"] == {
        "Type": "CANARY", "WaitIntervalInSeconds": 600, "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10}}
    assert policy["TerminationWaitInSeconds"] == 3600
    assert policy["MaximumExecutionTimeoutInSeconds"] == 1800 + 1200 + 3600
    assert config["AutoRollbackConfiguration"] == {"Alarms": [
        {"AlarmName": "latency"}, {"AlarmName": "errors"}, {"AlarmName": "abort"}]}


@pytest.mark.parametrize("names", [(), tuple(f"a{i}" for i in range(11))])
def test_a_canary_without_guardrails_is_no_canary(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=rf"1 to 10 \(SageMaker's limit\), got {len(names)}"):
        deployment_config(serving_spec(guardrail_alarms=names))


