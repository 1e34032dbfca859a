"""A random two-layer encoder and a small made-up data set: the whole model code in seconds, no network."""

from __future__ import annotations

import base64
import json
import os
import random
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts import manifests
from contracts.language import detect_language
from contracts.stories.intent_classifier import INTENT_CLASSIFIER
from contracts.taxonomies import Taxonomy
from model_code.common.hashing import folder_files
from model_code.intent_classifier import prepare
from model_code.intent_classifier.train_config import TrainConfig

STORY = INTENT_CLASSIFIER.slug
TAXONOMY = Taxonomy(
    name="tiny-v1", labels=("buy", "complain", "greet"), safety_critical=("complain",), languages=("en", "ja"),
    cohorts=("new", "returning"), kind="made",
)
_WORDS = {
    "buy": ("order", "purchase", "cart", "買う", "注文"), "complain": ("broken", "refund", "angry", "壊れた", "返金"),
    "greet": ("hello", "morning", "friend", "こんにちは", "ありがとう"),
}
_FILLER = ("please", "today", "manga", "volume", "the", "漫画", "今日", "です")


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tiny-model-")  # removed when the test process ends


def folder(name: str) -> Path:
    return Path(_home().name) / name


def rows(count: int = 240, *, seed: int = 1) -> list[dict[str, object]]:
    """Label rows that a bag of words separates, in two languages and two cohorts."""
    rng = random.Random(seed)
    found: list[dict[str, object]] = []
    for number in range(count):
        label = TAXONOMY.labels[number % 3]
        japanese = number % 2 == 1
        pick = _WORDS[label][3:] if japanese else _WORDS[label][:3]
        filler = _FILLER[5:] if japanese else _FILLER[:5]
        words = [*rng.choices(pick, k=2), *rng.choices(filler, k=rng.randrange(1, 4)), str(number)]
        rng.shuffle(words)
        text = " ".join(words)
        found.append({
            "id": f"t{number:04}", "text": text, "label": label, "language": detect_language(text),
            "cohort": TAXONOMY.cohorts[number % 4 // 2], "daypart": None, "group_id": None, "annotator_labels": [],
        })
    return found


@cache
def encoder_dir() -> Path:
    """A Hugging Face folder: BERT of 2 layers x 32, random weights, WordPiece tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    torch.set_num_threads(1)  # threads that wait for each other on a busy machine cost more than they bring
    out = folder("encoder")
    # By hand: a trained vocabulary differs from process to process, and every number with it.
    words = sorted({word.lower() for row in rows() for word in str(row["text"]).split() if not word.isdigit()})
    characters = sorted({c for word in words for c in word} | set("0123456789"))
    known = dict.fromkeys([*words, *characters, *(f"##{c}" for c in characters)])
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *known]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(pieces[:4])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, initializer_range=0.02,
    )
    BertModel(config).save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    return out


@cache
def prepared_dir() -> Path:
    dataset, out = folder("dataset"), folder("prepared")
    dataset.mkdir()
    (dataset / "dataset.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows()), "utf-8")
    manifest = {"freeze_id": "f" * 16, "story": STORY, "taxonomy": asdict(TAXONOMY), "schema_version": 1, "rows": 240,
                "label_version": {"above": 0, "to": 3}, "kappa": {"en": 0.9}, "kind": "made"}
    (dataset / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    prepare.main(["--dataset", str(dataset), "--output", str(out), "--seed", "5"])
    return out


TINY = TrainConfig(max_steps=80, learning_rate=3e-3, head_learning_rate=1e-2, batch_size=16, max_tokens=32,
                   calibration_rows=0, precision="fp32", seed=3,
                   holdout_min_rows=0)


def job_environ(model_dir: Path, *, pretrained: Path | None = None, **changes: object) -> dict[str, str]:
    """The variables of a SageMaker training job."""
    settings = {**asdict(TINY), **changes}
    return {
        "SM_CHANNEL_TRAIN": str(prepared_dir()), "SM_CHANNEL_PRETRAINED": str(pretrained or encoder_dir()),
        "SM_MODEL_DIR": str(model_dir),
        "SM_HPS": json.dumps({k.replace("_", "-"): str(v) for k, v in settings.items()}),
        "SAGEMAKER_BASE_DIR": str(model_dir.parent / f"{model_dir.name}-ml"),
    }


def train(model_dir: Path, *, pretrained: Path | None = None, **changes: object) -> Path:
    """Run the training job as SageMaker would, in this process."""
    from model_code.intent_classifier import train as job

    before = dict(os.environ)
    os.environ.update(job_environ(model_dir, pretrained=pretrained, **changes))
    try:
        job.main([])
    finally:
        os.environ.clear()
        os.environ.update(before)
    return model_dir


@cache
def model_dir() -> Path:
    return train(folder("model"))


@cache
def signing_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def public_key(key: ec.EllipticCurvePrivateKey | None = None) -> str:
    der = (key or signing_key()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def sign(model: Path, *, story: str = STORY, key: ec.EllipticCurvePrivateKey | None = None) -> str:
    """Write manifest and signature into a model folder as KMS would sign them; the manifest's digest in hex."""
    files = {name: sha for name, sha in folder_files(model).items() if name not in manifests.UNLISTED_ALLOWED}
    manifest = manifests.canonical(files, story=story, lineage={"run_id": "r1"})
    (model / "manifest.json").write_bytes(manifest)
    digest = manifests.digest(manifest)
    (model / "manifest.sig").write_bytes((key or signing_key()).sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    return digest.hex()
