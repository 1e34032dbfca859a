"""Deploys a CDK assembly with boto3: publishes its assets, then creates or updates its stacks in order.

It takes the template bytes of cdk.out as they are, so what runs here is what AWS gets.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.config import ACCOUNT, ROOT_KEY

_POLL_S = 0.1
_DONE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")
_TEMPLATE_INLINE_LIMIT = 51_200  # CloudFormation's own limit for TemplateBody
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)

Progress = Callable[[str], None]


class DeployError(RuntimeError):
    """Names the stack, and the logical id, type and reason of what failed."""


@dataclass(frozen=True, kw_only=True)
class StackResult:
    name: str
    region: str
    status: str  # CREATE_COMPLETE, UPDATE_COMPLETE or UNCHANGED
    outputs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Stack:
    artifact: str
    name: str
    region: str
    template: bytes
    asset_manifests: tuple[Path, ...]
    needs: frozenset[str]
    tags: dict[str, str]
    parameters: dict[str, str]
    bootstrap_parameter: str  # SSM parameter that holds the bootstrap stack's version; empty when not asked for
    bootstrap_version: int


def deploy(cdk_out: Path, *, endpoint_url: str, progress: Progress | None = None, region: str = "us-east-1",
           stacks: list[str] | None = None, tags: dict[str, str] | None = None) -> list[StackResult]:
    """Every stack of the assembly and its nested stages, or those named. `region` serves environment-agnostic ones."""
    found = list(_stacks(cdk_out, region))
    if not found:
        raise DeployError(f"{cdk_out} holds no stack: is it the output of `cdk synth` (manifest.json)?")
    chosen = _choose(found, stacks)
    clients = _Clients(endpoint_url)
    tell = progress or (lambda text: None)
    results = []
    for stack in _ordered(chosen):
        begin = time.monotonic()
        _bootstrap(stack, clients)
        for manifest in stack.asset_manifests:
            _publish(manifest, stack.region, clients, tell)
        status = _create_or_update(stack, clients, tags or {})
        outputs = _describe(clients("cloudformation", stack.region), stack.name)["outputs"]
        result = StackResult(name=stack.name, region=stack.region, status=status, outputs=outputs,
                             seconds=time.monotonic() - begin)
        results.append(result)
        tell(f"{stack.name} ({stack.region}): {status} in {result.seconds:.1f} s")
    return results


class _Clients:
    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._made: dict[tuple[str, str], Any] = {}

    def __call__(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        if (service, region) not in self._made:
            self._made[service, region] = boto3.client(  # type: ignore[call-overload]
                service, region_name=region, endpoint_url=self._endpoint_url, aws_access_key_id=ROOT_KEY,
                aws_secret_access_key=ROOT_KEY, config=Config(s3={"addressing_style": "path"}))
        return self._made[service, region]


def _stacks(folder: Path, default_region: str) -> Iterator[_Stack]:
    manifest_path = folder / "manifest.json"
    if not manifest_path.exists():
        raise DeployError(f"{manifest_path} is missing: is {folder} the output of `cdk synth`?")
    artifacts = json.loads(manifest_path.read_text())["artifacts"]
    for artifact_id, artifact in artifacts.items():
        if artifact["type"] == "cdk:cloud-assembly":
            yield from _stacks(folder / artifact["properties"]["directoryName"], default_region)
        elif artifact["type"] == "aws:cloudformation:stack":
            properties = artifact["properties"]
            region = artifact["environment"].removeprefix("aws://").split("/")[1]
            needed = artifact.get("dependencies", [])
            manifests = [folder / artifacts[n]["properties"]["file"] for n in needed
                         if artifacts[n]["type"] == "cdk:asset-manifest"]
            yield _Stack(
                artifact=artifact_id, name=properties.get("stackName", artifact_id),
                region=default_region if region == "unknown-region" else region,
                template=(folder / properties["templateFile"]).read_bytes(),
                asset_manifests=tuple(manifests), needs=frozenset(needed),
                tags=properties.get("tags", {}), parameters=properties.get("parameters", {}),
                bootstrap_parameter=properties.get("bootstrapStackVersionSsmParameter", ""),
                bootstrap_version=properties.get("requiresBootstrapStackVersion", 0))


def _choose(found: list[_Stack], names: list[str] | None) -> list[_Stack]:
    if not names or names == ["all"]:
        return found
    known = {stack.name: stack for stack in found} | {stack.artifact: stack for stack in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DeployError(f"there is no stack {unknown[0]!r} in the assembly; "
                          f"there are {sorted(s.name for s in found)}")
    wanted: set[str] = set()
    waiting = [known[name].artifact for name in names]
    by_artifact = {stack.artifact: stack for stack in found}
    while waiting:
        artifact = waiting.pop()
        if artifact in by_artifact and artifact not in wanted:
            wanted.add(artifact)
            waiting += by_artifact[artifact].needs
    return [stack for stack in found if stack.artifact in wanted]


def _ordered(stacks: list[_Stack]) -> Iterator[_Stack]:
    left = {stack.artifact: stack for stack in stacks}
    while left:
        ready = [stack for stack in left.values() if not stack.needs & set(left)]
        if not ready:
            raise DeployError(f"these stacks depend on each other: {sorted(left)}")
        for stack in ready:
            yield stack
            del left[stack.artifact]


def _bootstrap(stack: _Stack, clients: _Clients) -> None:
    """Say that the region is bootstrapped, as `cdk bootstrap` would: templates ask for the version."""
    if stack.bootstrap_parameter:
        clients("ssm", stack.region).put_parameter(Name=stack.bootstrap_parameter, Type="String", Overwrite=True,
                                                   Value=str(stack.bootstrap_version))


def _publish(manifest: Path, region: str, clients: _Clients, tell: Progress) -> None:
    content = json.loads(manifest.read_text())
    if content.get("dockerImages"):
        image = next(iter(content["dockerImages"].values()))
        raise DeployError(f"{manifest.name} holds a Docker image asset ({image.get('displayName', '')}): there is no "
                          "Docker here; build the image with CodeBuild from an S3 asset")
    for asset in content.get("files", {}).values():
        source, packaging = manifest.parent / asset["source"]["path"], asset["source"].get("packaging", "file")
        for destination in asset["destinations"].values():
            where = destination.get("region", region)
            bucket, key = (_filled(destination[k], where) for k in ("bucketName", "objectKey"))
            if _put_asset(clients("s3", where), bucket, key, source, packaging, where):
                tell(f"asset {asset.get('displayName', key)} -> s3://{bucket}/{key}")


def _put_asset(s3: Any, bucket: str, key: str, source: Path, packaging: str, region: str) -> bool:
    """False when it is there: the key is the content's hash."""
    from botocore.exceptions import ClientError

    try:
        s3.head_object(Bucket=bucket, Key=key)
        return False
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("404", "NoSuchBucket", "NoSuchKey"):
            raise
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:  # bootstrap would have made it
        where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        s3.create_bucket(Bucket=bucket, **where)
    body = source.read_bytes() if packaging == "file" else _zipped(source)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    return True


