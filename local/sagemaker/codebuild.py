"""CodeBuild projects that build images, without Docker.

Takes the place of ministack's executor. The source is an S3 zip; DOCKERFILE (default `Dockerfile`), IMAGE_REPO,
IMAGE_TAG and TARGET are environment variables of the project or of the build. The buildspec's commands are
logged, and read only for `--build-arg`. S3 and ECR are called with the project's service role.
"""

from __future__ import annotations

import contextvars
import copy
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import codebuild

from local.sagemaker import dockerfile, images, roles, state, telemetry
from local.sagemaker.aws_http import AwsError, Client
from local.sagemaker.errors import ApiError, JobFailure
from local.sagemaker.image_pull import find_image

_OVERRIDES = {
    "environmentVariablesOverride", "sourceVersion", "sourceLocationOverride", "buildspecOverride",
}
_overrides: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar("codebuild_overrides", default=None)
_ministack_start_build = codebuild._start_build


def install() -> None:
    codebuild.EXECUTE_BUILDS = True
    codebuild._start_build = start_build
    codebuild._execute_build = execute_build


def start_build(request: dict[str, Any]) -> Any:
    """ministack ignores the overrides of StartBuild; they reach the worker through its context."""
    unknown = set(request) - _OVERRIDES - {"projectName", "idempotencyToken"}
    if unknown:
        names = ", ".join(sorted(unknown))
        return error_response_json(
            "InvalidInputException", f"StartBuild: {names} is not supported by the embedded CodeBuild", 400
        )
    token = _overrides.set({k: request[k] for k in _OVERRIDES & set(request)})
    try:
        return _ministack_start_build(request)
    finally:
        _overrides.reset(token)


def execute_build(build_id: str, project: dict[str, Any]) -> None:
    """Run one build in the worker thread that ministack started."""
    build = codebuild._builds[build_id]
    log = telemetry.LogStream(build["logs"]["groupName"], build["logs"]["streamName"])
    project = _with_overrides(project, _overrides.get() or {})
    build.update(source=project["source"], environment=project["environment"])
    work = state.config().data_dir / "builds" / build_id.replace(":", "_")
    try:
        codebuild._record_phase(build, "QUEUED", "SUCCEEDED")
        _build_image(build, project, work, log)
        status = "SUCCEEDED"
    except JobFailure as failure:
        status = _failed(build, log, failure.reason)
    except ApiError as refusal:
        status = _failed(build, log, refusal.message)
    except AwsError as error:
        status = _failed(build, log, str(error))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if codebuild._stop_requested(build_id):
        status = "STOPPED"
        codebuild._clear_stopped(build_id)
    codebuild._finish_build(build, status)
    detail = {"build-status": status, "project-name": project["name"], "build-id": build["arn"]}
    telemetry.event("CodeBuild Build State Change", detail, build["arn"], source="aws.codebuild")


def _failed(build: dict[str, Any], log: telemetry.LogStream, reason: str) -> str:
    """The reason in the log and as the phase context that `BatchGetBuilds` shows."""
    log.write([f"[Container] build failed: {reason}"])
    codebuild._record_phase(build, build["currentPhase"], "FAILED")
    build["phases"][-1]["contexts"] = [{"statusCode": "CLIENT_ERROR", "message": reason}]
    return "FAILED"


