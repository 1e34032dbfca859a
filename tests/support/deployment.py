"""The jp deployment in an embedded AWS, with labels and a tiny encoder: real templates, functions, jobs and endpoint.

One per process of a test session, because synthesis, deploy and the first promotion cost a minute. A test may leave
another champion behind, never a run, a lease, a fault or a flag: `at_rest` says what it left.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from cli import executions, features, flags, labels, status, traffic
from cli.target import Target
from contracts import events, naming, pipeline, records
from contracts.deployments import DEPLOYMENTS
from contracts.kill_switches import GLOBAL_FREEZE
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from local.deploy import deploy
from tests.support import shop_labels
from tests.support.embedded import EmbeddedAws, embedded_aws, eventually

ROOT = Path(__file__).resolve().parents[2]
STORY = INTENT_CLASSIFIER
SLUG = STORY.slug
ENDPOINT = naming.endpoint(SLUG)
CLOCK_FACTOR = 300.0  # the 10 minutes' bake of a canary takes 2 s, the hour that the old fleet stays warm 12 s
PATIENCE_S = 300.0  # for a whole run on a busy machine; an idle one needs a tenth
BRIEF = {"CalibrationRows": "0"}  # training takes a second, calibration would take more
FLAGS = {flag.name: str(flag.initial).lower() for flag in (GLOBAL_FREEZE, *STORY.flags)}


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What must stay the same when a run ends without promoting."""

    pointer: dict[str, Any]
    config: str
    answers_as: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """An ended execution of the retrain machine; `states` in order, each once."""

    name: str
    outcome: str
    states: tuple[str, ...]
    errors: tuple[str, ...]
    seconds: float


@dataclass
class Deployed:
    aws: EmbeddedAws
    target: Target
    folder: Path
    assembly: Path
    newest_labels: int = 0  # the label version of the last ingest
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # --- labels ----------------------------------------------------------------

    def label_file(self, rows: Sequence[shop_labels.Row]) -> Path:
        """A file of its own each time: the same bytes again would be the same batch."""
        number = next(self._numbers)
        return shop_labels.write(self.folder / f"labels-{number}.jsonl", [{**row, "note": str(number)} for row in rows])

    def ingest(self, rows: Sequence[shop_labels.Row]) -> labels.Ingest:
        path = self.label_file(rows)
        done = labels.ingest(self.target, path, story=SLUG, validation=labels.check(path))
        assert done.execution.outcome == labels.INGESTED, done.execution
        self.newest_labels = int(done.execution.output["ingest"]["label_version"])
        return done

    @contextmanager
    def other_labels(self, rows: Sequence[shop_labels.Row]) -> Iterator[None]:
        """The newest row of an id counts: afterwards the good ones are the newest again."""
        self.ingest(rows)
        try:
            yield
        finally:
            self.ingest(shop_labels.rows())

    # --- runs --------------------------------------------------------------------

    def start(self, *, name: str | None = None, brief: bool = True, **options: Any) -> str:
        if brief and options.get("mode", "retrain") == "retrain":
            options.setdefault("hyperparameters", BRIEF)
        return executions.start_retrain(self.target, SLUG, name=name, **options)

    def run(self, **options: Any) -> Run:
        """Start the retrain machine and wait for its end."""
        return self.finish(self.start(**options))

    def finish(self, arn: str) -> Run:
        done = executions.wait(self.target, arn, timeout_s=PATIENCE_S)
        errors = self.errors(arn)
        if done.outcome == events.REJECTED:
            errors = (*errors, self.audit(done.name, events.REJECTED)["detail"])
        return Run(name=done.name, outcome=done.outcome, states=tuple(dict.fromkeys(done.states)), errors=errors,
                   seconds=done.seconds)

    def wait_for_state(self, arn: str, state: str) -> None:
        """Until the execution has entered the state, whatever it did since."""
        eventually(lambda: state in executions.states_entered(self.target, arn)[0], within_s=PATIENCE_S)

    def release(self, version: str, *, undo: bool = False) -> dict[str, Any]:
        """Run the release machine by itself; the description of the ended execution."""
        return self.finish_release(self.start_release(version, undo=undo))

    def start_release(self, version: str, *, undo: bool = False) -> str:
        return executions.start(
            self.target, naming.release_state_machine(SLUG),
            {"story": SLUG, "token": self.lease_token(), "version": version, "heed_switches": not undo, "undo": undo},
            name=executions.new_name("release"))

    def finish_release(self, arn: str) -> dict[str, Any]:
        eventually(lambda: self._describe(arn)["status"] != "RUNNING", within_s=PATIENCE_S)
        return self._describe(arn)

    def _describe(self, arn: str) -> dict[str, Any]:
        return dict(self.aws.client("stepfunctions").describe_execution(executionArn=arn))

    def runs(self) -> dict[str, str]:
        """Name -> ARN of every execution of the retrain machine."""
        return {e["name"]: e["executionArn"] for e in executions.recent(self.target, SLUG, 1000)}

    def promote_another(self) -> None:
        """Not what the test is about, so the record of calls begins after it."""
        run = self.run(reason="another version")
        assert run.outcome == events.PROMOTED, run
        self.forget_calls()

    def with_newest_labels(self) -> None:
        """Afterwards the champion has seen every label."""
        if int(self.pointer()["label_version_to"]) < self.newest_labels:
            self.promote_another()

    def with_previous(self) -> None:
        """Afterwards there is a version to go back to."""
        if not self.pointer().get("previous"):
            self.promote_another()

    def errors(self, arn: str) -> tuple[str, ...]:
        """Every failed try of an execution: what a person would look for in its history."""
        pages = self.aws.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        details = [e["taskFailedEventDetails"] for page in pages for e in page["events"]
                   if "taskFailedEventDetails" in e]
        return tuple(f"{d.get('error')}: {d.get('cause', '')[:300]}" for d in details)

    # --- what is there -------------------------------------------------------------

    def pointer(self) -> dict[str, Any]:
        found = status.pointer(self.target, SLUG)
        assert found is not None, "never promoted"
        return found

    def lease_token(self) -> int:
        return int((status.control_item(self.target, SLUG, records.LEASE) or {}).get("token", 0))

    def endpoint(self) -> status.EndpointState:
        return status.endpoint(self.target, SLUG)

    def ask(self, text: str = "please order the volume") -> dict[str, Any]:
        return traffic.ask(self.target, SLUG, text, cohort=None, daypart=None)

    def serving(self) -> Serving:
        """Pointer, endpoint and the endpoint's own answer."""
        return Serving(pointer=self.pointer(), config=self.endpoint().config, answers_as=self.ask()["model_version"])

    @contextmanager
    def serving_unchanged(self) -> Iterator[None]:
        before = self.serving()
        assert before.answers_as == before.pointer["version"]
        yield
        assert self.serving() == before

    def lease_is_free(self) -> bool:
        return "holder" not in (status.control_item(self.target, SLUG, records.LEASE) or {})

    def lease(self, action: str, holder: str) -> dict[str, Any]:
        """What another run would do: take the lease or give it back."""
        error, answer = self.aws.invoke(naming.function("platform", "lease"), {
            "story": SLUG, "action": action, "holder": holder})
        assert error is None, answer
        return dict(answer)

    def audit(self, run_id: str, what: str, *, story: str = SLUG) -> dict[str, Any]:
        """One audit record; fails when there is none."""
        item = self.aws.client("dynamodb").get_item(
            TableName=naming.audit_table(self.target.deployment.name),
            Key={"story": {"S": story}, "id": {"S": f"{run_id}#{what}"}}).get("Item")
        assert item is not None, f"no audit record {run_id}#{what}"
        return {name: TypeDeserializer().deserialize(value) for name, value in item.items()}

    def package_status(self, version: str) -> str:
        return str(self.package(version)["ModelApprovalStatus"])

    def package(self, version: str) -> dict[str, Any]:
        """One version in the model registry."""
        owner = f"arn:aws:sagemaker:{self.aws.region}:{self.target.account}"
        return dict(self.aws.client("sagemaker").describe_model_package(
            ModelPackageName=f"{owner}:model-package/{naming.model_package_group(SLUG)}/{version}"))

    def newest_package(self) -> str:
        """The version that was registered last."""
        listed = self.aws.client("sagemaker").list_model_packages(
            ModelPackageGroupName=naming.model_package_group(SLUG), SortBy="CreationTime", SortOrder="Descending")
        return str(listed["ModelPackageSummaryList"][0]["ModelPackageArn"].rsplit("/", 1)[1])

    def calls(self, operation: str) -> list[dict[str, Any]]:
        """Recorded calls of one operation since the test began or what it needs was there."""
        return list(self.aws.local("GET", f"calls?operation={operation}"))

    def forget_calls(self) -> None:
        self.aws.local("DELETE", "calls")

    def come_to_rest(self) -> None:
        """Until what earlier traffic set off by itself (an alarm, a retrain) has its end."""
        eventually(lambda: self.left_behind() == [], within_s=180)

    def forget_drift_retrains(self) -> None:
        """As a day later: until then another drift alarm of the story starts nothing, whoever rang the first."""
        self.aws.client("dynamodb").delete_item(
            TableName=naming.control_table(self.target.deployment.name),
            Key={records.CONTROL_PARTITION_KEY: {"S": records.FLEET},
                 records.CONTROL_SORT_KEY: {"S": records.DRIFT_STARTS}})

    @contextmanager
    def flag(self, flag: str, value: bool) -> Iterator[None]:
        """Set as the operator does, and set back."""
        owner = records.PLATFORM if flag == GLOBAL_FREEZE.name else SLUG
        flags.write(self.target, flag, value, story=owner, reason="test")
        try:
            yield
        finally:
            flags.write(self.target, flag, not value, story=owner, reason="test is over")

    @contextmanager
    def changed_spec(self, **changes: Any) -> Iterator[Run]:
        """The run that the parameter's change starts by itself; afterwards the old spec again, and its run."""
        name, ssm = naming.serving_spec_parameter(SLUG), self.aws.client("ssm")
        old = ssm.get_parameter(Name=name)["Parameter"]["Value"]

        def put(value: str) -> Run:
            known = self.runs()
            ssm.put_parameter(Name=name, Value=value, Type="String", Overwrite=True)
            new = eventually(lambda: self.runs().keys() - known.keys(), within_s=60)
            assert len(new) == 1
            return self.finish(self.runs()[new.pop()])

        try:
            yield put(json.dumps({**json.loads(old), **changes}, sort_keys=True, separators=(",", ":")))
        finally:
            put(old)

    @contextmanager
    def ringing(self, alarm: str) -> Iterator[None]:
        """The alarm rings while the block runs: a period without data breaches it, and so does every value."""
        with self._changed_alarm(alarm, TreatMissingData="breaching", Threshold=-1.0):
            eventually(lambda: self.alarm(alarm)["StateValue"] == "ALARM", within_s=60)
            yield

    @contextmanager
    def muted(self, alarm: str) -> Iterator[None]:
        """The alarm does not ring while the block runs: on the tests' clock its three minutes are 0.6 s."""
        with self._changed_alarm(alarm, Threshold=1e12):
            yield

    @contextmanager
    def _changed_alarm(self, alarm: str, **changes: Any) -> Iterator[None]:
        cloudwatch = self.aws.client("cloudwatch")
        members = cloudwatch.meta.service_model.operation_model("PutMetricAlarm").input_shape.members
        definition = {name: value for name, value in self.alarm(alarm).items() if name in members}
        assert definition["ComparisonOperator"].startswith("Greater"), "guardrails count what must not grow"
        cloudwatch.put_metric_alarm(**{**definition, **changes})
        try:
            yield
        finally:
            cloudwatch.put_metric_alarm(**definition)

    def alarm(self, name: str) -> dict[str, Any]:
        return dict(self.aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"][0])

    def evidence(self, run_id: str, file: str) -> dict[str, Any]:
        key = naming.run_prefix(SLUG, run_id) + pipeline.EVALUATION_FOLDER + file
        body = self.aws.client("s3").get_object(Bucket=self.target.bucket(naming.ARTIFACTS), Key=key)["Body"]
        return dict(json.loads(body.read()))

    def left_behind(self) -> list[str]:
        """What a test may not leave: empty when all is at rest."""
        sfn, sagemaker = self.aws.client("stepfunctions"), self.aws.client("sagemaker")
        left = []
        for machine in (naming.retrain_state_machine(SLUG), naming.release_state_machine(SLUG),
                        naming.label_ingest_state_machine()):
            running = sfn.list_executions(stateMachineArn=self.target.state_machine_arn(machine),
                                          statusFilter="RUNNING")["executions"]
            left += [f"{machine}: {e['name']} runs" for e in running]
        jobs = sagemaker.list_training_jobs(StatusEquals="InProgress")["TrainingJobSummaries"]
        left += [f"training job {job['TrainingJobName']} runs" for job in jobs]
        jobs = sagemaker.list_processing_jobs(StatusEquals="InProgress")["ProcessingJobSummaries"]
        left += [f"processing job {job['ProcessingJobName']} runs" for job in jobs]
        if not self.lease_is_free():
            left.append("the lease is held")
        if self.endpoint().status not in ("InService", "absent"):
            left.append(f"the endpoint is {self.endpoint().status}")
        return left + [f"{name} is {value}" for name, value in flags.read(self.target).items() if FLAGS[name] != value]


@contextmanager
def deployed(folder: Path) -> Iterator[Deployed]:
    """Synthesise, start, deploy, put the customers' history, upload the encoder and ingest good labels."""
    jp = DEPLOYMENTS[0]
    assembly = synthesise(folder / "cdk.out")
    encoder = shop_labels.write_encoder(folder / "encoder")
    with embedded_aws(folder / "aws", clock_factor=CLOCK_FACTOR, region=jp.region) as aws:
        deploy(assembly, endpoint_url=aws.endpoint_url, region=jp.region)
        found = Deployed(aws=aws, target=Target.of(jp.name, aws.endpoint_url), folder=folder, assembly=assembly)
        history = shop_labels.history()
        features.put(found.target, STORY.cohort_group, history)
        for path in sorted(encoder.iterdir()):
            aws.client("s3").put_object(Bucket=found.target.bucket(naming.ARTIFACTS), Body=path.read_bytes(),
                                        Key=naming.pretrained_prefix(STORY.encoder) + path.name)
        found.ingest(shop_labels.rows())
        features.wait_offline(found.target, STORY.cohort_group, len(history))
        yield found


def synthesise(out: Path, *, deployment: str = DEPLOYMENTS[0].name, **context: Any) -> Path:
    """The assembly of a deployment, with the Lambda layer that `make setup` built."""
    assert (ROOT / "build" / "lambda_layer").is_dir(), "build/lambda_layer is missing: run `make setup`"
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "CDK_OUTDIR": str(out),
             "CDK_CONTEXT_JSON": json.dumps({"deployment": deployment, **context})})
    assert done.returncode == 0, done.stderr[-2000:]
    return out / f"assembly-{deployment}"
