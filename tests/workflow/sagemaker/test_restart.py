"""A server that ends takes its containers along, and one that starts again on saved state serves again."""

from __future__ import annotations

import io
import json
import os
import signal
import zipfile
from pathlib import Path

import pytest
from ministack.core.responses import AccountRegionScopedDict

from local.sagemaker import restart, state
from tests.workflow.sagemaker.conftest import HERE, REGION, allow, image_uri, server, wait_for


def containers(folder: Path) -> list[str]:
    """Processes whose home lies below the folder."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and f"HOME={folder}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


def prepare(aws, name: str) -> None:
    """An image, a role, and an endpoint in service."""
    role = aws.role([allow("*")])
    builder = aws.role([allow("*")], service="codebuild.amazonaws.com")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as content:
        for path in (p for p in (HERE / "container").iterdir() if p.is_file()):
            content.write(path, path.name)
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    aws.client("s3").put_object(Bucket=name, Key="source.zip", Body=archive.getvalue())
    aws.client("ecr").create_repository(repositoryName=name)
    variables = [{"name": "IMAGE_REPO", "value": name}, {"name": "IMAGE_TAG", "value": "v1"}]
    codebuild, sagemaker = aws.client("codebuild"), aws.client("sagemaker")
    codebuild.create_project(
        name=name, source={"type": "S3", "location": f"{name}/source.zip"}, artifacts={"type": "NO_ARTIFACTS"},
        serviceRole=builder,
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL",
                     "environmentVariables": variables},
    )
    build = codebuild.start_build(projectName=name)["build"]["id"]
    wait_for(lambda: codebuild.batch_get_builds(ids=[build])["builds"][0]["buildStatus"], lambda s: s == "SUCCEEDED")
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": image_uri(name, "v1")})
    variant = {"VariantName": "v", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    in_service(aws, name)


def in_service(aws, name: str) -> None:
    read = lambda: aws.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"]  # noqa: E731
    assert wait_for(read, lambda s: s != "Creating") == "InService"


def test_endpoints_serve_again_after_a_restart_on_saved_state(tmp_path) -> None:
    saved = {"PERSIST_STATE": "1", "STATE_DIR": str(tmp_path / "state")}
    with server(tmp_path, **saved) as aws:
        prepare(aws, "again")
        assert containers(tmp_path)
    wait_for(lambda: containers(tmp_path), lambda found: not found)
    with server(tmp_path, **saved) as aws:
        in_service(aws, "again")
        answer = aws.client("sagemaker-runtime").invoke_endpoint(EndpointName="again", Body=b"hello")
        assert json.loads(answer["Body"].read())["input"] == "hello"


def test_no_restored_endpoint_says_in_service_before_its_containers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "_start_endpoints", lambda: None)  # the moment before the first container starts
    saved = AccountRegionScopedDict()
    saved["again"] = {"EndpointName": "again", "EndpointStatus": "InService"}
    try:
        restart.recover({"endpoint": saved})
        assert state.store("endpoint")["again"]["EndpointStatus"] == "Creating"
    finally:
        state.clear()


def test_no_container_outlives_a_killed_server(tmp_path) -> None:
    with server(tmp_path) as aws:
        prepare(aws, "killed")
        assert containers(tmp_path)
        os.kill(aws.pid, signal.SIGKILL)
        wait_for(lambda: containers(tmp_path), lambda found: not found)