def _with_overrides(project: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    project = copy.deepcopy(project)
    project["environment"] = dict(project.get("environment") or {})
    project["source"] = dict(project.get("source") or {})
    named = {v["name"]: v for v in project["environment"].get("environmentVariables") or []}
    named |= {v["name"]: v for v in overrides.get("environmentVariablesOverride", [])}
    project["environment"]["environmentVariables"] = list(named.values())
    if "sourceLocationOverride" in overrides:
        project["source"]["location"] = overrides["sourceLocationOverride"]
    if "buildspecOverride" in overrides:
        project["source"]["buildspec"] = overrides["buildspecOverride"]
    return project


def _build_image(build: dict[str, Any], project: dict[str, Any], work: Path, log: telemetry.LogStream) -> None:
    variables = _variables(project)
    missing = [n for n in ("IMAGE_REPO", "IMAGE_TAG") if not variables.get(n)]
    if missing:
        raise JobFailure(f"environment variable {' and '.join(missing)} is missing; the build must know what to push")
    client = roles.assume(project["serviceRole"], f"AWSCodeBuild-{build['id'][-12:]}", service=roles.CODEBUILD)
    _phase(build, "DOWNLOAD_SOURCE")
    context = _source(project["source"], client, work)
    _phase(build, "BUILD")
    spec = _buildspec(project["source"])
    log.write([f"[Container] buildspec, recorded and not executed: {line}" for line in spec.splitlines()])
    recipe = context / variables.get("DOCKERFILE", "Dockerfile")
    if not recipe.is_file():
        raise JobFailure(f"{recipe.relative_to(context)} is not in the source; set DOCKERFILE to its path")
    job = images.Build(
        context=context, build_args=_build_args(spec, variables), work=work / "stages",
        base_image=lambda reference: _own_base(reference, client), log=lambda line: log.write([line]),
    )
    image = job.run(dockerfile.parse(recipe.read_text()), variables.get("TARGET", ""))
    images.keep(variables["IMAGE_REPO"], image)
    _push(client, variables["IMAGE_REPO"], variables["IMAGE_TAG"], image)
    log.write([f"pushed {variables['IMAGE_REPO']}:{variables['IMAGE_TAG']} {image.digest}"])
    build["exportedEnvironmentVariables"] = [{"name": "IMAGE_DIGEST", "value": image.digest}]


def _phase(build: dict[str, Any], name: str) -> None:
    codebuild._record_phase(build, name, "SUCCEEDED")


def _buildspec(source: dict[str, Any]) -> str:
    return source.get("buildspec") or source.get("buildSpec") or ""  # the second from CloudFormation


def _variables(project: dict[str, Any]) -> dict[str, str]:
    found = {}
    for variable in project["environment"]["environmentVariables"]:
        kind = variable.get("type", "PLAINTEXT")
        if kind != "PLAINTEXT":
            raise JobFailure(
                f"environment variable {variable['name']}: type {kind} is not supported by the embedded CodeBuild; "
                "use PLAINTEXT"
            )
        found[variable["name"]] = str(variable.get("value", ""))
    return found


def _source(source: dict[str, Any], client: Client, work: Path) -> Path:
    if source.get("type") != "S3":
        raise JobFailure(f"source type {source.get('type')!r} is not supported by the embedded CodeBuild; use S3")
    bucket, _, key = source["location"].removeprefix("arn:aws:s3:::").partition("/")
    archive, folder = work / "source.zip", work / "source"
    client.download(bucket, key, archive)
    if not zipfile.is_zipfile(archive):
        raise JobFailure(f"s3://{bucket}/{key} is not a zip file; the source must be one zip")
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            to = Path(content.extract(member, folder))
            mode = member.external_attr >> 16  # zipfile drops the executable bit
            if mode and to.is_file():
                to.chmod(mode & 0o777 | 0o600)
    return folder


def _build_args(buildspec: str, variables: dict[str, str]) -> dict[str, str]:
    found = {}
    for text in re.findall(r"--build-arg[= ]+[\"']?([A-Za-z_]\w*(?:=[^\s\"']*)?)", buildspec):
        name, given, value = text.partition("=")
        found[name] = dockerfile.substitute(value, variables) if given else variables.get(name, "")
    return found


def _own_base(reference: str, client: Client) -> images.Image | None:
    try:
        images.ImageRef.parse(reference)
    except JobFailure:
        return None  # a public image: nothing of it exists here
    return find_image(reference, client)


def _push(client: Client, repo: str, tag: str, image: images.Image) -> None:
    """The calls of `docker push`, so that each of their grants is needed here too."""
    layer = image.manifest.split('"layers"', 1)[1].split("sha256:", 1)[1][:64]
    client.call("ecr", "GetAuthorizationToken", {})
    client.call(
        "ecr", "BatchCheckLayerAvailability", {"repositoryName": repo, "layerDigests": [f"sha256:{layer}"]}
    )
    for operation in ("InitiateLayerUpload", "UploadLayerPart", "CompleteLayerUpload"):
        request: dict[str, Any] = {"repositoryName": repo}
        if operation != "InitiateLayerUpload":
            request |= {"uploadId": state.new_id(32)}
        if operation == "CompleteLayerUpload":
            request |= {"layerDigests": [f"sha256:{layer}"]}
        if operation == "UploadLayerPart":
            request |= {"partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "AA=="}
        client.call("ecr", operation, request)
    client.call(
        "ecr", "PutImage", {"repositoryName": repo, "imageManifest": image.manifest, "imageTag": tag}
    )
