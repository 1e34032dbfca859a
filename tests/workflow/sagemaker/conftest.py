"""One server with the embedded SageMaker for all tests of this folder, and small real containers."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from local.config import LocalConfig

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
REGION = "ap-northeast-1"
CLOCK_FACTOR = 60.0
ACCOUNT = "000000000000"


@dataclass(frozen=True, kw_only=True)
class Aws:
    """Clients of the test server; the default is root, `as_role` acts as a role."""

    config: LocalConfig
    pid: int

    def client(self, service: str, **credentials: str) -> Any:
        keys = credentials or {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(
            service, endpoint_url=self.config.endpoint_url, region_name=REGION, **keys,
            config=Config(retries={"max_attempts": 1}, read_timeout=70),
        )

    def as_role(self, service: str, role_arn: str) -> Any:
        given = self.client("sts").assume_role(RoleArn=role_arn, RoleSessionName="test")["Credentials"]
        return self.client(
            service, aws_access_key_id=given["AccessKeyId"], aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )

    def role(self, statements: list[dict[str, Any]], *, service: str = "sagemaker.amazonaws.com") -> str:
        """A role that the service and the test may assume, with these grants."""
        name = f"role-{uuid.uuid4().hex[:8]}"
        trust = [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"},
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"},
        ]
        iam = self.client("iam")
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="grants", PolicyDocument=policy)
        return arn


def wait_for(read: Callable[[], Any], until: Callable[[Any], bool], *, within_s: float = 40) -> Any:
    """Poll until the condition holds; the last answer is in the failure."""
    deadline = time.monotonic() + within_s
    while not until(answer := read()):
        assert time.monotonic() < deadline, f"not reached within {within_s} s; last answer: {answer}"
        time.sleep(0.05)
    return answer


def allow(*actions: str, resource: str | list[str] = "*") -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource}


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with server(tmp_path_factory.mktemp("aws")) as running:
        yield running


@contextmanager
def server(folder: Path, **more: str) -> Iterator[Aws]:
    """A server process on this folder; it ends with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = LocalConfig(data_dir=folder, port=port, region=REGION, clock_factor=CLOCK_FACTOR)
    log = (folder / "server.log").open("ab")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    process = subprocess.Popen(
        [sys.executable, str(HERE / "starter.py"), config.to_json()],
        env=environment, stdout=log, stderr=log, start_new_session=True,
    )
    aws = Aws(config=config, pid=process.pid)
    try:
        wait_for(lambda: process.poll() is not None or _answers(port), bool, within_s=20)
        assert process.poll() is None, (folder / "server.log").read_text()
        yield aws
    finally:
        process.terminate()
        process.wait(10)
        print((folder / "server.log").read_text()[-5000:])


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def bucket(aws: Aws) -> str:
    name = "sagemaker-tests"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


@pytest.fixture(scope="session")
def role(aws: Aws, bucket: str) -> str:
    """An execution role with what jobs and endpoints of these tests need."""
    return aws.role(
        [
            allow("s3:GetObject", "s3:PutObject", resource=f"arn:aws:s3:::{bucket}/*"),
            allow("s3:ListBucket", resource=f"arn:aws:s3:::{bucket}"),
            allow("ecr:GetAuthorizationToken"),
            allow("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "cloudwatch:DescribeAlarms"),
            allow("sagemaker:*", "lambda:InvokeFunction", "iam:PassRole", "sns:Publish"),
        ]
    )


@pytest.fixture(scope="session")
def build(aws: Aws, bucket: str) -> Callable[..., dict[str, Any]]:
    """Build an image from files with the embedded CodeBuild; returns the finished build."""
    grants = [allow("s3:GetObject", "ecr:*", "logs:*")]
    build_role = aws.role(grants, service="codebuild.amazonaws.com")

    def run(repo: str, tag: str, files: dict[str, str], **options: Any) -> dict[str, Any]:
        ecr = aws.client("ecr")
        if repo not in [r["repositoryName"] for r in ecr.describe_repositories()["repositories"]]:
            ecr.create_repository(repositoryName=repo)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as content:
            for name, text in files.items():
                content.writestr(name, text)
        key = f"source/{repo}-{tag}-{uuid.uuid4().hex[:6]}.zip"
        aws.client("s3").put_object(Bucket=bucket, Key=key, Body=archive.getvalue())
        variables = {"IMAGE_REPO": repo, "IMAGE_TAG": tag, **options.get("variables", {})}
        codebuild = aws.client("codebuild")
        name = f"build-{uuid.uuid4().hex[:8]}"
        codebuild.create_project(
            name=name,
            source={"type": "S3", "location": f"{bucket}/{key}", "buildspec": options.get("buildspec", "version: 0.2")},
            artifacts={"type": "NO_ARTIFACTS"}, serviceRole=options.get("role", build_role),
            environment={
                "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL",
                "environmentVariables": [{"name": k, "value": v} for k, v in variables.items()],
            },
        )
        started = codebuild.start_build(projectName=name, **options.get("start", {}))["build"]["id"]
        return wait_for(
            lambda: codebuild.batch_get_builds(ids=[started])["builds"][0],
            lambda b: b["buildStatus"] != "IN_PROGRESS",
        )

    return run


def image_uri(repo: str, tag: str) -> str:
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{repo}:{tag}"


@pytest.fixture(scope="session")
def image(build: Callable[..., dict[str, Any]]) -> str:
    """The container of containers/: trains, processes and serves with Python's standard library."""
    files = {p.name: p.read_text() for p in (HERE / "container").iterdir() if p.is_file()}
    done = build("toy", "v1", files)
    assert done["buildStatus"] == "SUCCEEDED", reasons(done)
    return image_uri("toy", "v1")


def reasons(done: dict[str, Any]) -> str:
    """Why a build failed."""
    return "; ".join(c["message"] for p in done["phases"] for c in p.get("contexts", []))


@pytest.fixture
def endpoints(aws: Aws, image: str, role: str) -> Iterator[Any]:
    from tests.workflow.sagemaker.endpoint_kit import Endpoints

    made = Endpoints(aws, image, role)
    yield made
    for name in made.made:
        wait_for(lambda n=name: made.settled(n), bool)
        made.sagemaker.delete_endpoint(EndpointName=name)
