"""Feed-forward layers with fewer hidden units, the rest standing in for those that go: what serves, not what trains.

Two thirds of a transformer's arithmetic are in its feed-forward layers, and a fine-tuned one does without many of their
units. Kept are the units that move the layer's output most; the output matrix is fitted again by least squares, so that
the layer answers as before on the calibration texts (He et al. 2017, arXiv:1707.06168; for transformers
Kwon et al. 2022, arXiv:2204.09656). No labels, no training. Done on the graph, so it fits every encoder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as op

from model_code.intent_classifier.merged_projections import addition, constants, is_linear
from model_code.intent_classifier.serving_config import SAME_EVERYWHERE

_ACTIVATIONS = ("Gelu", "Relu", "Swish")
_MULTIPLE = 32  # of hidden units: a whole number of the processor's vectors
_TOGETHER = 64  # rows whose products are summed at once: a product as large as the layer for each row takes minutes
# Of the mean variance, added to each unit's: without it, few texts would be answered to the letter and others worse.
_RIDGE = 0.03

Floats = NDArray[np.floating]
Feed = Callable[..., dict[str, NDArray]]  # rows of token ids, one argument each -> the graph's inputs


@dataclass(frozen=True, kw_only=True)
class _FeedForward:
    """hidden = activation(inputs @ up.T + bias); output = hidden @ down.T + bias."""

    up: ov.Node
    activation: ov.Node
    down: ov.Node


def narrow(graph: ov.Model, rows: Sequence[Sequence[int]], feed: Feed, *, keep: float) -> int:
    """Narrow every feed-forward layer of the graph in place to `keep` of its units; returns how many were."""
    layers = _feed_forwards(graph)
    if not layers:  # an encoder of another build, gated for example: it serves whole
        return 0
    for layer, (mean, covariance) in zip(layers, _moments(graph, layers, rows, feed), strict=True):
        _narrow(layer, mean, covariance, keep)
    graph.validate_nodes_and_infer_types()
    return len(layers)


def _feed_forwards(graph: ov.Model) -> list[_FeedForward]:
    """Pairs of products with an activation between them that nothing else reads."""
    found = []
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not is_linear(node):
            continue
        activation = node.input_value(0).get_node()
        if activation.get_type_name() not in _ACTIVATIONS or len(activation.output(0).get_target_inputs()) > 1:
            continue
        biased = activation.input_value(0).get_node()
        up = biased.input_value(0).get_node() if biased.get_type_name() == "Add" else biased
        if up.get_type_name() == "MatMul" and is_linear(up):
            found.append(_FeedForward(up=up, activation=activation, down=node))
    return found


def _moments(
    graph: ov.Model, layers: Sequence[_FeedForward], rows: Sequence[Sequence[int]], feed: Feed,
) -> list[tuple[Floats, Floats]]:
    """Mean and covariance of each layer's hidden units over the tokens of the rows, padding left out."""
    results = [output.get_node() for output in graph.add_outputs([layer.activation.output(0) for layer in layers])]
    try:
        request = ov.compile_model(graph, "CPU", SAME_EVERYWHERE).create_infer_request()
    finally:
        for result in results:
            graph.remove_result(result)
    total: list[Floats] = [np.zeros(()) for _ in layers]
    products: list[Floats] = [np.zeros(()) for _ in layers]
    tokens = 0
    for start in range(0, len(rows), _TOGETHER):
        hidden: list[list[Floats]] = [[] for _ in layers]
        for row in rows[start : start + _TOGETHER]:
            inputs = feed(row)
            answer = request.infer(inputs)
            real = inputs["attention_mask"].astype(bool)
            tokens += int(real.sum())
            for i, values in enumerate(hidden):
                values.append(answer[i + 1][real])
        for i, values in enumerate(hidden):
            seen = np.concatenate(values)
            total[i] = total[i] + seen.sum(axis=0, dtype=np.float64)
            products[i] = products[i] + seen.T @ seen
    means = [t / tokens for t in total]
    return [(m, p / tokens - np.outer(m, m)) for m, p in zip(means, products, strict=True)]


def _narrow(layer: _FeedForward, mean: Floats, covariance: Floats, keep: float) -> None:
    up, down = constants(layer.up)[0], constants(layer.down)[0].astype(np.float64)
    units = max(_MULTIPLE, round(keep * len(up) / _MULTIPLE) * _MULTIPLE)
    if units >= len(up):
        return
    moved = np.diag(covariance) * (down**2).sum(axis=0)
    kept = np.sort(np.argsort(-moved, kind="stable")[:units])
    among = covariance[np.ix_(kept, kept)]
    ridge = _RIDGE * np.trace(among) / units * np.eye(units)
    missing = covariance[kept] @ down.T - among @ down[:, kept].T
    fitted = down[:, kept] + np.linalg.solve(among + ridge, missing).T
    shift = down @ mean - fitted @ mean[kept]
    _set_constant(layer.up, up[kept])
    if (bias := addition(layer.up)) is not None:
        value = constants(bias)[0]
        _set_constant(bias, value.reshape(-1)[kept].reshape(*value.shape[:-1], units))
    _set_constant(layer.down, fitted.astype(np.float32))
    if (bias := addition(layer.down)) is not None:
        _set_constant(bias, (constants(bias)[0] + shift).astype(np.float32))
    else:
        _add(layer.down, shift.astype(np.float32))


def _set_constant(node: ov.Node, value: NDArray) -> None:
    place = next(i for i, v in enumerate(node.input_values()) if v.get_node().get_type_name() == "Constant")
    node.input(place).replace_source_output(op.constant(value).output(0))


def _add(product: ov.Node, value: Floats) -> None:
    readers = list(product.output(0).get_target_inputs())
    total = op.add(product, op.constant(value))
    for reader in readers:
        reader.replace_source_output(total.output(0))
