"""{"story", "version", "manifest_sha256", "verdict_uri", "public_key"} ->
{"done": false} while files are left, then {"done": true, "version", "model_uri", "model_package_arn"}.

`version` is home's on the way in and this region's own on the way out. The manifest keeps its bytes, so that one
digest names one model in every region; this region signs it with its own key. SignatureInvalid when a byte differs.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from contracts import manifests, naming, stories
from contracts.functions import ReceiveCopyEnv
from contracts.manifests import ManifestError
from contracts.registry import RegistryError
from contracts.story import StoryContract
from lambdas.receive_copy.files import copy_files
from lambdas.shared.aws import client, environment
from lambdas.shared.errors import EvidenceMissing, SignatureInvalid
from lambdas.shared.home import check_signature, home_s3
from lambdas.shared.objects import S3Uri, list_objects, parse_json_object, read_bytes
from lambdas.shared.observability import instrumented
from lambdas.shared.packages import find_or_create, package_request
from lambdas.shared.signatures import already_signed, write_signed

RESERVE_MS = 300_000  # no file is begun with less than this left


@instrumented("receive_copy")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(ReceiveCopyEnv), stories.story(event["story"])
    prefix = naming.model_prefix(story.slug, event["manifest_sha256"])
    source, target = S3Uri(env.HOME_BUCKET, prefix), S3Uri(env.ARTIFACTS_BUCKET, prefix)
    home, own, kms = home_s3(env.HOME_REGION), client("s3"), client("kms")
    manifest = _manifest(home, source, event, story=story.slug, pin=env.HOME_KEY_SHA256)
    files: dict[str, str] = json.loads(manifest)["files"]
    _refuse_unlisted(home, source, manifest, complete=True)
    _refuse_unlisted(own, target, manifest, complete=False)
    signed = already_signed(own, kms, target=target, manifest=manifest, key=env.SIGNING_KEY_ARN)
    if not copy_files(home, own, source=source, target=target, files=files,
                      time_is_up=lambda: context.get_remaining_time_in_millis() < RESERVE_MS):
        return {"done": False, "version": "", "model_uri": "", "model_package_arn": ""}
    if not signed:
        write_signed(own, kms, target=target, manifest=manifest, key=env.SIGNING_KEY_ARN)
    report_uri = target.child(naming.EVALUATION_FILE)
    properties = _properties(story, parse_json_object(read_bytes(own, report_uri), report_uri), event)
    arn = find_or_create(client("sagemaker"), package_request(
        group=naming.model_package_group(story.slug),
        image=env.SERVING_IMAGE,
        model_uri=str(target),
        manifest_sha256=event["manifest_sha256"],
        instance_type=story.serving.instance_type,
        properties={**properties, "run_id": json.loads(manifest)["lineage"].get("run_id", "")},
    ))
    return {"done": True, "version": arn.rsplit("/", 1)[1], "model_uri": str(target), "model_package_arn": arn}


def _manifest(home: Any, source: S3Uri, event: dict[str, Any], *, story: str, pin: str) -> bytes:
    """Home's manifest: the announced one, signed by home's key, for this story."""
    try:
        manifest = read_bytes(home, source.child(naming.MANIFEST_FILE))
        signature = read_bytes(home, source.child(naming.SIGNATURE_FILE))
    except EvidenceMissing as missing:
        raise SignatureInvalid(f"home's model is not signed: {missing}") from None
    if manifests.digest(manifest).hex() != event["manifest_sha256"]:
        raise SignatureInvalid(f"{source}: the manifest is not the one that home announces")
    check_signature(manifest, signature, key=base64.b64decode(event["public_key"]), pin=pin, what=str(source))
    if json.loads(manifest)["story"] != story:
        raise SignatureInvalid(f"{source}: signed for story {json.loads(manifest)['story']!r}, not for {story!r}")
    return manifest


def _refuse_unlisted(s3: Any, folder: S3Uri, manifest: bytes, *, complete: bool) -> None:
    """SignatureInvalid when a file lies there that the manifest does not list, or, if `complete`, one is missing."""
    files: dict[str, str] = json.loads(manifest)["files"]
    found = {entry["Key"].removeprefix(folder.key) for entry in list_objects(s3, folder)}
    there = found if complete else found | files.keys()
    try:
        manifests.check_files(manifest, {name: files.get(name, "") for name in there})
    except ManifestError as error:
        raise SignatureInvalid(f"{folder}: {error}") from None


def _properties(story: StoryContract, report: dict[str, Any], event: dict[str, Any]) -> dict[str, str]:
    try:
        proof = {**story.registry.origins(report), **story.registry.measures(report)}
    except RegistryError as error:
        raise EvidenceMissing(f"not received: {error}") from None
    return {**proof, "home_version": str(event["version"]), "verdict_uri": event["verdict_uri"]}
