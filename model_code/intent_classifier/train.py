"""Training job: prepared rows + any Hugging Face encoder folder -> a model folder.

    python -m model_code.intent_classifier.train [--epochs 0] [--max-steps 0] ...   (train_config.py: one flag a field)

Channels `train` (prepare's output) and `pretrained`; hyperparameters from SageMaker, arguments win.
Under `torchrun` every process trains its share and the first one exports. SM_MODEL_DIR gets
`pytorch/` (Hugging Face folder, float16), `serving/` (OpenVINO IR, vocabulary, tokenizer.json, config.json)
and `training.json`.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from contracts.datasets import is_golden
from model_code.common.hashing import code_sha256, combined_sha256, folder_files
from model_code.common.log import log_event
from model_code.common.sagemaker_job import TrainingJob, parse_config
from model_code.common.tokens import TOKENIZER_FILE, TextTokenizer
from model_code.intent_classifier.classifier import IntentClassifier, load_head, new_classifier, save_classifier
from model_code.intent_classifier.head_start import started_head
from model_code.intent_classifier.prefilter import measured_rules
from model_code.intent_classifier.rows import TRAIN_FILE, Example, Meta, read_meta, read_rows
from model_code.intent_classifier.serving_config import ServingConfig
from model_code.intent_classifier.train_config import TrainConfig
from model_code.intent_classifier.training_loop import (
    Checkpoints,
    Distributed,
    Encoded,
    fit,
    sync,
    vectors_of,
)

if TYPE_CHECKING:
    from model_code.intent_classifier.export import Exported

TRAINING_FILE = "training.json"


@dataclass(frozen=True, kw_only=True)
class Trained:
    model: IntentClassifier
    steps: int
    used: Encoded
    held: Encoded  # out of training, for the temperature and for which graph serves


def start_distributed() -> Distributed:
    """Join the processes that torchrun started; nccl where there are GPUs, gloo elsewhere."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    gpu = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if gpu else torch.device("cpu")
    if world == 1:
        return Distributed(device=device)
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo")
    return Distributed(rank=dist.get_rank(), world=world, device=device)


def encode(tokenizer: TextTokenizer, rows: Sequence[Example], labels: Sequence[str]) -> Encoded:
    number = {label: i for i, label in enumerate(labels)}
    return Encoded(ids=[e.ids for e in tokenizer.encode_batch([row.text for row in rows])],
                   labels=[number[row.label] for row in rows], pad_id=tokenizer.pad_id)


def hold_out(rows: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """(rows to train on, held-out rows), by a hash of the group that the golden split does not use."""
    def held(row: Example) -> bool:
        return is_golden({"id": "", "group_id": f"holdout:{row.group_id or row.id}"}, share)
    train = [row for row in rows if not held(row)]
    return (train, [row for row in rows if held(row)]) if train else (list(rows), [])


def set_head(model: IntentClassifier, data: Encoded, config: TrainConfig, where: Distributed) -> None:
    """Start the head from the frozen vectors of at most `head_rows` rows."""
    part = data.balanced(config.head_rows)
    vectors = vectors_of(model.eval(), part, config, where.device)
    weight, bias = started_head(vectors, part.labels, classes=model.head.out_features)
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(weight))
        model.head.bias.copy_(torch.from_numpy(bias))


def train_classifier(
    rows: Sequence[Example], labels: Sequence[str], config: TrainConfig, *, pretrained: Path,
    tokenizer: TextTokenizer, checkpoint_dir: Path, where: Distributed | None = None,
) -> Trained:
    """Fine-tune on all rows but the held-out ones."""
    where = where or Distributed()
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    used, held = hold_out(rows, config.holdout_share) if len(rows) >= config.holdout_min_rows else (list(rows), [])
    data = encode(tokenizer, used, labels)
    model = new_classifier(pretrained, labels=len(labels)).to(where.device)
    model.dropout.p = config.dropout
    model.sentence.freeze_below(config.train_layers)
    if not load_head(model, pretrained, labels=tuple(labels)):
        set_head(model, data, config, where)
    fingerprint = hashlib.sha256(json.dumps([asdict(config), list(data.labels), list(labels)]).encode()).hexdigest()
    checkpoints = Checkpoints(folder=checkpoint_dir, fingerprint=fingerprint)

    def report(step: int, loss: float) -> None:
        if where.main and (step % 10 == 0 or step == 1):
            log_event("step", step=step, loss=round(loss, 4))

    steps = fit(model, data, config, where=where, checkpoints=checkpoints, on_step=report)
    if where.main:
        checkpoints.clear()
    return Trained(model=model.to("cpu"), steps=steps, used=data, held=encode(tokenizer, held, labels))


def write_model(
    trained: Trained, rows: Sequence[Example], meta: Meta, config: TrainConfig, *, pretrained: Path, model_dir: Path,
) -> Exported:
    """The model folder's two halves; returns what serves."""
    from model_code.intent_classifier.export import export  # OpenVINO: only the exporting process needs it

    labels, serving = meta.taxonomy.labels, model_dir / "serving"
    save_classifier(trained.model, model_dir / "pytorch", pretrained=pretrained, labels=labels)
    exported = export(trained.model, serving, train=trained.used, held=trained.held, config=config)
    (serving / TOKENIZER_FILE).write_bytes((pretrained / TOKENIZER_FILE).read_bytes())
    ServingConfig(
        story=meta.story, taxonomy=meta.taxonomy.name, labels=labels, max_tokens=config.max_tokens,
        temperature=exported.temperature, rules=tuple(measured_rules(meta.taxonomy.name, rows)),
    ).write(serving)
    return exported


def main(argv: Sequence[str] | None = None) -> None:
    started = time.monotonic()
    job = TrainingJob.read()
    config = parse_config(TrainConfig, job.hyperparameters, sys.argv[1:] if argv is None else argv)
    where = start_distributed()
    prepared, pretrained = job.channel("train"), job.channel("pretrained")
    meta, rows = read_meta(prepared), read_rows(prepared / TRAIN_FILE)
    tokenizer = TextTokenizer(pretrained / TOKENIZER_FILE, max_tokens=config.max_tokens)
    log_event("training", rows=len(rows), labels=len(meta.taxonomy.labels), **asdict(config))
    trained = train_classifier(rows, meta.taxonomy.labels, config, pretrained=pretrained, tokenizer=tokenizer,
                               checkpoint_dir=job.checkpoint_dir, where=where)
    fitted = time.monotonic()
    if where.main:
        exported = write_model(trained, rows, meta, config, pretrained=pretrained, model_dir=job.model_dir)
        seconds = time.monotonic() - started
        record = {
            "story": meta.story, "seed": config.seed, "hyperparameters": asdict(config), "rows": len(rows),
            "steps": trained.steps, "seconds": seconds, "serving": asdict(exported),
            "fit_seconds": fitted - started, "processes": where.world, "code_sha256": code_sha256(),
            "base_model_sha256": combined_sha256(folder_files(pretrained)), "freeze_id": meta.freeze.get("freeze_id"),
        }
        (job.model_dir / TRAINING_FILE).write_text(json.dumps(record, indent=1), "utf-8")
        log_event("trained", steps=trained.steps, seconds=round(seconds, 2))
    sync(where)
    if where.world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
