"""A serving folder in memory: text -> intent, confidence and the features that drift is measured on.

OpenVINO and `tokenizers` only. The same object answers requests and golden rows, so what was
evaluated is what serves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from contracts.language import detect_language, japanese_share
from model_code.common.calibration import softmax
from model_code.common.pii import redact
from model_code.common.tokens import (
    SHORT_LENGTHS,
    TOKENIZER_FILE,
    Encoded,
    TextTokenizer,
    batches_by_length,
    padded,
)
from model_code.common.vocabulary_table import VocabularyTable
from model_code.intent_classifier.prefilter import PreFilter
from model_code.intent_classifier.serving_config import IR_FILE, SAME_EVERYWHERE, ServingConfig


@dataclass(frozen=True, kw_only=True)
class Prediction:
    intent: str
    confidence: float
    source: str  # model or rules
    language: str
    features: dict[str, float]


class _FixedLength:
    """A graph compiled for one text of one length, with tensors that stay: naming them in each call costs 0.3 ms."""

    def __init__(self, graph: ov.Model, length: int, settings: dict[str, object]) -> None:
        width = graph.input("vectors").get_partial_shape()[2].get_length()
        shapes = {"vectors": [1, length, width], "attention_mask": [1, length]}
        shaped = graph.clone()
        shaped.reshape({name: ov.PartialShape(shape) for name, shape in shapes.items()})
        self._request = ov.compile_model(shaped, "CPU", settings).create_infer_request()
        self._vectors = np.zeros(shapes["vectors"], np.float32)
        self._mask = np.zeros(shapes["attention_mask"], np.int64)
        self._request.set_tensor("vectors", ov.Tensor(self._vectors, shared_memory=True))
        self._request.set_tensor("attention_mask", ov.Tensor(self._mask, shared_memory=True))
        self._logits = self._request.get_output_tensor(0).data

    def logits(self, vectors: NDArray[np.float32], mask: NDArray[np.integer]) -> NDArray[np.float32]:
        """Shape (1, labels)."""
        np.copyto(self._vectors, vectors)
        np.copyto(self._mask, mask)
        self._request.start_async()
        self._request.wait()
        return np.array(self._logits, dtype=np.float32)


class Predictor:
    """One compiled model. Only one thread may ask for answers: an inference request holds one set of tensors."""

    def __init__(self, folder: Path, *, threads: int = 1, prefilter: bool = True) -> None:
        self.config = ServingConfig.read(folder)
        self._tokenizer = TextTokenizer(folder / TOKENIZER_FILE, max_tokens=self.config.max_tokens)
        self._rules = PreFilter(self.config.rules if prefilter else ())
        self._table = VocabularyTable(folder)
        self._graph = ov.Core().read_model(folder / IR_FILE)
        # Pinning would hold the thread on a core that others may use while the next one idles.
        self._settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                          "ENABLE_CPU_PINNING": False, **SAME_EVERYWHERE}
        self._free = ov.compile_model(self._graph, "CPU", self._settings).create_infer_request()
        self._fixed: dict[int, _FixedLength] = {}

    def warm_up(self) -> None:
        """Run the graph once for each short length, for the first run of a length is slow."""
        for length in SHORT_LENGTHS:
            self._logits([[self._tokenizer.pad_id] * length])

    def specialise(self) -> None:
        """Compile for every short length; other threads may ask for answers meanwhile.

        A graph of one shape is a third faster than the shape-free one, which takes longer texts and batches; each
        costs half a second of a processor and a copy of the int8 weights. A container that waited for them would
        start twice as slowly, just when it is needed.
        """
        for length in SHORT_LENGTHS:
            graph = _FixedLength(self._graph, length, self._settings)
            ids, mask = padded([[self._tokenizer.pad_id] * length], pad_id=self._tokenizer.pad_id)
            graph.logits(self._table.lookup(ids), mask)
            self._fixed[length] = graph

    def _logits(self, batch: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        ids, mask = padded(batch, pad_id=self._tokenizer.pad_id)
        vectors = self._table.lookup(ids)
        fixed = self._fixed.get(ids.shape[1]) if len(batch) == 1 else None
        if fixed is not None:
            return fixed.logits(vectors, mask)
        result = self._free.infer({"vectors": vectors, "attention_mask": mask}, share_inputs=True)
        return np.array(result[0], dtype=np.float32)

    def predict(self, text: str) -> Prediction:
        clean = redact(text)
        encoded = self._tokenizer.encode(clean)
        rule = self._rules.match(clean)
        if rule is not None:
            return self._answer(text, encoded, rule.intent, rule.confidence, "rules")
        scores = softmax(self._logits([encoded.ids])[0], temperature=self.config.temperature)
        best = int(scores.argmax())
        return self._answer(text, encoded, self.config.labels[best], float(scores[best]), "model")

    def predict_many(self, texts: Sequence[str], *, batch_size: int = 32) -> list[Prediction]:
        """As `predict` for each text, in batches of similar length."""
        clean = [redact(text) for text in texts]
        encoded = self._tokenizer.encode_batch(clean)
        scores = np.zeros((len(texts), len(self.config.labels)))
        for places in batches_by_length([e.ids for e in encoded], batch_size):
            scores[places] = softmax(self._logits([encoded[i].ids for i in places]),
                                     temperature=self.config.temperature)
        found = []
        for i, text in enumerate(texts):
            rule = self._rules.match(clean[i])
            best = int(scores[i].argmax())
            answer = (rule.intent, rule.confidence, "rules") if rule else \
                (self.config.labels[best], float(scores[i][best]), "model")
            found.append(self._answer(text, encoded[i], *answer))
        return found

    def _answer(self, text: str, encoded: Encoded, intent: str, confidence: float, source: str) -> Prediction:
        return Prediction(
            intent=intent, confidence=confidence, source=source, language=detect_language(text),
            features={"chars": len(text), "tokens": len(encoded.ids), "unknown_share": encoded.unknown_share,
                      "japanese_share": japanese_share(text)},
        )
