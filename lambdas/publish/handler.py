"""{"story", "model_uri", "evaluation_uri", "verdict_uri", "run_id"} ->
{"version", "model_uri", "manifest_sha256", "model_package_arn"}: a signed copy and its package.
"""

from __future__ import annotations

from typing import Any

from contracts import manifests, naming, stories
from contracts.functions import PublishEnv
from lambdas.publish.artifacts import hash_object, publish_files
from lambdas.publish.logic import check_verdict, model_root, proof, sources
from lambdas.shared.aws import client, environment
from lambdas.shared.objects import S3Uri, list_objects, parse_json_object, read_bytes, read_json, within
from lambdas.shared.observability import instrumented
from lambdas.shared.packages import find_or_create, package_request


@instrumented("publish")
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    env, story = environment(PublishEnv), stories.story(event["story"])
    s3, kms = client("s3"), client("kms")
    runs = naming.all_runs_prefix(story.slug)
    model = within(event["model_uri"], env.ARTIFACTS_BUCKET, runs)
    evaluation = _folder(within(event["evaluation_uri"], env.ARTIFACTS_BUCKET, runs))
    verdict = read_json(s3, within(event["verdict_uri"], env.ARTIFACTS_BUCKET, runs))

    keys = [entry["Key"] for entry in list_objects(s3, _folder(model))]
    root = model_root(keys, _folder(model).key)
    files = {
        name: hash_object(s3, env.ARTIFACTS_BUCKET, key)
        for name, key in sources(keys, root, evaluation.key).items()
    }
    evaluation_sha256 = files[naming.EVALUATION_FILE].sha256
    check_verdict(verdict, story=story.slug, evaluation_sha256=evaluation_sha256)
    report_uri = evaluation.child(naming.EVALUATION_FILE)
    report = parse_json_object(read_bytes(s3, report_uri), report_uri)
    origin, measures = proof(story.registry, report, run_id=event["run_id"])

    manifest = manifests.canonical(
        {name: f.sha256 for name, f in files.items()}, story=story.slug, lineage=origin
    )
    digest = manifests.digest(manifest).hex()
    prefix = naming.model_prefix(story.slug, digest)
    publish_files(
        s3,
        kms,
        bucket=env.ARTIFACTS_BUCKET,
        prefix=prefix,
        files=files,
        manifest=manifest,
        signing_key=env.SIGNING_KEY_ARN,
    )
    model_uri = str(S3Uri(env.ARTIFACTS_BUCKET, prefix))
    arn = find_or_create(
        client("sagemaker"),
        package_request(
            group=naming.model_package_group(story.slug),
            image=env.SERVING_IMAGE,
            model_uri=model_uri,
            manifest_sha256=digest,
            instance_type=story.serving.instance_type,
            properties={**origin, **measures, "verdict_uri": event["verdict_uri"]},
        ),
    )
    return {
        "version": arn.rsplit("/", 1)[1],
        "model_uri": model_uri,
        "manifest_sha256": digest,
        "model_package_arn": arn,
    }


def _folder(uri: S3Uri) -> S3Uri:
    """The folder itself, whether named with or without its last slash, or by its evaluation file."""
    if uri.key.endswith("/" + naming.EVALUATION_FILE):
        return uri.parent()
    return S3Uri(uri.bucket, uri.key.rstrip("/") + "/")
