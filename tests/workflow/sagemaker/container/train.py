"""A training script in script mode: counts words, checkpoints each step, may fail or be slow on demand."""

import argparse
import json
import os
import pathlib
import time

parser = argparse.ArgumentParser()
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--fail", default="")
parser.add_argument("--megabytes", type=int, default=0)
parser.add_argument("--greeting", default="hello")
args = parser.parse_args()

data = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
words = sum(len(p.read_text().split()) for p in sorted(data.rglob("*.txt")))
checkpoint = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"]) / "step"
start = int(checkpoint.read_text()) if checkpoint.exists() else 0
print(f"starting at step {start}")
if args.fail:
    (pathlib.Path(os.environ["SM_OUTPUT_DIR"]) / "failure").write_text(args.fail)
    raise SystemExit(3)
for step in range(start + 1, args.steps + 1):
    time.sleep(args.pause)
    checkpoint.write_text(str(step))
    print(f"step={step} loss={1 / step:.3f};")
model = pathlib.Path(os.environ["SM_MODEL_DIR"])
content = {"words": words, "greeting": args.greeting, "started_at": start}
(model / "model.json").write_text(json.dumps(content))
if args.megabytes:
    (model / "weights.bin").write_bytes(os.urandom(1 << 20) * args.megabytes)
(pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"]) / "notes.txt").write_text(os.environ.get("NOTE", "none"))
