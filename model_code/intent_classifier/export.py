"""PyTorch -> OpenVINO IR with int8 weights (and int8 activations when there are rows to calibrate on)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import torch

from model_code.common.tokens import padded
from model_code.intent_classifier.classifier import IntentClassifier
from model_code.intent_classifier.serving_config import IR_FILE


def to_openvino(model: IntentClassifier) -> ov.Model:
    """The graph with a free batch size and length; inputs input_ids and attention_mask."""
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1]])
    example = {"input_ids": ids, "attention_mask": (ids != 1).long()}
    free = ov.PartialShape([-1, -1])
    with torch.no_grad():
        return ov.convert_model(
            model.eval(), example_input=example,
            input=[("input_ids", free, ov.Type.i64), ("attention_mask", free, ov.Type.i64)],
        )


def quantised(graph: ov.Model, rows: Sequence[Sequence[int]], *, pad_id: int) -> ov.Model:
    """int8 by post-training quantisation calibrated on `rows`; int8 weights only when there are none."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.WARNING)
    if not rows:
        return nncf.compress_weights(graph)

    def feed(ids: Sequence[int]) -> dict[str, np.ndarray]:
        input_ids, mask = padded([ids], pad_id=pad_id)
        return {"input_ids": input_ids, "attention_mask": mask}

    return nncf.quantize(
        graph, nncf.Dataset(list(rows), feed), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows),
    )


def export(model: IntentClassifier, folder: Path, *, calibration: Sequence[Sequence[int]], pad_id: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ov.save_model(quantised(to_openvino(model), calibration, pad_id=pad_id), folder / IR_FILE, compress_to_fp16=True)
