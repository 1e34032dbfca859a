"""Text -> token ids with the `tokenizers` library alone: transformers takes seconds to import."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

TOKENIZER_FILE = "tokenizer.json"
# Lengths are rounded up to one of these, above the last to a multiple of the step: a server meets few
# shapes and can compile for each. Few: each has its own copy of the weights, and they push each other out of
# the processor's cache; finer steps were measured to gain nothing.
SHORT_LENGTHS = (16, 24, 32)
LENGTH_STEP = 8

Ids = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    ids: list[int]
    unknown_share: float  # of the text's own tokens


class TextTokenizer:
    """Truncating tokeniser of one model folder; safe to share between threads."""

    def __init__(self, path: Path, *, max_tokens: int) -> None:
        if not path.exists():
            raise ValueError(f"{path} is missing: the encoder folder needs a fast tokenizer ({TOKENIZER_FILE})")
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self.max_tokens = max_tokens
        self.pad_id = min(self._numbers("<pad>", "[PAD]"), default=0)
        self._unknown = self._numbers("<unk>", "[UNK]")

    def _numbers(self, *names: str) -> set[int]:
        return {i for name in names if (i := self._tokenizer.token_to_id(name)) is not None}

    def encode(self, text: str) -> Encoded:
        return self._encoded(self._tokenizer.encode(text))

    def encode_batch(self, texts: Sequence[str]) -> list[Encoded]:
        return [self._encoded(e) for e in self._tokenizer.encode_batch(list(texts))]

    def _encoded(self, encoding: object) -> Encoded:
        ids: list[int] = encoding.ids  # type: ignore[attr-defined]
        special = sum(encoding.special_tokens_mask)  # type: ignore[attr-defined]
        unknown = sum(1 for i in ids if i in self._unknown)
        return Encoded(ids=ids, unknown_share=unknown / max(1, len(ids) - special))


def batches_by_length(rows: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Row numbers in batches of similar length: less padding. Every row is in exactly one."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    yield from (order[start : start + size] for start in range(0, len(order), size))


def padded(batch: Sequence[Sequence[int]], *, pad_id: int) -> tuple[Ids, Ids]:
    """(input_ids, attention_mask), both (batch, length), the length rounded up."""
    longest = max(len(ids) for ids in batch)
    length = next((n for n in SHORT_LENGTHS if n >= longest), -(-longest // LENGTH_STEP) * LENGTH_STEP)
    ids = np.full((len(batch), length), pad_id, dtype=np.int64)
    mask = np.zeros((len(batch), length), dtype=np.int64)
    for row, tokens in enumerate(batch):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask
