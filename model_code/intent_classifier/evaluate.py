"""Processing job: a model folder against the golden set and the champion -> evaluation.json.

    python -m model_code.intent_classifier.evaluate --prepared DIR --model DIR --champion DIR \\
        --champion-version V|none --output DIR --instance-type ml.g5.xlarge --region ap-northeast-1

The report is the only thing the gates read; it holds numbers and names, never a customer's text.
What is evaluated is what serves: the int8 graph with its rules. `--instance-type` is the training
job's (for its cost); the serving price is the contract's. drift_reference.json is written beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from contracts import prices
from contracts.stories import story as story_contract
from contracts.stories.intent_classifier import MIN_SLICE_ROWS
from contracts.story import StoryContract
from contracts.taxonomies import Taxonomy
from model_code.common.bootstrap import paired, paired_family
from model_code.common.calibration import expected_calibration_error
from model_code.common.drift_reference import references
from model_code.common.log import log_event
from model_code.intent_classifier import measures
from model_code.intent_classifier.inference import Handler
from model_code.intent_classifier.predictor import Prediction, Predictor
from model_code.intent_classifier.rows import ADVERSARIAL_FILE, GOLDEN_FILE, Example, Meta, read_meta, read_rows
from model_code.intent_classifier.serving_config import CONFIG_FILE, IR_FILE

SCHEMA_VERSION = 1
EVALUATION_FILE, DRIFT_FILE, SERVING_FOLDER, TRAINING_FILE = (
    "evaluation.json", "drift_reference.json", "serving", "training.json")
LATENCY_REQUESTS = 200
# Rounds go on until another one lowers p95 by less than SETTLED: three on a quiet machine, more on a busy one.
MIN_ROUNDS, MAX_ROUNDS, SETTLED = 3, 12, 0.02
BATCH_THREADS = 2
COMPARISON_SEED = 2026
NUMERIC_FEATURES = ("chars", "tokens", "unknown_share", "japanese_share", "confidence")


def _intents(predictions: Sequence[Prediction]) -> list[str]:
    return [p.intent for p in predictions]


def _right(rows: Sequence[Example], predictions: Sequence[Prediction]) -> np.ndarray:
    return np.array([row.label == p.intent for row, p in zip(rows, predictions, strict=True)], dtype=bool)


def metrics_of(
    golden: Sequence[Example], found: Sequence[Prediction], suite: Sequence[Example], attacked: Sequence[Prediction],
) -> dict[str, float]:
    intents = measures.per_intent([row.label for row in golden], _intents(found))
    right = _right(golden, found)
    metrics = {
        "accuracy": float(right.mean()),
        "macro_accuracy": measures.macro(intents, "recall"),
        "macro_f1": measures.macro(intents, "f1"),
        "calibration_error": expected_calibration_error(np.array([p.confidence for p in found]), right),
        "adversarial_accuracy": float(_right(suite, attacked).mean()),
        "rules_share": float(np.mean([p.source == "rules" for p in found])),
    }
    for attack in sorted({row.attack for row in suite if row.attack}):
        places = [i for i, row in enumerate(suite) if row.attack == attack]
        metrics[f"adversarial_accuracy_{attack}"] = float(_right(suite, attacked)[places].mean())
    return metrics


def comparison_of(
    taxonomy: Taxonomy, golden: Sequence[Example], right: tuple[np.ndarray, np.ndarray],
    suite_right: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Candidate against champion, paired row by row; each pair is (candidate, champion)."""
    found: dict[str, Any] = {
        "accuracy": paired(*right, seed=COMPARISON_SEED).to_dict(),
        "adversarial": paired(*suite_right, seed=COMPARISON_SEED).to_dict(),
    }
    members = {}
    for intent in taxonomy.safety_critical:
        places = np.array([row.label == intent for row in golden], dtype=bool)
        if places.any():
            members[intent] = (right[0][places], right[1][places])
    # An intent without golden rows is missing evidence: without the comparison the gate fails.
    if members and len(members) == len(taxonomy.safety_critical):
        found["safety_critical"] = paired_family(members, seed=COMPARISON_SEED).to_dict()
    return found


