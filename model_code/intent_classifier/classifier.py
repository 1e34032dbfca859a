"""The PyTorch side: encoder + linear head, saved as a Hugging Face folder beside a small head file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model_code.common.encoders import SentenceEncoder, load_encoder, pooling_of
from model_code.common.tokens import TOKENIZER_FILE

HEAD_FILE = "head.safetensors"
LABELS_FILE = "labels.json"


class IntentClassifier(nn.Module):
    """(input_ids, attention_mask) -> logits, shape (rows, labels)."""

    def __init__(self, encoder: SentenceEncoder, *, labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.sentence = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.width, labels)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.head(self.dropout(self.sentence(input_ids, attention_mask)))  # type: ignore[no-any-return]


def new_classifier(pretrained: Path, *, labels: int) -> IntentClassifier:
    encoder = SentenceEncoder(load_encoder(pretrained), pooling=pooling_of(pretrained))
    encoder.freeze_vocabulary()
    return IntentClassifier(encoder, labels=labels)


def save_classifier(model: IntentClassifier, folder: Path, *, pretrained: Path, labels: tuple[str, ...]) -> None:
    """A Hugging Face folder in float16 (half the bytes; no measurable loss) with head and labels beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = model.sentence.encoder
    state = encoder.state_dict()
    weights = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in state.items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    encoder.config.save_pretrained(folder)  # type: ignore[union-attr,operator]
    for path in pretrained.iterdir():
        if path.name in (TOKENIZER_FILE, "tokenizer_config.json", "special_tokens_map.json", "1_Pooling"):
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            copy(path, folder / path.name)
    head = {name: tensor.detach().cpu().contiguous() for name, tensor in model.head.state_dict().items()}
    save_file(head, folder / HEAD_FILE)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # the library writes for the owner only; whoever copies the model must read it too
    (folder / LABELS_FILE).write_text(json.dumps(list(labels)), "utf-8")


def load_head(model: IntentClassifier, folder: Path, *, labels: tuple[str, ...]) -> bool:
    """Take over the head of `folder` when it speaks the same labels: a run may start from the champion."""
    if not (folder / HEAD_FILE).exists() or not (folder / LABELS_FILE).exists():
        return False
    if tuple(json.loads((folder / LABELS_FILE).read_text("utf-8"))) != labels:
        return False
    model.head.load_state_dict(load_file(folder / HEAD_FILE))
    return True


def load_classifier(folder: Path) -> IntentClassifier:
    labels = tuple(json.loads((folder / LABELS_FILE).read_text("utf-8")))
    model = new_classifier(folder, labels=len(labels))
    load_head(model, folder, labels=labels)
    return model.eval()
