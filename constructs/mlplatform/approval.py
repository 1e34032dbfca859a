"""A person's word before a release, for stories whose contract asks for it.

The machine waits with a task token until `mangaassist approve` or `mangaassist reject` answers. The token lies in one
SSM parameter of the story: whoever answers needs to read that and `states:SendTaskSuccess`. Who answered and why is
in the audit trail before anything moves; no answer in time is a no.
"""

from __future__ import annotations

from contracts import events, naming
from mlplatform import asl
from mlplatform.asl import State
from mlplatform.policies import Statement, allow, arn

ASK = "NotifyApprovalWanted"


def approval_states(*, slug: str, within_s: int, next_: str, on_error: str) -> dict[str, State]:
    """From `ASK` to `next_`, or to `AsNotApproved`. Reads `$.published` and leaves `$.approval`."""
    return {
        ASK: asl.notify(
            "Approval wanted", "States.Format('{}: run {} asks to release version {}: mangaassist approve (or reject) "
            "{} {} --reason ... Execution: {}', $.story, $.run_id, $.published.version, $.story, "
            "$.published.version, $.execution)", next_="AskApproval"),
        "AskApproval": {
            "Type": "Task", "Resource": "arn:aws:states:::aws-sdk:ssm:putParameter.waitForTaskToken",
            "Parameters": {
                "Name": naming.approval_parameter(slug), "Type": "String", "Overwrite": True,
                "Value.$": "States.Format('{} {} {}', $$.Task.Token, $.run_id, $.published.version)"},
            "TimeoutSeconds": within_s, "ResultPath": "$.approval",
            # A question that timed out is not put a second time.
            "Retry": asl.retries(permanent=(*asl.PERMANENT_ERRORS, "States.Timeout")),
            "Catch": [asl.catch("NobodyAnswered", "States.Timeout"), asl.catch(on_error)], "Next": "Approved"},
        "NobodyAnswered": asl.put({"approved": False, "who": "nobody", "why": f"no answer within {within_s} s"},
                                  at="$.approval", next_="AsNotApproved"),
        "Approved": asl.choose(
            asl.both(asl.present("$.approval.approved", ""), asl.equals("$.approval.approved", True, ""),
                     "RecordApproval"), default="TurnDownVersion"),
        # Else a receiving region would ask again within the hour.
        "TurnDownVersion": asl.call(
            "sagemaker", "updateModelPackage",
            {"ModelPackageArn.$": "$.published.model_package_arn", "ModelApprovalStatus": "Rejected",
             "ApprovalDescription.$": "States.Format('not approved by {}: {}', $.approval.who, $.approval.why)"},
            next_="AsNotApproved", on_error=on_error, result=None),
        "RecordApproval": asl.function(
            "Audit", {"story.$": "$.story", "run_id.$": "$.run_id", "outcome": events.APPROVED,
                      "detail": {"who.$": "$.approval.who", "why.$": "$.approval.why",
                                 "version.$": "$.published.version"}},
            next_=next_, on_error=on_error, result=None),
    }


def ask_for_approval(slug: str) -> Statement:
    return allow("ssm:PutParameter", on=arn("ssm", f"parameter{naming.approval_parameter(slug)}"))
