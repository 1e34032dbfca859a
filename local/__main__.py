"""python -m local up | deploy | down"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from local import server
from local.config import LocalConfig
from local.deploy import DeployError, deploy

_DEFAULT_DATA_DIR = Path(tempfile.gettempdir()) / "embedded-aws"


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return int({"up": _up, "deploy": _deploy, "down": _down}[arguments.command](arguments))
    except (DeployError, server.ServerError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="An AWS on this machine for CDK apps.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start it and deploy an assembly")
    up.add_argument("--cdk-out", type=Path, help="output of cdk synth; without it nothing is deployed")
    up.add_argument("--stack", action="append", help="only this stack and what it needs (may repeat); default all")
    up.add_argument("--port", type=int, default=0, help="default: a free one")
    up.add_argument("--data-dir", type=Path, default=_DEFAULT_DATA_DIR, help=f"default {_DEFAULT_DATA_DIR}")
    up.add_argument("--clock-factor", type=float, default=1.0, help="waits and alarm periods are divided by it")
    up.add_argument("--region", default="us-east-1", help="for stacks that name none")
    up.add_argument("--peer", action="append", default=[], metavar="REGION=URL",
                    help="another embedded AWS, which is that region (may repeat); S3 is read there")
    up.add_argument("--detach", action="store_true", help="leave it running and return")
    into = commands.add_parser("deploy", help="deploy an assembly into one that runs")
    into.add_argument("--cdk-out", type=Path, required=True)
    into.add_argument("--endpoint-url", help="default: the one of --data-dir")
    into.add_argument("--data-dir", type=Path, default=_DEFAULT_DATA_DIR)
    into.add_argument("--stack", action="append")
    into.add_argument("--region", default="us-east-1")
    into.add_argument("--tag", action="append", default=[], metavar="K=V", help="stack tag (may repeat)")
    down = commands.add_parser("down", help="stop it")
    down.add_argument("--data-dir", type=Path, default=_DEFAULT_DATA_DIR)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    config = LocalConfig(data_dir=arguments.data_dir, port=arguments.port, region=arguments.region,
                         clock_factor=arguments.clock_factor, peers=_pairs("--peer", arguments.peer, "REGION=URL"))
    running = server.start(config)
    print(f"embedded AWS at {running.endpoint_url} (pid {running.pid}, log {running.log_path})", flush=True)
    try:
        if arguments.cdk_out:
            deploy(arguments.cdk_out, endpoint_url=running.endpoint_url, region=arguments.region,
                   stacks=arguments.stack, progress=lambda text: print(text, flush=True))
        print(f"export AWS_ENDPOINT_URL={running.endpoint_url} AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test "
              f"AWS_DEFAULT_REGION={arguments.region}", flush=True)
        if arguments.detach:
            return 0
        while running.process is not None and running.process.poll() is None:
            time.sleep(0.5)
    except DeployError:
        running.stop()
        raise
    except KeyboardInterrupt:
        pass
    running.stop()
    return 0


def _deploy(arguments: argparse.Namespace) -> int:
    url = arguments.endpoint_url
    if not url:
        found = server.find(arguments.data_dir)
        if found is None:
            raise server.ServerError(f"no embedded AWS runs on {arguments.data_dir}: start one with "
                                     "`python -m local up`")
        url = found.endpoint_url
    deploy(arguments.cdk_out, endpoint_url=url, region=arguments.region, stacks=arguments.stack,
           tags=_pairs("--tag", arguments.tag, "K=V"), progress=lambda text: print(text, flush=True))
    return 0


def _pairs(option: str, given: list[str], wanted: str) -> dict[str, str]:
    pairs = {}
    for pair in given:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"{option} wants {wanted}, got {pair!r}")
        pairs[key] = value
    return pairs


def _down(arguments: argparse.Namespace) -> int:
    found = server.find(arguments.data_dir)
    if found is None:
        print(f"no embedded AWS runs on {arguments.data_dir}")
        return 0
    found.stop()
    print(f"stopped {found.endpoint_url}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