def latency_of(predictor: Predictor, golden: Sequence[Example], meta: Meta) -> dict[str, float]:
    """Percentiles of requests through the serving handler, one thread, after a warm-up.

    Each request is asked in several rounds and its quickest answer counts: whatever else runs on the machine
    only ever adds time, and a busy machine must not turn a model down. What is left is what the model itself
    costs; the endpoint's guardrail alarms watch what callers see.
    """
    handler = Handler(predictor=predictor, story=meta.story, model_version="candidate", log=lambda *_, **__: None)
    predictor.warm_up()
    predictor.specialise()
    chosen = (list(golden) * (LATENCY_REQUESTS // len(golden) + 1))[:LATENCY_REQUESTS]
    bodies = [json.dumps({"text": row.text}).encode() for row in chosen]
    measured, before = np.full(len(bodies), np.inf), np.inf
    for rounds in range(1, MAX_ROUNDS + 1):
        measured = np.minimum(measured, _seconds_each(handler, bodies) * 1000)
        p95 = float(np.percentile(measured, 95))
        if rounds >= MIN_ROUNDS and p95 > before * (1 - SETTLED):
            break
        before = p95
    p50, p95, p99 = np.percentile(measured, (50, 95, 99))
    return {"p50_ms": float(p50), "p95_ms": float(p95), "p99_ms": float(p99), "mean_ms": float(measured.mean()),
            "requests": len(bodies), "rounds": rounds}


def _seconds_each(handler: Handler, bodies: Sequence[bytes]) -> np.ndarray:
    times = []
    for body in bodies:
        start = time.perf_counter()
        handler.handle(body)
        times.append(time.perf_counter() - start)
    return np.array(times)


def cost_of(contract: StoryContract, training: dict[str, Any], *, mean_ms: float, instance_type: str, region: str) -> \
        dict[str, Any]:
    serving = contract.serving
    return {
        "training_usd": prices.training_usd(seconds=training["seconds"], instance_type=instance_type,
                                            instances=contract.training.instances, region=region),
        "serving_usd_per_100k": prices.serving_usd_per_100k(
            service_ms=mean_ms, instance_type=serving.instance_type, region=region,
            workers=serving.workers_per_instance, utilisation=serving.utilisation),
        "prices_as_of": prices.AS_OF,
    }


def drift_reference_of(
    taxonomy: Taxonomy, golden: Sequence[Example], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    """Per language, and per cohort of a language that has enough golden rows to tell a shift from chance."""
    members: dict[tuple[str, str], list[dict[str, object]]] = {}
    for example, p in zip(golden, predictions, strict=True):
        row = {**p.features, "confidence": p.confidence, "intent": p.intent}
        for cohort in dict.fromkeys(("", example.cohort or "")):
            members.setdefault((p.language, cohort), []).append(row)
    made = {
        where: [r.to_dict() for r in references(rows, numeric=NUMERIC_FEATURES, categories={"intent": taxonomy.labels})]
        for where, rows in sorted(members.items()) if not where[1] or len(rows) >= MIN_SLICE_ROWS
    }
    cohorts: dict[str, dict[str, Any]] = {}
    for (language, cohort), found in made.items():
        if cohort:
            cohorts.setdefault(language, {})[cohort] = found
    return {"features": {language: found for (language, cohort), found in made.items() if not cohort},
            "cohorts": cohorts}


def is_model(folder: Path) -> bool:
    return (folder / SERVING_FOLDER / CONFIG_FILE).exists() and (folder / SERVING_FOLDER / IR_FILE).exists()


def evaluate(
    prepared: Path, model: Path, champion: Path, *, champion_version: str, instance_type: str, region: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(evaluation report, drift reference)."""
    meta = read_meta(prepared)
    golden, suite = read_rows(prepared / GOLDEN_FILE), read_rows(prepared / ADVERSARIAL_FILE)
    training = json.loads((model / TRAINING_FILE).read_text("utf-8"))
    texts = [row.text for row in (*golden, *suite)]
    answers = Predictor(model / SERVING_FOLDER, threads=BATCH_THREADS).predict_many(texts)
    found, attacked = answers[: len(golden)], answers[len(golden) :]
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION, "story": meta.story, "taxonomy": asdict(meta.taxonomy),
        "dataset": {
            "freeze_id": meta.freeze.get("freeze_id"), "rows": meta.counts["rows"],
            "kappa": meta.freeze.get("kappa", {}), "label_version_to": meta.freeze.get("label_version", {}).get("to"),
            "kind": meta.taxonomy.kind, "features": meta.freeze.get("features", {}).get("status", "none"),
        },
        "golden": {"rows": len(golden), "adversarial_rows": len(suite)},
        "metrics": metrics_of(golden, found, suite, attacked),
        "slices": measures.slices(golden, _intents(found)),
        "intents": measures.per_intent([row.label for row in golden], _intents(found)),
        "champion": None, "comparison": {},
    }
    if champion_version != "none":
        if not is_model(champion):
            raise ValueError(f"champion {champion_version} was named but {champion} holds no model: its prefix is "
                             "empty or wrong. Pass --champion-version none for a first promotion.")
        rival = Predictor(champion / SERVING_FOLDER, threads=BATCH_THREADS).predict_many(texts)
        theirs, theirs_attacked = rival[: len(golden)], rival[len(golden) :]
        report["champion"] = {"version": champion_version,
                              "metrics": metrics_of(golden, theirs, suite, theirs_attacked)}
        report["comparison"] = comparison_of(
            meta.taxonomy, golden, (_right(golden, found), _right(golden, theirs)),
            (_right(suite, attacked), _right(suite, theirs_attacked)))
    report["serving"] = latency_of(Predictor(model / SERVING_FOLDER), golden, meta)
    report["cost"] = cost_of(story_contract(meta.story), training, mean_ms=report["serving"]["mean_ms"],
                             instance_type=instance_type, region=region)
    report["lineage"] = {name: training.get(name) for name in ("freeze_id", "code_sha256", "base_model_sha256", "seed")}
    return report, drift_reference_of(meta.taxonomy, golden, found)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("prepared", "model", "champion", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("champion-version", "instance-type", "region"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args(argv)
    report, drift = evaluate(args.prepared, args.model, args.champion, champion_version=args.champion_version,
                             instance_type=args.instance_type, region=args.region)
    args.output.mkdir(parents=True, exist_ok=True)
    for name, value in ((EVALUATION_FILE, report), (DRIFT_FILE, drift)):
        (args.output / name).write_text(json.dumps(value, indent=1, allow_nan=False), "utf-8")
    log_event("evaluated", story=report["story"], champion=args.champion_version,
              **{name: round(value, 4) for name, value in report["metrics"].items()})


if __name__ == "__main__":
    main()
