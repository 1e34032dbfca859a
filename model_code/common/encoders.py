"""Any Hugging Face encoder folder as a sentence encoder; needs torch.

Pooling is the mean over real tokens unless the folder says otherwise the way sentence-transformers
does (`1_Pooling/config.json`): e5 was trained with the mean, and for DistilBERT the mean does no
worse than the first token.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from torch import Tensor, nn

_LAYER = re.compile(r"\.(?:layer|layers|h|block)\.(\d+)\.")


def pooling_of(folder: Path) -> str:
    """`mean` or `cls`."""
    path = folder / "1_Pooling" / "config.json"
    if path.exists() and json.loads(path.read_text("utf-8")).get("pooling_mode_cls_token"):
        return "cls"
    return "mean"


def load_encoder(folder: Path) -> nn.Module:
    """The encoder in float32, without the pooler that pre-training may have left; never from a network."""
    from transformers import AutoModel
    from transformers.utils import logging

    if not (folder / "config.json").exists():
        raise ValueError(f"{folder} is no Hugging Face encoder folder: config.json is missing")
    logging.set_verbosity_error()  # a missing pooler is no news: it is taken off below
    logging.disable_progress_bar()
    model: nn.Module = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    if hasattr(model, "pooler"):
        model.pooler = None  # type: ignore[assignment]
    return model


class SentenceEncoder(nn.Module):
    """(input_ids, attention_mask) -> one vector a row."""

    def __init__(self, encoder: nn.Module, *, pooling: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling

    @property
    def width(self) -> int:
        config = self.encoder.config
        return int(getattr(config, "hidden_size", None) or config.dim)  # type: ignore[union-attr,arg-type]

    @property
    def layers(self) -> int:
        return int(self.encoder.config.num_hidden_layers)  # type: ignore[union-attr,arg-type]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.pooled(self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state,
                           attention_mask)

    def pooled(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return hidden[:, 0]  # type: ignore[no-any-return]
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1.0)  # type: ignore[no-any-return]

    @property
    def vocabulary(self) -> Tensor:
        """Input embeddings, shape (pieces, width)."""
        return self.encoder.get_input_embeddings().weight  # type: ignore[operator,no-any-return]

    def freeze_vocabulary(self) -> None:
        """Input embeddings stay as they are: they are most of the weights, and few rows would move few of them."""
        self.vocabulary.requires_grad_(False)

    def freeze_below(self, layers: int) -> None:
        """Train the top `layers` only: few rows teach them better than the whole (Lee et al. 2019, arXiv:1911.03090).

        Embeddings freeze with the first layer that does. Fewer layers than `layers`: all are trained.
        """
        depths = {name: depth_of(name) for name, _ in self.named_parameters()}
        first = max((d for d in depths.values() if d is not None), default=-1) + 1 - layers
        for name, parameter in self.named_parameters():
            depth = depths[name]
            below = depth < first if depth is not None else "embed" in name.lower() and first > 0
            if below:
                parameter.requires_grad_(False)


def depth_of(name: str) -> int | None:
    """Layer number in a parameter's name; None for what stands outside the layers."""
    match = _LAYER.search(f".{name}.")
    return int(match.group(1)) if match else None


def layerwise_groups(model: SentenceEncoder, *, learning_rate: float, decay: float) -> list[dict[str, object]]:
    """Optimiser groups: the top layer at `learning_rate`, each one below at `decay` of it (Howard & Ruder 2018).

    Embedding norms and positions count as the layer below the first. Biases and norms take no
    weight decay.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    depths = [d for name, _ in named if (d := depth_of(name)) is not None]
    top = max(depths, default=0)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        found = depth_of(name)
        depth = found if found is not None else (-1 if "embed" in name.lower() else top)
        groups.setdefault((depth, parameter.ndim >= 2), []).append(parameter)
    return [
        {"params": parameters, "lr": learning_rate * decay ** (top - depth), "weight_decay": 0.01 if matrix else 0.0}
        for (depth, matrix), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]
