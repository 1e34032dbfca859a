"""audit_verify_seconds: walk an audit chain of a million records on one core, and find whatever was done to it.

    python -m benchmarks.audit_verify [--records 1000000] [--runs 3]

The chain lies in a file, as an export would, and is read as a stream. After the timed runs, faults of each
kind are injected at seeded places (20 edits, 20 drops, 20 swaps, one truncation), each kind alone and all
together, and every injected one has to be named. Peer: the plain loop of a chain without a line format:
read the JSON, write it canonically, hash it with the hash before it; it stops at the first difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from benchmarks import common
from contracts.audit_chain import Checkpoint, Head, SignedCheckpoint, line, seal
from contracts.audit_verifier import Verdict, verify

CHAIN, LIMIT_S, FAULTS = "intent-classifier", 5.0, 20
CHECKPOINT_EVERY = 100_000
_ECDSA = ec.ECDSA(Prehashed(hashes.SHA256()))
_KEY = ec.generate_private_key(ec.SECP256R1())


def record(number: int) -> dict[str, Any]:
    """A label edit, as long as real ones are."""
    detail = {"id": f"utterance-{number:07}", "before": "order_status", "after": "return_request", "who":
              "arn:aws:sts::123456789012:assumed-role/annotator/ann", "why": "two vendors disagreed; ruled by hand"}
    return {"story": CHAIN, "id": f"batch-{number // 500:06}#LabelEdited-{number}", "run_id": f"batch-{number:06}",
            "what": "LabelEdited", "at": "2026-11-28T00:00:00+00:00", "detail": json.dumps(detail)}


def write_chain(path: Path, plain: Path, records: int) -> list[SignedCheckpoint]:
    """Our lines into `path`, the peer's into `plain` (hash, space, JSON); the signed heads."""
    head, checkpoints, before = Head.of_empty(CHAIN), [], ""
    with path.open("wb") as ours, plain.open("w", encoding="utf-8") as theirs:
        for number in range(1, records + 1):
            content = record(number)
            link = seal(content, head)
            ours.write(line(link, content))
            head, before = link.head, plain_hash(content, before)
            theirs.write(f"{before} {json.dumps(content)}\n")
            if number % CHECKPOINT_EVERY == 0 or number == records:
                point = Checkpoint.of(head, at="2026-11-28T00:00:00+00:00")
                checkpoints.append(SignedCheckpoint(checkpoint=point, signature=_KEY.sign(point.digest(), _ECDSA)))
    return checkpoints


def plain_hash(content: Mapping[str, Any], before: str) -> str:
    return hashlib.sha256((before + json.dumps(content, sort_keys=True, separators=(",", ":"))).encode()).hexdigest()


def plain_loop(path: Path) -> bool:
    before = ""
    with path.open(encoding="utf-8") as lines:
        for text in lines:
            stated, _, body = text.partition(" ")
            if plain_hash(json.loads(body), before) != stated:
                return False
            before = stated
    return True


def is_signed(digest: bytes, signature: bytes) -> bool:
    try:
        _KEY.public_key().verify(signature, digest, _ECDSA)
    except InvalidSignature:
        return False
    return True


def run(lines: Iterator[bytes], checkpoints: Sequence[SignedCheckpoint]) -> Verdict:
    return verify(CHAIN, lines, checkpoints, is_signed=is_signed)


def injected(path: Path, faults: Mapping[str, Sequence[int]]) -> Iterator[bytes]:
    """The chain's lines with faults: `edit` and `drop` at a record, `swap` of a record with the next one,
    `truncate` behind a record."""
    edit, drop, swap = (set(faults.get(kind, ())) for kind in ("edit", "drop", "swap"))
    with path.open("rb") as stream:
        numbered = enumerate(islice(stream, *(faults.get("truncate") or (None,))), start=1)
        for number, text in numbered:
            if number in edit:
                yield text.replace(b"return_request", b"return_requests")
            elif number in swap:
                yield next(numbered)[1]
                yield text
            elif number not in drop:
                yield text


def injected_and_found(path: Path, records: int, checkpoints: Sequence[SignedCheckpoint]) -> dict[str, str]:
    """fault kind -> "found / injected"; a fault is found when a finding names its record (or its partner)."""
    # Even numbers far apart: no two faults touch, so each has to be found for itself.
    places = random.Random(7).sample(range(10, records - 10, 2), 3 * FAULTS)
    alone: dict[str, list[int]] = {"edit": places[:FAULTS], "drop": places[FAULTS : 2 * FAULTS],
                                   "swap": places[2 * FAULTS :], "truncate": [records - 5]}
    answer: dict[str, str] = {}
    for name, faults in (*((kind, {kind: at}) for kind, at in alone.items()), ("all together", alone)):
        verdict = run(injected(path, faults), checkpoints)
        named = {n for f in verdict.findings for n in range(f.first, f.last + 1)}
        wanted = [{at, at + 1} if kind == "swap" else {at + 1} if kind == "truncate" else {at}
                  for kind, where in faults.items() for at in where]
        found = sum(bool(one & named) for one in wanted)
        answer[name] = f"{found} / {len(wanted)}"
        # and nothing else is accused
        assert found == len(wanted), (name, verdict.findings)
        assert named <= set().union(*wanted) | set(range(records - 4, records + 1)), (name, verdict.findings)
    return answer


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        path, plain = Path(folder) / "chain.txt", Path(folder) / "plain.txt"
        checkpoints = write_chain(path, plain, args.records)
        seconds: dict[str, list[float]] = {"ours": [], "ours_cpu": [], "peer": []}
        for _ in range(args.runs):
            started, busy = time.perf_counter(), time.process_time()
            with path.open("rb") as lines:
                verdict = run(lines, checkpoints)
            seconds["ours"].append(time.perf_counter() - started)
            seconds["ours_cpu"].append(time.process_time() - busy)
            assert verdict.intact, verdict.findings
            assert verdict.signed_to == verdict.records == args.records
            started = time.perf_counter()
            assert plain_loop(plain)
            seconds["peer"].append(time.perf_counter() - started)
        found = injected_and_found(path, args.records, checkpoints)
        size = path.stat().st_size
    ours = statistics.median(seconds["ours"])
    common.write(
        "audit_verify_seconds", unit="s", better="lower", ours=ours,
        peers={"json.dumps + hashlib": statistics.median(seconds["peer"])},
        workload=f"{args.records} records ({size / args.records:.0f} bytes each), {len(checkpoints)} signed heads, "
                 f"one core, median of {args.runs}",
        limits={f"<= {LIMIT_S:.0f} s": ours <= LIMIT_S,
                "every injected fault found": all(n == m for n, _, m in map(str.split, found.values()))},
        extra={"found": found, "runs_s": {name: [round(s, 3) for s in values] for name, values in seconds.items()}})


if __name__ == "__main__":
    main()
