"""{"story", "version", "token", "run_id", "manifest_sha256", "model_uri", "model_package_arn",
"label_version_to", "verdict_uri", "kind": promote|rollback} -> {"promoted": true}.

A roll-back needs story, version, token, run_id and kind only. LeaseLost when another run took over; RegistryNotTold
when the pointer has moved and only the registry's approvals are behind.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from contracts import stories
from contracts.functions import PromoteEnv
from lambdas.promote.logic import approvals, is_done, next_pointer
from lambdas.promote.store import write
from lambdas.shared.audit_record import record
from lambdas.shared.aws import aws_errors, client, environment
from lambdas.shared.errors import RegistryNotTold
from lambdas.shared.observability import instrumented, logger
from lambdas.shared.pointer import read_pointer


@instrumented("promote")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(PromoteEnv), stories.story(event["story"]).slug
    dynamodb = client("dynamodb")
    pointer = read_pointer(dynamodb, env.CONTROL_TABLE, story)
    if pointer is not None and is_done(pointer, event):
        logger.info("an earlier try had moved the pointer")
    else:
        at = datetime.now(UTC).isoformat()
        before, pointer = pointer, next_pointer(pointer, event, at=at)
        audit = record(
            story=story, run_id=event["run_id"], what=pointer["kind"], at=at, detail={"pointer": pointer}
        )
        write(
            dynamodb,
            control_table=env.CONTROL_TABLE,
            audit_table=env.AUDIT_TABLE,
            story=story,
            before=before,
            pointer=pointer,
            audit=audit,
        )
    _tell_registry(pointer)
    return {"promoted": True, "version": pointer["version"]}


def _tell_registry(pointer: dict[str, Any]) -> None:
    """After the pointer: the registry follows what serves, and a retry comes by here again."""
    sagemaker = client("sagemaker")
    try:
        for arn, status in approvals(pointer):
            if sagemaker.describe_model_package(ModelPackageName=arn)["ModelApprovalStatus"] != status:
                sagemaker.update_model_package(
                    ModelPackageArn=arn,
                    ModelApprovalStatus=status,
                    ApprovalDescription=f"{pointer['kind']} by run {pointer['run_id']}",
                )
    except aws_errors() as error:
        raise RegistryNotTold(
            f"version {pointer['version']} serves, the registry was not told ({type(error).__name__})"
        ) from None
