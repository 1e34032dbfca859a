"""JSONata for the interpreter, by jsonata-python, with the functions that Step Functions adds."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from typing import Any

_HASHES = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-384": "sha384", "SHA-512": "sha512"}


def evaluate(expression: str) -> Any:
    """The interpreter puts variables in front of the expression as `$name := value;`, so there is no input."""
    import jsonata
    from moto.stepfunctions.parser.asl.jsonata.jsonata import JSONataException

    program = jsonata.Jsonata(expression)
    for name, function in _FUNCTIONS.items():
        program.register_lambda(name, function)
    try:
        result = program.evaluate(None)
    except jsonata.JException as error:
        raise JSONataException(str(getattr(error, "error", "UNKNOWN")), str(error)) from error
    return json.loads(json.dumps(result, default=list))  # jsonata's own list types become plain ones


def _partition(items: list[Any], size: int) -> list[list[Any]]:
    return [items[i:i + int(size)] for i in range(0, len(items), int(size))]


def _range(start: float, end: float, step: float) -> list[float]:
    if step == 0:
        raise ValueError("the step of $range must not be 0")
    count = int((end - start) / step) + 1
    return [start + i * step for i in range(max(0, count))]


def _hash(text: str, algorithm: str) -> str:
    if algorithm not in _HASHES:
        raise ValueError(f"$hash knows {sorted(_HASHES)}, got {algorithm!r}")
    return hashlib.new(_HASHES[algorithm], text.encode()).hexdigest()


_FUNCTIONS = {
    "partition": _partition,
    "range": _range,
    "hash": _hash,
    "random": lambda seed=None: random.Random(seed).random(),
    "uuid": lambda: str(uuid.uuid4()),
    "parse": lambda text: json.loads(text),
}
