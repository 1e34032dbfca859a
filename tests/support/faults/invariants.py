"""What must hold whatever went wrong, each as a sentence that is said when it does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import audit, status
from contracts import events, manifests, naming, records
from tests.support.deployment import ENDPOINT, SLUG, Deployed
from tests.support.faults.scenes import Played

LEASE_HELD = "the lease is held"  # as Deployed.left_behind says it


@dataclass(frozen=True, kw_only=True)
class World:
    """What serves, before and after. `answers` is empty when there is no endpoint."""

    pointer: dict[str, Any] | None
    config: str
    answers: str

    @property
    def version(self) -> str:
        return str(self.pointer["version"]) if self.pointer else ""


def look(jp: Deployed) -> World:
    endpoint = jp.endpoint()
    return World(pointer=status.pointer(jp.target, SLUG), config=endpoint.config,
                 answers="" if endpoint.status == "absent" else str(jp.ask()["model_version"]))


def broken(jp: Deployed, before: World, played: Played) -> list[str]:
    """The invariants that an ended execution left broken."""
    after = look(jp)
    said = [*_serves_whole(jp, before, after, played), *_evidence(jp, before, after, played), *_trail(jp, played),
            *left_running(jp)]
    return list(dict.fromkeys(said))


def _serves_whole(jp: Deployed, before: World, after: World, played: Played) -> Iterator[str]:
    if jp.endpoint().status not in ("InService", "absent"):
        yield f"the endpoint is {jp.endpoint().status}"
    if after.answers:
        if not after.config.startswith(f"{ENDPOINT}-v{after.answers}-"):
            yield f"version {after.answers} answers under the config {after.config}"
        yield from _manifest(jp, after.answers)
    if after.answers == after.version:
        return
    if not told_on_call(played):
        yield f"version {after.answers or 'none'} serves, the pointer names {after.version or 'none'}: nobody was told"
    if after.answers not in (before.answers, before.version, jp.newest_package(), played.candidate):
        yield f"version {after.answers} serves, which is neither the old nor the new one"


def _manifest(jp: Deployed, version: str) -> Iterator[str]:
    """The version is one whole: what the registry knows is what lies in S3 and what the pointer names."""
    package = jp.package(version)
    known = package["CustomerMetadataProperties"]["manifest_sha256"]
    uri = package["InferenceSpecification"]["Containers"][0]["ModelDataSource"]["S3DataSource"]["S3Uri"]
    bucket, prefix = uri.removeprefix("s3://").split("/", 1)
    body = jp.aws.client("s3").get_object(Bucket=bucket, Key=prefix + naming.MANIFEST_FILE)["Body"].read()
    if manifests.digest(body).hex() != known:
        yield f"version {version}: manifest and registry differ"
    pointer = status.pointer(jp.target, SLUG)
    if pointer and pointer["version"] == version and pointer["manifest_sha256"] != known:
        yield f"version {version}: pointer and registry differ"


def _evidence(jp: Deployed, before: World, after: World, played: Played) -> Iterator[str]:
    """The pointer moves only to what passed, and its move is in the trail."""
    if after.pointer == before.pointer or after.pointer is None:
        return
    bucket, key = after.pointer["verdict_uri"].removeprefix("s3://").split("/", 1)
    if not json.loads(jp.aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())["passed"]:
        yield f"version {after.version} was promoted without a passed verdict"
    if after.pointer["run_id"] != played.run_id:
        yield f"{after.pointer['run_id']} moved the pointer, not {played.run_id}"
    elif not _record(jp, played.run_id, after.pointer["kind"]):
        yield "the pointer moved and the trail does not say so"


def _trail(jp: Deployed, played: Played) -> Iterator[str]:
    """Each try's end is a record that holds its input and its execution. When the trail itself could not be written,
    the page is what is left."""
    if not audit.verify_chain(jp.target, SLUG).intact:
        yield "the audit chain does not verify"
    ends = [end for end in events.OUTCOMES if _record(jp, played.run_id, end)]
    if len(ends) > played.try_:
        yield f"{len(ends)} ends of {played.try_} tries are in the trail ({', '.join(ends)})"
    if played.outcome not in ends and not told_on_call(played):
        yield f"it ended as {played.outcome}, the trail says {', '.join(ends) or 'nothing'}, and nobody was told"


def _record(jp: Deployed, run_id: str, what: str) -> bool:
    key = {records.AUDIT_PARTITION_KEY: {"S": SLUG}, records.AUDIT_SORT_KEY: {"S": records.audit_id(run_id, what)}}
    return "Item" in jp.aws.client("dynamodb").get_item(
        TableName=naming.audit_table(jp.target.deployment.name), Key=key, ConsistentRead=True)


def left_running(jp: Deployed) -> Iterator[str]:
    yield from (left for left in jp.left_behind()
                if not left.startswith("the endpoint is") and not (left == LEASE_HELD and _holder_has_ended(jp)))
    sfn = jp.aws.client("stepfunctions")
    for machine in sfn.list_state_machines()["stateMachines"]:
        for execution in sfn.list_executions(stateMachineArn=machine["stateMachineArn"],
                                             statusFilter="RUNNING")["executions"]:
            yield f"{machine['name']}: {execution['name']} runs"
    listed = jp.aws.client("sagemaker").list_pipeline_executions(PipelineName=naming.pipeline(SLUG))
    for found in listed["PipelineExecutionSummaries"]:
        if found["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            yield f"pipeline execution {found['PipelineExecutionArn'].rpartition('/')[2]} runs"
    containers = _containers(jp.aws.running.config.data_dir / "endpoints")
    wanted = 0 if jp.endpoint().status == "absent" else 1
    if containers != wanted:
        yield f"{containers} serving containers are there, not {wanted}"


def _holder_has_ended(jp: Deployed) -> bool:
    """A lease that could not be given back blocks nobody: whoever wants it finds out that its holder is over."""
    holder = (status.control_item(jp.target, SLUG, records.LEASE) or {}).get("holder")
    return holder is not None and jp.aws.client("stepfunctions").describe_execution(
        executionArn=holder)["status"] != "RUNNING"


def _containers(folder: Path) -> int:
    """Folders of serving containers: each is removed with its container."""
    return len([path for path in folder.iterdir() if path.is_dir()]) if folder.is_dir() else 0


def told_on_call(played: Played) -> bool:
    return any(c["service"] == "sns" and c["operation"] == "Publish" and c["status"] == 200 for c in played.calls)
