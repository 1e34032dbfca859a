"""Training on a tiny random encoder: it learns, resumes to the same model, exports what PyTorch computes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import torch
from transformers import BertConfig, BertModel, DistilBertConfig, DistilBertModel

from model_code.common.encoders import SentenceEncoder
from model_code.common.tokens import SHORT_LENGTHS, TextTokenizer
from model_code.common.vocabulary_table import VocabularyTable
from model_code.intent_classifier import training_loop
from model_code.intent_classifier.classifier import IntentClassifier, load_classifier, new_classifier
from model_code.intent_classifier.early_exit import EarlyExit, levels_of
from model_code.intent_classifier.export import _is_worse, append_head, export, to_openvino
from model_code.intent_classifier.predictor import Predictor
from model_code.intent_classifier.rows import read_rows
from model_code.intent_classifier.serving_config import ServingConfig
from model_code.intent_classifier.train import Trained, hold_out, train_classifier
from model_code.intent_classifier.train_config import TrainConfig
from model_code.intent_classifier.training_loop import epochs_for, total_steps
from tests.support import tiny_model
from tests.support.tiny_model import TAXONOMY, TINY

ROOT = Path(__file__).resolve().parents[3]


def run(config: TrainConfig, checkpoint_dir: Path) -> Trained:
    pretrained = tiny_model.encoder_dir()
    rows = read_rows(tiny_model.prepared_dir() / "train.jsonl")
    tokenizer = TextTokenizer(pretrained / "tokenizer.json", max_tokens=config.max_tokens)
    return train_classifier(rows, TAXONOMY.labels, config, pretrained=pretrained, tokenizer=tokenizer,
                            checkpoint_dir=checkpoint_dir)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load_encoder_only(folder: Path) -> IntentClassifier:
    model = new_classifier(folder, labels=len(TAXONOMY.labels))
    del model.head
    return model


def weights(model: IntentClassifier) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def test_the_job_writes_a_model_that_has_learned_and_says_how() -> None:
    folder = tiny_model.model_dir()
    record = json.loads((folder / "training.json").read_text())
    assert record["steps"] == TINY.max_steps
    assert record["hyperparameters"] == asdict(TINY)
    assert record["freeze_id"] == "f" * 16
    assert len(record["code_sha256"]) == len(record["base_model_sha256"]) == 64
    assert ServingConfig.read(folder / "serving").labels == TAXONOMY.labels
    golden = read_rows(tiny_model.prepared_dir() / "golden.jsonl")
    found = Predictor(folder / "serving").predict_many([row.text for row in golden])
    assert np.mean([p.intent == row.label for p, row in zip(found, golden, strict=True)]) > 0.85


def test_one_text_and_the_same_in_a_batch_have_the_same_logits() -> None:
    """What the head was fitted on, batches of any length, is what a request of a fixed length gets."""
    predictor = Predictor(tiny_model.model_dir() / "serving")
    tokenizer = TextTokenizer(tiny_model.model_dir() / "serving" / "tokenizer.json", max_tokens=32)
    rows = [tokenizer.encode(text).ids for text in ("order manga", "hello today the volume", "壊れた 漫画 です")]
    batch = predictor._logits(rows)
    predictor.specialise()
    for row, expected in zip(rows, batch, strict=True):
        assert predictor._logits([row])[0] == pytest.approx(expected, abs=0.05 * float(np.abs(batch).max()))


def test_the_served_head_reads_two_layers_as_pytorch_computes_them_and_nothing_above() -> None:
    torch.manual_seed(5)
    encoder = BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=6, num_attention_heads=2,
                                   intermediate_size=64))
    sentence = SentenceEncoder(encoder, pooling="mean").eval()
    assert levels_of(6) == (2, 5)
    assert levels_of(1) == (1, 1)
    ids, mask = torch.tensor([[4, 9, 11, 7, 0]]), torch.tensor([[1, 1, 1, 1, 0]])
    with torch.no_grad():
        layers = encoder(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        expected = torch.cat([layers[level][0, :4].mean(0) for level in (2, 5)]).numpy()
    graph = to_openvino(EarlyExit(sentence), width=32)
    inputs = {"vectors": sentence.vocabulary[ids].detach().numpy(), "attention_mask": mask.numpy()}
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    assert ov.compile_model(graph, "CPU", settings)(inputs)[0][0] == pytest.approx(expected, abs=1e-4)
    products = [node for node in graph.get_ops() if node.get_type_name() == "MatMul"]
    assert len(products) == 5 * 4  # the sixth layer only teaches
    weight, bias = np.ones((3, 64), np.float32), np.array([1.0, 2.0, 3.0])
    append_head(graph, weight, bias)
    logits = ov.compile_model(graph, "CPU", settings)(inputs)[0][0]
    assert logits == pytest.approx(expected.sum() + bias, abs=1e-3)


def test_the_temperature_is_that_of_the_graph_on_rows_held_out_of_training(tmp_path: Path) -> None:
    """Labels of the held-out rows that are drawn at random: whoever is sure of them is wrong."""
    trained = run(replace(TINY, max_steps=2), tmp_path)
    assert trained.held.labels
    honest = export(trained.model, tmp_path / "a", train=trained.used, held=trained.held, config=TINY)
    wrong = replace(trained.held, labels=[(label + 1) % 3 for label in trained.held.labels])
    shifted = export(trained.model, tmp_path / "b", train=trained.used, held=wrong, config=TINY)
    assert shifted.temperature > 2 * honest.temperature


def test_the_whole_encoder_serves_where_held_out_rows_say_that_the_short_graph_answers_worse(tmp_path: Path) -> None:
    """The short graph's head is fitted on `train`: on wrong labels it is wrong, while the trained head is right."""
    trained = run(TINY, tmp_path)
    misled = replace(trained.used, labels=[(label + 1) % 3 for label in trained.used.labels])
    short = export(trained.model, tmp_path / "a", train=trained.used, held=trained.held, config=TINY)
    whole = export(trained.model, tmp_path / "b", train=misled, held=trained.held, config=TINY)
    unknown = export(trained.model, tmp_path / "c", train=misled, held=replace(trained.held, ids=[], labels=[]),
                     config=TINY)
    assert (short.graph, whole.graph, unknown.graph) == ("short", "whole", "short")
    assert whole.held_accuracy["short"] < 0.5 < whole.held_accuracy["whole"]
    assert unknown.held_accuracy == {}
    served = load_graph(tmp_path / "b")
    text = trained.held.ids[0]
    with torch.no_grad():
        expected = trained.model(torch.tensor([text]), torch.ones(1, len(text), dtype=torch.long))[0].numpy()
    vectors = VocabularyTable(tmp_path / "b").lookup(np.array([text]))
    found = served({"vectors": vectors, "attention_mask": np.ones((1, len(text)), np.int64)})[0][0]
    assert found == pytest.approx(expected, abs=0.05 * float(np.abs(expected).max()))


