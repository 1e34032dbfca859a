"""A release that waits for a person: yes, no, and no answer in time. Real machine, function, parameter and command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from mlplatform import asl, leased_run
from mlplatform.approval import ASK, approval_states

from cli import approvals, executions
from cli.errors import CliError
from contracts import events, naming
from tests.support.deployment import SLUG, Deployed
from tests.support.embedded import eventually, unique

pytestmark = pytest.mark.workflow
SOON_S = 2  # TimeoutSeconds is not on the fast clock
END = "MayBegin"


def definition(deployed: dict[str, Any], *, within_s: int, published: dict[str, str]) -> str:
    """The states of an approval, between a run that has published a version and the ends of every run."""
    states = {
        "Published": asl.put({"story": SLUG, "run_id.$": "$$.Execution.Name", "execution.$": "$$.Execution.Id",
                              "published": published, "input": {}}, at="$", next_=ASK),
        **approval_states(slug=SLUG, within_s=within_s, next_=END, on_error=events.FAILED),
        END: asl.succeed(), events.FAILED: asl.fail("Failed", "a step failed"),
        **leased_run.endings([events.NOT_APPROVED], {}),
    }
    states["RecordOutcome"]["Catch"] = [asl.catch(events.FAILED)]
    text = json.dumps({"StartAt": "Published", "States": states})
    for name, state in (("Audit", "RecordOutcome"), ("Lease", "GiveLeaseBack")):
        text = text.replace(f"${{{name}}}", deployed["States"][state]["Parameters"]["FunctionName"])
    return text.replace("${OnCallTopic}", deployed["States"]["NotifyFailure"]["Parameters"]["TopicArn"])


@pytest.fixture(scope="module")
def asks(promoted: Deployed) -> Iterator[Any]:
    """Start a run that asks, under a role of its own: no story of ours asks yet, so no deployed role may."""
    sfn = promoted.aws.client("stepfunctions")
    machine = sfn.describe_state_machine(
        stateMachineArn=promoted.target.state_machine_arn(naming.retrain_state_machine(SLUG)))
    owner = f"{promoted.aws.region}:{promoted.target.account}"
    role = promoted.aws.role(
        "states.amazonaws.com", ("ssm:PutParameter", f"arn:aws:ssm:{owner}:parameter{naming.approval_parameter(SLUG)}"),
        *((action, "*") for action in ("lambda:InvokeFunction", "sns:Publish", "sagemaker:UpdateModelPackage",
                                       "kms:GenerateDataKey", "kms:Decrypt")))
    version = promoted.pointer()["version"]
    published = {"version": version, "model_package_arn": promoted.package(version)["ModelPackageArn"]}

    def start(*, within_s: int = 60) -> str:
        name = unique("asks")
        arn = sfn.create_state_machine(name=name, roleArn=role, definition=definition(
            json.loads(machine["definition"]), within_s=within_s, published=published))["stateMachineArn"]
        made.append(arn)
        return str(sfn.start_execution(stateMachineArn=arn, name=name, input="{}")["executionArn"])

    made: list[str] = []
    yield start
    for arn in made:
        sfn.delete_state_machine(stateMachineArn=arn)
    promoted.aws.client("sagemaker").update_model_package(
        ModelPackageArn=published["model_package_arn"], ModelApprovalStatus="Approved")


def wait_for_question(jp: Deployed, arn: str) -> str:
    """The version that the run asks about."""
    name = arn.rsplit(":", 1)[1]
    eventually(lambda: "AskApproval" in executions.states_entered(jp.target, arn)[0], within_s=30)

    def asked() -> bool:
        try:
            return approvals.question(jp.target, SLUG).run_id == name
        except CliError:
            return False

    eventually(asked, within_s=30)
    return approvals.question(jp.target, SLUG).version


def test_a_yes_lets_the_release_begin_and_the_audit_trail_says_who_and_why(jp: Deployed, asks: Any) -> None:
    arn = asks()
    version = wait_for_question(jp, arn)
    with pytest.raises(CliError, match=f"asks about version {version} of {SLUG}, not 999"):
        approvals.answer(jp.target, SLUG, "999", approved=True, reason="another one")
    approvals.answer(jp.target, SLUG, version, approved=True, reason="slices read")
    done = executions.wait(jp.target, arn, timeout_s=60)
    assert done.outcome == END, done
    record = json.loads(jp.audit(done.name, events.APPROVED)["detail"])
    assert (record["why"], record["version"]) == ("slices read", version)
    assert record["who"].startswith("arn:aws:")
    with pytest.raises(CliError, match="waits no more"):
        approvals.answer(jp.target, SLUG, version, approved=False, reason="changed my mind")


def test_no_answer_in_time_is_a_no(jp: Deployed, asks: Any) -> None:
    arn = asks(within_s=SOON_S)
    version = wait_for_question(jp, arn)
    before = jp.package_status(version)
    done = executions.wait(jp.target, arn, timeout_s=60)
    assert done.outcome == events.NOT_APPROVED, done
    said = json.loads(jp.audit(done.name, events.NOT_APPROVED)["detail"])["end"]["approval"]
    assert said == {"approved": False, "who": "nobody", "why": f"no answer within {SOON_S} s"}
    assert jp.package_status(version) == before, "it may be asked about again"


def test_a_no_ends_the_run_and_the_version_is_not_asked_about_again(jp: Deployed, asks: Any) -> None:
    arn = asks()
    version = wait_for_question(jp, arn)
    approvals.answer(jp.target, SLUG, version, approved=False, reason="slice ja looks odd")
    done = executions.wait(jp.target, arn, timeout_s=60)
    assert done.outcome == events.NOT_APPROVED, done
    said = json.loads(jp.audit(done.name, events.NOT_APPROVED)["detail"])["end"]["approval"]
    assert (said["approved"], said["why"]) == (False, "slice ja looks odd")
    assert jp.package_status(version) == "Rejected"
