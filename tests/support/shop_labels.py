"""Made label files that a two-layer encoder learns in seconds: the label follows from one word.

Three labels in three languages, so that each required slice of the contract has its 120 golden rows. Every row has a
made customer; `history` is what the feature store knows of them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.datasets import is_golden
from contracts.language import LANGUAGES, detect_language
from data import customers

LABELS = ("buy", "complain", "greet")
ROWS = 900
TAXONOMY: dict[str, Any] = {
    "name": "shop-v1", "labels": list(LABELS), "safety_critical": ["complain"], "languages": list(LANGUAGES),
    "golden_share": 0.5, "kind": "made",
}
_WORDS = {
    "buy": (("order", "purchase", "cart"), ("買う", "注文", "購入")),
    "complain": (("broken", "refund", "angry"), ("壊れた", "返金", "最悪")),
    "greet": (("hello", "morning", "friend"), ("こんにちは", "ありがとう", "おはよう")),
}
_FILLER = (("please", "today", "volume", "the", "my"), ("漫画", "今日", "です", "この", "新刊"))

Row = dict[str, Any]


def vocabulary() -> list[str]:
    """Every word the rows are made of."""
    return sorted({word for pairs in (*_WORDS.values(), _FILLER) for words in pairs for word in words})


def rows(count: int = ROWS, *, seed: int = 1, prefix: str = "s") -> list[Row]:
    """Rows in turn over labels and languages; every English one was annotated twice, and both agree."""
    return list(_made(count, seed, prefix).rows)


def history() -> list[Row]:
    """Records of the customer-cohort group for the customers of `rows()`, and so of any fewer."""
    return list(_made(ROWS, 1, "s").history)


def _made(count: int, seed: int, prefix: str) -> customers.Customers:
    rng = random.Random(seed)
    return customers.attach(_row(rng, f"{prefix}{n:05}", LABELS[n % 3], LANGUAGES[n // 3 % 3]) for n in range(count))


def _row(rng: random.Random, id_: str, label: str, language: str) -> Row:
    sides = {"en": (0,), "ja": (1,), "mixed": (0, 1)}[language]
    words = [rng.choice(_WORDS[label][side]) for side in sides for _ in range(3 - len(sides))]
    words += [rng.choice(_FILLER[side]) for side in sides for _ in range(rng.randrange(1, 4))]
    rng.shuffle(words)
    # the number keeps texts apart: a training row that is also a golden one would be dropped
    text = " ".join([*words, str(rng.randrange(10**6))])
    assert detect_language(text) == language
    return {"id": id_, "text": text, "label": label, "language": language,
            "annotator_labels": [label, label] if language == "en" else []}


def damaged(good: Sequence[Row]) -> list[Row]:
    """Every training row has the next label, golden rows are as they were: a broken export that the gates must see.

    Without annotators, so that it is not the kappa gate that sees it.
    """
    return [row if is_golden(row, TAXONOMY["golden_share"])
            else {**row, "annotator_labels": [], "label": _next(row["label"])} for row in good]


def quarrelling(good: Sequence[Row]) -> list[Row]:
    """The same rows; the second annotator of the English ones always says something else."""
    return [{**row, "annotator_labels": [row["label"], _next(row["label"])]} if row["annotator_labels"] else row
            for row in good]


def _next(label: str) -> str:
    return LABELS[(LABELS.index(label) + 1) % len(LABELS)]


def write(path: Path, found: Sequence[Row]) -> Path:
    """The label file and its label set beside it."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")
    path.with_suffix(".taxonomy.json").write_text(json.dumps(TAXONOMY), "utf-8")
    return path


def write_encoder(folder: Path) -> Path:
    """A Hugging Face folder: BERT of 2 layers x 32 with random weights that knows the rows' words."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokens = {token: n for n, token in enumerate([*special, *vocabulary(), *"0123456789"])}
    tokenizer = Tokenizer(models.WordLevel(tokens, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(7)
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine cost more than they bring
    config = BertConfig(vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=64, max_position_embeddings=128, initializer_range=0.1)
    BertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
