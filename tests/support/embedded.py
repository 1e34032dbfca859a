"""The embedded AWS for tests: one server per session, and short ways to make what a test needs in it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local import server
from local.config import ACCOUNT, ROOT_KEY, LocalConfig

REGION = "ap-northeast-1"


@dataclass
class EmbeddedAws:
    """Clients are root's unless credentials are given; waiting is by condition, never by a fixed sleep."""

    running: server.RunningServer
    region: str = REGION
    _clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    @property
    def endpoint_url(self) -> str:
        return self.running.endpoint_url

    def client(self, service: str, region: str | None = None, **credentials: str) -> Any:
        key = (service, region or self.region)
        if credentials or key not in self._clients:
            keys = credentials or {"aws_access_key_id": ROOT_KEY, "aws_secret_access_key": ROOT_KEY}
            made = boto3.client(  # type: ignore[call-overload]
                service, region_name=key[1], endpoint_url=self.endpoint_url, **keys,
                config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}))
            if credentials:
                return made
            self._clients[key] = made
        return self._clients[key]

    def as_role(self, service: str, role_arn: str) -> Any:
        given = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
        return self.client(service, aws_access_key_id=given["AccessKeyId"],
                           aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])

    def role(self, service: str, *grants: tuple[str, str], trust_account: bool = True) -> str:
        """A role that the service may assume, with (action, resource) grants."""
        trust: list[dict[str, Any]] = [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}]
        if trust_account:
            trust.append({"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                          "Action": "sts:AssumeRole"})
        name = unique("role")
        arn = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": trust}))["Role"]["Arn"]
        if grants:
            self.client("iam").put_role_policy(RoleName=name, PolicyName="grants", PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [
                    {"Effect": "Allow", "Action": action, "Resource": resource} for action, resource in grants]}))
        return str(arn)

    def function(self, code: str, *grants: tuple[str, str], timeout_s: int = 5, **settings: Any) -> str:
        """A Python function of one file; returns its ARN."""
        role = self.role("lambda.amazonaws.com", *grants)
        return str(self.client("lambda").create_function(
            FunctionName=unique("function"), Runtime="python3.13", Role=role, Handler="index.handler",
            Timeout=timeout_s, Code={"ZipFile": zipped({"index.py": code})}, **settings)["FunctionArn"])

    def invoke(self, function: str, event: Any = None) -> tuple[str | None, Any]:
        """(FunctionError, payload)."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event or {}))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read() or b"null")

    def machine(self, states: dict[str, Any], *grants: tuple[str, str], **settings: Any) -> str:
        """A state machine that begins with its first state; returns its ARN."""
        definition = {"StartAt": next(iter(states)), "States": states, **settings}
        return str(self.client("stepfunctions").create_state_machine(
            name=unique("machine"), definition=json.dumps(definition),
            roleArn=self.role("states.amazonaws.com", *grants))["stateMachineArn"])

    def run(self, machine: str, event: Any = None, **start: Any) -> dict[str, Any]:
        """Start an execution and wait for its end; `output` is parsed."""
        arn = self.client("stepfunctions").start_execution(
            stateMachineArn=machine, input=json.dumps({} if event is None else event), **start)["executionArn"]
        return self.ended(arn)

    def ended(self, execution: str) -> dict[str, Any]:
        client = self.client("stepfunctions")
        found = eventually(lambda: (d := client.describe_execution(executionArn=execution))["status"] != "RUNNING"
                           and d)
        return {**found, "output": json.loads(found["output"])} if "output" in found else dict(found)

    def events_queue(self, pattern: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
        """A rule that sends what matches to a queue; the answer reads what has come so far."""
        sqs, events = self.client("sqs"), self.client("events")
        url = sqs.create_queue(QueueName=unique("queue"))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({
            "Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
                                                    "Action": "sqs:SendMessage", "Resource": arn}]})})
        rule = unique("rule")
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
        return lambda: self.messages(url)

    def messages(self, queue_url: str) -> list[dict[str, Any]]:
        found = self.client("sqs").receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages", [])
        for message in found:
            self.client("sqs").delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return [json.loads(message["Body"]) for message in found]

    def local(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """The server's own endpoints, /_local/..."""
        request = urllib.request.Request(f"{self.endpoint_url}/_local/{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
        return [json.loads(line) for line in text.splitlines()]

    @contextmanager
    def fault(self, **wanted: Any) -> Iterator[None]:
        self.local("POST", "faults", wanted)
        try:
            yield
        finally:
            self.local("DELETE", "faults")


@contextmanager
def embedded_aws(data_dir: Path, *, clock_factor: float = 60, region: str = REGION,
                 peers: Mapping[str, str] | None = None) -> Iterator[EmbeddedAws]:
    config = LocalConfig(data_dir=data_dir, clock_factor=clock_factor, region=region, peers=peers or {})
    running = server.start(config, wait_s=60)
    try:
        yield EmbeddedAws(running, region)
    finally:
        running.stop()


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:10]}"


def zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def eventually(check: Callable[[], Any], *, within_s: float = 30) -> Any:
    """The first true answer of check; fails after within_s."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        found = check()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not come true within {within_s} s")


def synthesise(app: Path, out: Path, **context: str) -> Path:
    """cdk.out of an app, without the CDK CLI."""
    subprocess.run([sys.executable, str(app)], check=True, capture_output=True, timeout=300, cwd=app.parent,
                   env={**os.environ, "CDK_OUTDIR": str(out), "CDK_CONTEXT_JSON": json.dumps(context),
                        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1", "PYTHONDONTWRITEBYTECODE": "1"})
    return out
