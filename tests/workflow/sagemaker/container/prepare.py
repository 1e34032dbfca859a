"""A processing script: upper-cases every input file, writes a report, and an exit message."""

import argparse
import json
import os
import pathlib
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--source", type=pathlib.Path, required=True)
parser.add_argument("--target", type=pathlib.Path, required=True)
parser.add_argument("--score", type=float, default=0.9)
parser.add_argument("--message", type=pathlib.Path)
parser.add_argument("--fail", action="store_true")
args = parser.parse_args()

for path in sorted(p for p in args.source.rglob("*") if p.is_file()):
    (args.target / path.name).write_text(path.read_text().upper())
(args.target / "report.json").write_text(json.dumps({"metrics": {"score": args.score}}))
has_credentials = "AWS_SECRET_ACCESS_KEY" in os.environ
print(f"credentials={has_credentials}")
if args.message:
    args.message.write_text("prepared " + "x" * 2000)
sys.exit(5 if args.fail else 0)
