"""`python -m demo`: what `make demo` runs."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from cli.errors import CliError
from demo.run import CLOCK_FACTOR, SCENES, Options, quiet_environment, run
from demo.world import WorldError


def parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m demo", description="The main job, on an embedded AWS.")
    parser.add_argument(
        "--dataset", default="snips", help="snips (real, default), manga14 (made) or FILE.jsonl (your own)"
    )
    parser.add_argument(
        "--scene",
        action="append",
        default=[],
        metavar="NAME",
        help=f"only this one (and the two it needs), may be repeated: {', '.join(n for n, _ in SCENES)}",
    )
    parser.add_argument(
        "--prepare-only", action="store_true", help="fetch data and weights, synthesise, and stop"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the embedded AWS running until you press Enter"
    )
    parser.add_argument("--clock-factor", type=float, default=CLOCK_FACTOR, help="waits are divided by it")
    args = parser.parse_args()
    return Options(
        dataset=args.dataset,
        scenes=tuple(args.scene),
        prepare_only=args.prepare_only,
        keep=args.keep,
        clock_factor=args.clock_factor,
    )


def main() -> int:
    console = Console(soft_wrap=True)
    quiet_environment()
    try:
        return run(parse(), console)
    except (CliError, WorldError) as error:
        console.print(f"[red]demo:[/red] {error}", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted: everything was stopped and removed; no report was written")
        return 130


if __name__ == "__main__":
    sys.exit(main())