@pytest.mark.parametrize(("rows", "lost", "won", "worse"), [
    (100, 2, 0, False),  # two points, but two rows: chance
    (100, 8, 1, True), (100, 12, 8, False), (1_000, 12, 2, False), (1_000, 12, 0, True), (500, 40, 5, True),
    (500, 0, 30, False), (500, 0, 0, False),
])
def test_the_short_graph_is_worse_when_it_loses_more_than_a_point_and_more_than_chance_brings(
    rows: int, lost: int, won: int, worse: bool,
) -> None:
    both = np.ones(rows - lost - won, bool)
    short = np.concatenate([both, np.zeros(lost, bool), np.ones(won, bool)])
    whole = np.concatenate([both, np.ones(lost, bool), np.zeros(won, bool)])
    assert _is_worse(short, whole) is worse


def load_graph(folder: Path) -> ov.CompiledModel:
    return ov.compile_model(ov.Core().read_model(folder / "model.xml"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


@pytest.mark.parametrize(("rows", "epochs"), [(1, 8), (393, 8), (1_600, 8), (2_400, 5), (5_040, 3), (1_000_000, 3)])
def test_few_rows_are_seen_oftener_than_many(rows: int, epochs: int) -> None:
    config = TrainConfig()
    assert epochs_for(rows, config.batch_size) == epochs
    assert total_steps(config, rows) == epochs * -(-rows // 32)
    assert total_steps(replace(config, epochs=2), rows) == 2 * -(-rows // 32)
    assert total_steps(replace(config, epochs=2, max_steps=7), rows) == 7


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_query_key_and_value_of_each_layer_become_one_product_with_the_same_answers(
    family: str, biased: bool,
) -> None:
    """Both families call their projections by other names; the graph tells them by what they read."""
    encoder = {
        "bert": BertModel(BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                                     intermediate_size=64)),
        "distilbert": DistilBertModel(DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64)),
    }[family]
    sentence = SentenceEncoder(encoder, pooling="mean").eval()
    for name, parameter in sentence.named_parameters():
        if biased and name.endswith(".bias"):
            torch.nn.init.normal_(parameter)  # fresh models have zeros, which conversion leaves out
    ids, mask = torch.tensor([[4, 9, 11, 7, 2]]), torch.ones(1, 5, dtype=torch.long)
    with torch.no_grad():
        expected = sentence(ids, mask).numpy()
        vectors = sentence.vocabulary[ids].numpy()
    graph = to_openvino(EarlyExit(sentence), width=32)
    products = [node for node in graph.get_ops() if node.get_type_name() == "MatMul"]
    found = ov.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(
        {"vectors": vectors, "attention_mask": mask.numpy()})[0]
    assert len(products) == 2 * 4  # a layer: one for query, key and value, and three more
    assert found[:, 32:] == pytest.approx(expected, abs=1e-4)


def test_requests_are_answered_alike_before_while_and_after_the_graphs_of_one_length_are_compiled() -> None:
    predictor = Predictor(tiny_model.model_dir() / "serving")
    predictor.warm_up()
    text = "please order the volume"
    expected = predictor.predict(text)
    found = []
    with ThreadPoolExecutor(1) as pool:
        compiling = pool.submit(predictor.specialise)
        while not compiling.done():
            found.append(predictor.predict(text))
        compiling.result()
    found.append(predictor.predict(text))
    assert len(predictor._fixed) == len(SHORT_LENGTHS)
    assert {answer.intent for answer in found} == {expected.intent}
    assert [answer.confidence for answer in found] == pytest.approx([expected.confidence] * len(found), abs=0.05)


def test_one_request_and_a_batch_get_the_same_answers() -> None:
    predictor = Predictor(tiny_model.model_dir() / "serving")
    predictor.specialise()
    texts = ["order", "hello the volume today please", "返金 です", "x" * 300]
    for one, many in zip([predictor.predict(t) for t in texts], predictor.predict_many(texts), strict=True):
        assert (one.intent, one.source, one.features) == (many.intent, many.source, many.features)
        assert one.confidence == pytest.approx(many.confidence, abs=0.05)


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    config = replace(TINY, max_steps=4)
    first, again, other = (run(c, tmp_path) for c in (config, config, replace(config, seed=99)))
    same = weights(first.model)
    assert all(np.array_equal(same[k], v) for k, v in weights(again.model).items())
    assert any(not np.array_equal(same[k], v) for k, v in weights(other.model).items())


def test_an_interrupted_run_goes_on_to_the_very_same_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(TINY, max_steps=12, checkpoint_steps=5, batch_size=32)
    whole = run(config, tmp_path / "whole")
    steps_taken: list[int] = []
    step = training_loop._step

    def dies_in_step_7(*args: object) -> float:
        steps_taken.append(args[-1])  # type: ignore[arg-type]
        if len(steps_taken) == 8:
            raise KeyboardInterrupt
        return step(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(training_loop, "_step", dies_in_step_7)
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "cut")
    resumed = run(config, tmp_path / "cut")
    assert steps_taken == [*range(8), *range(5, 12)]
    expected = weights(whole.model)
    assert all(np.array_equal(expected[k], v) for k, v in weights(resumed.model).items())
    assert not (tmp_path / "cut" / training_loop.CHECKPOINT_FILE).exists()


def test_a_checkpoint_of_other_hyperparameters_is_not_resumed(tmp_path: Path) -> None:
    config = replace(TINY, max_steps=3)
    model = run(config, tmp_path / "x").model
    own = training_loop.Checkpoints(folder=tmp_path, fingerprint="a")
    optimiser = training_loop._optimiser(model, config)
    own.save(2, model, optimiser)
    assert own.restore(model, optimiser) == 2
    assert training_loop.Checkpoints(folder=tmp_path, fingerprint="b").restore(model, optimiser) == 0


def test_a_run_may_start_from_the_champion_head_and_all(tmp_path: Path) -> None:
    """No step at a learning rate that matters: the copy answers as the champion does."""
    champion = tiny_model.model_dir()
    copy = tiny_model.train(tmp_path / "copy", pretrained=champion / "pytorch", max_steps=1,
                            learning_rate=1e-9, head_learning_rate=1e-9)
    texts = [row.text for row in read_rows(tiny_model.prepared_dir() / "golden.jsonl")]
    before, after = (Predictor(m / "serving").predict_many(texts) for m in (champion, copy))
    # not all: float16 and int8 rounding decide between two equal scores
    assert np.mean([b.intent == a.intent for b, a in zip(before, after, strict=True)]) > 0.95


def test_calibration_rows_make_the_activations_int8_too(tmp_path: Path) -> None:
    folder = tiny_model.train(tmp_path / "model", calibration_rows=12)
    assert 'type="FakeQuantize"' in (folder / "serving" / "model.xml").read_text()
    golden = read_rows(tiny_model.prepared_dir() / "golden.jsonl")
    found = Predictor(folder / "serving").predict_many([row.text for row in golden])
    assert np.mean([p.intent == row.label for p, row in zip(found, golden, strict=True)]) > 0.8


def test_two_processes_train_the_model_that_one_trains(tmp_path: Path) -> None:
    """Dropout off, for each process draws its own."""
    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_model.encoder_dir(), encoder)
    settings = json.loads((encoder / "config.json").read_text())
    settings |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(settings))
    changes = {"max_steps": 3, "dropout": 0.0, "learning_rate": 1e-3}
    alone = tiny_model.train(tmp_path / "alone", pretrained=encoder, **changes)
    both = tmp_path / "both"
    environ = {**os.environ, **tiny_model.job_environ(both, pretrained=encoder, **changes), "OMP_NUM_THREADS": "1",
               "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "model_code.intent_classifier.train"]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env={**environ, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(2)]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert json.loads((both / "training.json").read_text())["processes"] == 2
    one, two = (weights(load_classifier(m / "pytorch")) for m in (alone, both))
    start = weights(load_encoder_only(encoder))
    for name in start:
        moved = one[name] - start[name], two[name] - start[name]
        # Adam turns rounding into steps where a gradient is next to nothing, so directions are compared
        if np.abs(moved[0]).max() > 1e-3:
            assert np.sum(moved[0] * moved[1]) / np.linalg.norm(moved[0]) / np.linalg.norm(moved[1]) > 0.9, name


def test_only_the_top_layers_move(tmp_path: Path) -> None:
    trained = weights(run(replace(TINY, max_steps=3, train_layers=1), tmp_path).model)
    before = weights(load_encoder_only(tiny_model.encoder_dir()))
    moved = {name for name, value in before.items() if not np.array_equal(value, trained[name])}
    assert moved
    assert all(".layer.1." in name for name in moved)


def test_held_out_rows_are_kept_from_training_by_group() -> None:
    rows = read_rows(tiny_model.prepared_dir() / "train.jsonl")
    grouped = [replace(row, group_id=f"g{i % 20}") for i, row in enumerate(rows)]
    train, held = hold_out(grouped, 0.2)
    assert train
    assert held
    assert not {r.group_id for r in train} & {r.group_id for r in held}
    assert hold_out(rows[:1], 0.99) == (rows[:1], [])


def test_every_class_weighs_the_same_in_the_loss() -> None:
    found = training_loop.class_weights([0, 0, 0, 1], 3)
    assert found.tolist() == pytest.approx([2 / 3, 2.0, 0.0])


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    factors = [training_loop.learning_rate_factor(s, steps=10, warmup_share=0.2) for s in range(10)]
    assert factors[0] == 0.5
    assert max(factors) == 1.0
    assert factors[2:] == sorted(factors[2:], reverse=True)
    assert 0 < factors[-1] < 0.2


def test_batches_hold_every_row_once_and_depend_on_seed_and_epoch() -> None:
    lengths = [i % 7 for i in range(100)]
    first = training_loop.batches_of_epoch(TINY, lengths, 0)
    assert sorted(i for batch in first for i in batch) == list(range(100))
    assert first == training_loop.batches_of_epoch(TINY, lengths, 0)
    assert first != training_loop.batches_of_epoch(TINY, lengths, 1)


@pytest.mark.parametrize(("changes", "says"), [
    ({"precision": "int4"}, "auto, fp32 or bf16, got 'int4'"),
    ({"epochs": -1}, r"epochs must be 0 \(as many as the rows need\) or more, got -1"),
    ({"dropout": 1.0}, "dropout must be 0 to 1"),
])
def test_hyperparameters_out_of_range_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(TINY, **changes)  # type: ignore[arg-type]
