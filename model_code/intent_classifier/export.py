"""PyTorch -> what serves: an OpenVINO graph with int8 weights, and the vocabulary as a table beside it.

With calibration rows the activations are int8 too (post-training quantisation): a third faster,
ten seconds more. They also say which feed-forward units may go. A run of a few steps goes without both.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from torch import Tensor, nn

from model_code.common.tokens import padded
from model_code.common.vocabulary_table import VocabularyTable, write_table
from model_code.intent_classifier.classifier import IntentClassifier
from model_code.intent_classifier.merged_projections import merge_projections
from model_code.intent_classifier.narrowed import Feed, narrow
from model_code.intent_classifier.serving_config import IR_FILE

# How much of an activation's range moves into the weights (Xiao et al. 2022, arXiv:2211.10438). Chosen on SNIPS
# training texts by how far the logits move from float32: 0.07 at 0.7; 0.12 at the library's 0.95, 0.13 at 0.5.
SMOOTH_QUANT_ALPHA = 0.7

INT8_ROWS = 128  # of the calibration rows; more change no range


class _FromVectors(nn.Module):
    """(vectors, attention_mask) -> logits: the classifier after its vocabulary look-up."""

    def __init__(self, model: IntentClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, vectors: Tensor, attention_mask: Tensor) -> Tensor:
        sentence = self.model.sentence
        hidden = sentence.encoder(inputs_embeds=vectors, attention_mask=attention_mask).last_hidden_state
        return self.model.head(sentence.pooled(hidden, attention_mask))  # type: ignore[no-any-return]


def to_openvino(model: IntentClassifier) -> ov.Model:
    """The graph with a free batch size and length; inputs vectors (rows, length, width) and attention_mask."""
    width = model.sentence.vocabulary.shape[1]
    example = {"vectors": torch.randn(2, 4, width), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])}
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every Python condition; the export test compares its answers with PyTorch's instead.
        warnings.simplefilter("ignore")
        graph = ov.convert_model(
            _FromVectors(model.eval()), example_input=example,
            input=[("vectors", ov.PartialShape([-1, -1, width]), ov.Type.f32),
                   ("attention_mask", ov.PartialShape([-1, -1]), ov.Type.i64)],
        )
    merge_projections(graph)
    return graph


def quantised(graph: ov.Model, rows: Sequence[Sequence[int]], feed: Feed) -> ov.Model:
    """int8 by post-training quantisation calibrated on `rows`; int8 weights only when there are none."""
    import nncf

    logging.getLogger("nncf").setLevel(logging.WARNING)
    with redirect_stdout(io.StringIO()):  # its progress bars would be hundreds of log lines
        if not rows:
            return nncf.compress_weights(graph)
        return nncf.quantize(
            graph, nncf.Dataset(list(rows), feed), model_type=nncf.ModelType.TRANSFORMER,
            subset_size=min(INT8_ROWS, len(rows)),
            # Attention itself is a hundredth of the arithmetic of a short text: in int8 it costs more than it saves.
            ignored_scope=nncf.IgnoredScope(types=["ScaledDotProductAttention"], validate=False),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=SMOOTH_QUANT_ALPHA)),
        )


def export(
    model: IntentClassifier, folder: Path, *, calibration: Sequence[Sequence[int]], pad_id: int, keep: float,
) -> None:
    """`keep`: share of the feed-forward units that serve, when there are calibration rows to choose them on."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(model.sentence.vocabulary.detach().numpy(), folder)
    table = VocabularyTable(folder)

    def feed(ids: Sequence[int]) -> dict[str, np.ndarray]:
        tokens, mask = padded([ids], pad_id=pad_id)
        return {"vectors": table.lookup(tokens), "attention_mask": mask}

    graph = to_openvino(model)
    if calibration and keep < 1:
        narrow(graph, calibration, feed, keep=keep)
    ov.save_model(quantised(graph, calibration, feed), folder / IR_FILE, compress_to_fp16=True)
