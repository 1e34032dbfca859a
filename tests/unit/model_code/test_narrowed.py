"""Feed-forward layers that lose units: what goes is what moves the answers least, and the rest stands in for it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openvino as ov
import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from model_code.common.encoders import SentenceEncoder
from model_code.intent_classifier.classifier import IntentClassifier
from model_code.intent_classifier.early_exit import EarlyExit
from model_code.intent_classifier.export import to_openvino
from model_code.intent_classifier.narrowed import narrow

HIDDEN, TEXTS = 128, 96


def classifier(family: str, *, activation: str = "gelu", redundant: bool = True) -> IntentClassifier:
    """Random weights; `redundant`: every second unit of a feed-forward layer repeats the one before."""
    torch.manual_seed(3)
    encoder = {
        "bert": lambda: BertModel(BertConfig(
            vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=HIDDEN,
            hidden_act=activation)),
        "distilbert": lambda: DistilBertModel(DistilBertConfig(
            vocab_size=60, dim=32, n_layers=2, n_heads=2, hidden_dim=HIDDEN, activation=activation)),
    }[family]()
    model = IntentClassifier(SentenceEncoder(encoder, pooling="mean"), labels=3).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=0.3)
            if redundant and ("intermediate.dense" in name or "lin1" in name):
                parameter[1::2] = parameter[::2]
    return model


def graph_of(model: IntentClassifier) -> ov.Model:
    return to_openvino(EarlyExit(model.sentence), width=model.sentence.width)


def texts() -> list[list[int]]:
    draw = np.random.default_rng(5)
    return [draw.integers(1, 60, int(draw.integers(3, 12))).tolist() for _ in range(TEXTS)]


def feed_of(model: IntentClassifier):  # type: ignore[no-untyped-def]
    table = model.sentence.vocabulary.detach().numpy()

    def feed(ids: Sequence[int]) -> dict[str, np.ndarray]:
        padding = [0] * (12 - len(ids))
        return {"vectors": table[np.array([[*ids, *padding]])], "attention_mask": np.array([[1] * len(ids) + padding])}

    return feed


def answers(graph: ov.Model, feed, rows: list[list[int]]) -> np.ndarray:  # type: ignore[no-untyped-def]
    compiled = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.concatenate([compiled(feed(row))[0] for row in rows])


def hidden_widths(graph: ov.Model) -> list[int]:
    return [node.output(0).get_partial_shape()[2].get_length() for node in graph.get_ordered_ops()
            if node.get_type_name() in ("Gelu", "Relu")]


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_units_that_repeat_others_go_without_any_loss(family: str, activation: str) -> None:
    model = classifier(family, activation=activation)
    feed, rows = feed_of(model), texts()
    whole = graph_of(model)
    graph = whole.clone()
    assert narrow(graph, rows, feed, keep=0.75) == 2
    assert hidden_widths(graph) == [96, 96]
    assert len(graph.outputs) == 1, "what was watched is no output of the graph"
    expected = answers(whole, feed, rows)
    off = np.abs(answers(graph, feed, rows) - expected).max()
    assert off < 0.05 * np.abs(expected).max()


def test_the_rest_stands_in_for_what_goes() -> None:
    """The same units without the new fit are further from the truth, on texts that the fit has not seen, too."""
    model = classifier("bert", redundant=False)
    feed, rows = feed_of(model), texts()
    whole = graph_of(model)
    fitted = whole.clone()
    narrow(fitted, rows[:64], feed, keep=0.5)
    unseen = rows[64:]
    truth, found = answers(whole, feed, unseen), answers(fitted, feed, unseen)
    kept = kept_units(whole, fitted)
    for layer, places in zip(model.sentence.encoder.encoder.layer, kept, strict=True):  # type: ignore[union-attr]
        gone = sorted(set(range(HIDDEN)) - set(places))
        with torch.no_grad():
            layer.output.dense.weight[:, gone] = 0
    cut = answers(graph_of(model), feed, unseen)
    assert np.linalg.norm(found - truth) < 0.7 * np.linalg.norm(cut - truth)


def kept_units(whole: ov.Model, fitted: ov.Model) -> list[list[int]]:
    """Numbers of the rows of each layer's first matrix that are still there."""
    before, after = ([c for c in constants(g) if c.ndim == 2 and c.shape[1] == 32 and len(c) in (HIDDEN, HIDDEN // 2)]
                     for g in (whole, fitted))
    return [[int(np.flatnonzero((b == row).all(axis=1))[0]) for row in a] for b, a in zip(before, after, strict=True)]


def constants(graph: ov.Model) -> list[np.ndarray]:
    return [node.get_data() for node in graph.get_ordered_ops() if node.get_type_name() == "Constant"]


def test_padding_says_nothing_about_which_units_matter() -> None:
    model = classifier("bert", redundant=False)
    feed, rows = feed_of(model), texts()

    def noisy(ids: Sequence[int]) -> dict[str, np.ndarray]:
        inputs = feed(ids)
        inputs["vectors"] = np.where(inputs["attention_mask"][..., None] == 1, inputs["vectors"], 7.0)
        return inputs

    clean = graph_of(model)
    padded = clean.clone()
    narrow(clean, rows, feed, keep=0.5)
    narrow(padded, rows, noisy, keep=0.5)
    assert answers(clean, feed, rows) == pytest.approx(answers(padded, feed, rows), abs=1e-3)


def test_layers_without_biases_get_the_mean_of_what_goes_as_theirs() -> None:
    model = classifier("bert", redundant=False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("dense.bias"):
                parameter.zero_()  # conversion leaves a bias of zeros out
    feed, rows = feed_of(model), texts()
    whole = graph_of(model)
    graph = whole.clone()
    assert narrow(graph, rows, feed, keep=0.75) == 2
    truth = answers(whole, feed, rows)
    assert np.linalg.norm(answers(graph, feed, rows) - truth) < 0.5 * np.linalg.norm(truth)


def test_an_encoder_without_such_layers_serves_whole() -> None:
    model = classifier("bert", activation="tanh", redundant=False)
    feed, rows = feed_of(model), texts()
    whole = graph_of(model)
    graph = whole.clone()
    assert narrow(graph, rows, feed, keep=0.5) == 0
    assert np.array_equal(answers(whole, feed, rows), answers(graph, feed, rows))


def test_keeping_everything_changes_nothing_and_a_narrow_layer_keeps_a_vector_of_units() -> None:
    model = classifier("bert", redundant=False)
    feed, rows = feed_of(model), texts()
    whole = graph_of(model)
    same, least = whole.clone(), whole.clone()
    narrow(same, rows, feed, keep=1.0)
    assert np.array_equal(answers(whole, feed, rows), answers(same, feed, rows))
    narrow(least, rows, feed, keep=0.01)
    assert hidden_widths(least) == [32, 32]
