"""PyTorch -> what serves: an OpenVINO graph with int8 weights, and the vocabulary as a table beside it.

With calibration rows the activations are int8 too (post-training quantisation): a third faster,
ten seconds more a graph. They also say which feed-forward units may go. A run of a few steps goes without both.

Two graphs may serve. The short one ends early (early_exit.py), has fewer units (narrowed.py) and a head of its own,
fitted last, on the vectors that this graph gives. The whole one is the encoder as it was trained, with the trained
head: it serves where held-out rows say that the short one answers worse.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from numpy.typing import NDArray
from openvino import opset13 as op
from torch import nn

from model_code.common.calibration import fit_temperature
from model_code.common.tokens import batches_by_length, padded
from model_code.common.vocabulary_table import VocabularyTable, write_table
from model_code.intent_classifier.classifier import IntentClassifier
from model_code.intent_classifier.early_exit import EarlyExit, WholeEncoder
from model_code.intent_classifier.head_start import started_head
from model_code.intent_classifier.merged_projections import merge_projections
from model_code.intent_classifier.narrowed import Feed, narrow
from model_code.intent_classifier.serving_config import IR_FILE, SAME_EVERYWHERE
from model_code.intent_classifier.train_config import TrainConfig
from model_code.intent_classifier.training_loop import Encoded

# How much of an activation's range moves into the weights (Xiao et al. 2022, arXiv:2211.10438). Chosen on SNIPS
# training texts by how far the logits move from float32: 0.07 at 0.7; 0.12 at the library's 0.95, 0.13 at 0.5.
SMOOTH_QUANT_ALPHA = 0.7

INT8_ROWS = 128  # of the calibration rows; more change no range
BATCH = 32
SHORT, WHOLE = "short", "whole"
# What the short graph may cost of the held-out rows' accuracy: twice what int8 may. And no more than chance brings
# (McNemar 1947, doi:10.1007/BF02295996): of a hundred rows one point is one row.
TOLERATED_LOSS, BEYOND_CHANCE = 0.01, 2.0

Floats = NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """`temperature` of the graph's logits; `held_accuracy`: of each graph that was tried, empty without such rows."""

    graph: str  # SHORT or WHOLE
    temperature: float
    held_accuracy: dict[str, float]


def to_openvino(module: nn.Module, *, width: int) -> ov.Model:
    """The graph with a free batch size and length; inputs vectors (rows, length, width) and attention_mask."""
    example = {"vectors": torch.randn(2, 4, width), "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])}
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every Python condition; the export test compares its answers with PyTorch's instead.
        warnings.simplefilter("ignore")
        graph = ov.convert_model(
            module.eval(), example_input=example,
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


def append_head(graph: ov.Model, weight: Floats, bias: Floats) -> None:
    """logits = output @ weight.T + bias, in place of the graph's one output."""
    result = graph.get_results()[0]
    product = op.matmul(result.input_value(0), op.constant(weight.astype(np.float32)), False, True)
    logits = op.add(product, op.constant(bias.astype(np.float32)[None]))
    result.input(0).replace_source_output(logits.output(0))
    graph.validate_nodes_and_infer_types()


def export(model: IntentClassifier, folder: Path, *, train: Encoded, held: Encoded, config: TrainConfig) -> Exported:
    """Write vocabulary and graph: the short one, unless it is worse than the whole on the held-out rows.

    Without such rows (a small data set) it is the short one: nothing says that more is better.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_table(model.sentence.vocabulary.detach().numpy(), folder)
    table = VocabularyTable(folder)

    def feed(*rows: Sequence[int]) -> dict[str, np.ndarray]:
        tokens, mask = padded(rows, pad_id=train.pad_id)
        return {"vectors": table.lookup(tokens), "attention_mask": mask}

    labels = np.asarray(held.labels)
    chosen, graph = SHORT, _short(model, train, feed, config)
    logits = _answers(graph, held.ids, feed)
    accuracy: dict[str, float] = {}
    if held.labels:
        whole = _whole(model, train, feed, config)
        more = _answers(whole, held.ids, feed)
        right = {SHORT: logits.argmax(1) == labels, WHOLE: more.argmax(1) == labels}
        accuracy = {name: float(rows.mean()) for name, rows in right.items()}
        if _is_worse(right[SHORT], right[WHOLE]):
            chosen, graph, logits = WHOLE, whole, more
    ov.save_model(graph, folder / IR_FILE, compress_to_fp16=True)
    return Exported(graph=chosen, temperature=fit_temperature(logits, labels), held_accuracy=accuracy)


def _is_worse(short: NDArray[np.bool_], whole: NDArray[np.bool_]) -> bool:
    """`short`, `whole`: for each held-out row, whether that graph is right."""
    lost, won = int((whole & ~short).sum()), int((short & ~whole).sum())
    return lost - won > max(TOLERATED_LOSS * len(short), BEYOND_CHANCE * (lost + won) ** 0.5)


def _short(model: IntentClassifier, train: Encoded, feed: Feed, config: TrainConfig) -> ov.Model:
    graph = to_openvino(EarlyExit(model.sentence), width=model.sentence.width)
    calibration = train.balanced(config.calibration_rows).ids
    if calibration and config.feed_forward_keep < 1:
        narrow(graph, calibration, feed, keep=config.feed_forward_keep)
    graph = quantised(graph, calibration, feed)
    part = train.balanced(config.head_rows)
    append_head(graph, *started_head(
        _answers(graph, part.ids, feed), part.labels, classes=model.head.out_features))
    return graph


def _whole(model: IntentClassifier, train: Encoded, feed: Feed, config: TrainConfig) -> ov.Model:
    graph = to_openvino(WholeEncoder(model.sentence), width=model.sentence.width)
    graph = quantised(graph, train.balanced(config.calibration_rows).ids, feed)
    append_head(graph, model.head.weight.detach().numpy(), model.head.bias.detach().numpy())
    return graph


def _answers(graph: ov.Model, rows: Sequence[Sequence[int]], feed: Feed) -> Floats:
    """The graph's output for each row, in their order; sorted by length inside to spare padding."""
    request = ov.compile_model(graph, "CPU", SAME_EVERYWHERE).create_infer_request()
    found = np.zeros((len(rows), graph.output(0).get_partial_shape()[1].get_length()), np.float32)
    for places in batches_by_length(rows, BATCH):
        found[places] = request.infer(feed(*[rows[i] for i in places]))[0]
    return found
