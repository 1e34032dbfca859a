"""`deploy`: the CDK CLI on AWS, the embedded deployer on an embedded AWS; the same templates in both.

There is no option for tags of stacks: CloudFormation hands those to every resource and writes each SSM
parameter anew, which resets flags and looks like a changed serving spec. Tags come from the synthesis.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cli.errors import CliError
from cli.target import Target

CDK = Path("node_modules/aws-cdk/bin/cdk")


def deploy_to(target: Target, cdk_out: Path) -> None:
    if not (cdk_out / "manifest.json").is_file():
        raise CliError(
            f"{cdk_out} holds no synthesised templates; run `make synth` or name the folder with --cdk-out"
        )
    command = embedded_command(target, cdk_out) if target.embedded else cdk_command(target, cdk_out)
    code = subprocess.run(command, check=False).returncode
    if code:
        raise CliError(f"deploy ended with exit code {code}; the lines above name the stack and the reason")


def embedded_command(target: Target, cdk_out: Path) -> list[str]:
    stage = cdk_out / f"assembly-{target.deployment.name}"
    return [
        sys.executable, "-m", "local", "deploy",
        "--cdk-out", str(stage if stage.is_dir() else cdk_out), "--endpoint-url", str(target.endpoint_url),
    ]  # fmt: skip


def cdk_command(target: Target, cdk_out: Path) -> list[str]:
    if not CDK.is_file():
        raise CliError("the CDK command line is not installed; run `make setup-dev` in the checkout")
    # A deployment is a CDK stage; its stacks are called STAGE/STACK there.
    return ["node", str(CDK), "deploy", "--app", str(cdk_out), f"{target.deployment.name}/*"]
