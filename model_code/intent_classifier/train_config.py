"""Hyperparameters of the intent classifier, as SageMaker passes them (dashes for underscores)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    epochs: int = 0  # 0: as many as the rows need (training_loop.epochs_for)
    max_steps: int = 0  # 0: as many as the epochs need; otherwise training ends here, schedule included
    learning_rate: float = 3e-4  # of the encoder's top layer
    head_learning_rate: float = 1e-3
    train_layers: int = 6  # from the top; the vocabulary is never trained
    layer_decay: float = 0.9  # each lower layer learns at this share of the one above
    batch_size: int = 32
    warmup_share: float = 0.1
    label_smoothing: float = 0.05
    dropout: float = 0.1
    seed: int = 13
    max_tokens: int = 64  # chat turns: the longest of 693 SNIPS utterances has 36
    holdout_share: float = 0.1  # of the training groups, for the temperature and for which graph serves
    holdout_min_rows: int = 1_000  # with fewer rows each is worth more in training: temperature 1, short graph
    head_rows: int = 4096  # the most rows that a head is fitted on, as a start for training and for what serves
    calibration_rows: int = 256  # for int8 activations and the next line; 0: int8 weights only, seconds faster
    feed_forward_keep: float = 0.375  # of the feed-forward units that serve; 1: all
    checkpoint_steps: int = 200
    precision: str = "auto"  # auto, fp32 or bf16

    def __post_init__(self) -> None:
        if not 0 < self.feed_forward_keep <= 1:
            raise ValueError(f"feed-forward-keep must be 0 (excluded) to 1, got {self.feed_forward_keep}")
        if self.precision not in ("auto", "fp32", "bf16"):
            raise ValueError(f"precision must be auto, fp32 or bf16, got {self.precision!r}")
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 (as many as the rows need) or more, got {self.epochs}")
        for name in ("batch_size", "max_tokens", "checkpoint_steps", "train_layers", "head_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be at least 1, got {getattr(self, name)}")
        for name in ("holdout_share", "warmup_share", "label_smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', '-')} must be 0 to 1 (1 excluded), got {getattr(self, name)}")