def _zipped(folder: Path) -> bytes:
    """The same bytes for the same files: fixed times, sorted names."""
    if not folder.is_dir():
        raise DeployError(f"the asset {folder} is missing: synthesise again")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(folder)), _FIXED_TIME)
            entry.external_attr = (path.stat().st_mode & 0o777) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _filled(text: str, region: str) -> str:
    for name, value in (("AccountId", ACCOUNT), ("Region", region), ("Partition", "aws")):
        text = text.replace("${AWS::" + name + "}", value)
    return text


def _create_or_update(stack: _Stack, clients: _Clients, tags: dict[str, str]) -> str:
    from botocore.exceptions import ClientError

    cloudformation = clients("cloudformation", stack.region)
    request = {
        "StackName": stack.name, **_template(stack, clients),
        "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        "Tags": [{"Key": k, "Value": v} for k, v in {**stack.tags, **tags}.items()],
        "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in stack.parameters.items()],
    }
    before = _describe(cloudformation, stack.name)
    if before["status"] in ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED"):
        cloudformation.delete_stack(StackName=stack.name)  # what the CDK CLI does with a stack that never worked
        _settle(cloudformation, stack.name)
        before = _describe(cloudformation, stack.name)
    try:
        if before["status"] in ("", "DELETE_COMPLETE"):
            cloudformation.create_stack(**request)
        else:
            cloudformation.update_stack(**request)
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return "UNCHANGED"
        raise DeployError(f"{stack.name}: {error.response['Error']['Message']}") from error
    status = _settle(cloudformation, stack.name)
    if status not in _DONE:
        raise DeployError(_failure(cloudformation, stack.name, status))
    return status


def _template(stack: _Stack, clients: _Clients) -> dict[str, str]:
    if len(stack.template) <= _TEMPLATE_INLINE_LIMIT:
        return {"TemplateBody": stack.template.decode()}
    bucket, key = f"cdk-hnb659fds-assets-{ACCOUNT}-{stack.region}", f"templates/{stack.name}.json"
    s3 = clients("s3", stack.region)
    from botocore.exceptions import ClientError

    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError:
        where = {} if stack.region == "us-east-1" else {
            "CreateBucketConfiguration": {"LocationConstraint": stack.region}}
        s3.create_bucket(Bucket=bucket, **where)
    s3.put_object(Bucket=bucket, Key=key, Body=stack.template)
    return {"TemplateURL": f"{s3.meta.endpoint_url}/{bucket}/{key}"}


def _describe(cloudformation: Any, name: str) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    try:
        found = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return {"status": "", "outputs": {}}
    outputs = {o["OutputKey"]: o["OutputValue"] for o in found.get("Outputs", [])}
    return {"status": found["StackStatus"], "outputs": outputs}


def _settle(cloudformation: Any, name: str) -> str:
    while True:
        status = str(_describe(cloudformation, name)["status"])
        if not status.endswith("_IN_PROGRESS"):
            return status
        time.sleep(_POLL_S)


def _failure(cloudformation: Any, name: str, status: str) -> str:
    events = cloudformation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [e for e in events if e["ResourceStatus"].endswith("_FAILED") and e["LogicalResourceId"] != name]
    if not failed:
        failed = [e for e in events if e["ResourceStatus"].endswith("_FAILED")]
    if not failed:
        return f"{name} ended as {status}"
    first = failed[-1]  # newest first: the last one is the cause
    return (f"{name} ended as {status}: {first['LogicalResourceId']} ({first['ResourceType']}): "
            f"{first.get('ResourceStatusReason', 'no reason given')}")
