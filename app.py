"""The CDK app: one stage per deployment, nothing else.

cdk.json runs it with -OO: most of what CDK's Python modules hold is docstrings, and reading them took a
tenth of a synth. What jsii checks of types while it runs goes too; mypy and the tests' own synth check them.

Context: `deployment` (all when absent), `tags` (a JSON object), `permission_boundary` (a managed
policy's name), `full_private`, `destroy` (throw-away accounts only).
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent

# `constructs/` is an import root, not a package: a package of that name would hide CDK's own.
sys.path[:0] = [str(ROOT), str(ROOT / "constructs")]

from aws_cdk import App  # noqa: E402 - the import roots come first

from stacks.deployment import deploy_all  # noqa: E402


def main() -> None:
    gc.disable()  # what the app makes lives until it ends: looking through it for garbage took a tenth of its time
    # The flags of cdk.json hold without the CDK CLI too; what the CLI passes wins.
    app = App(context=json.loads((ROOT / "cdk.json").read_text("utf-8"))["context"], analytics_reporting=False)
    deploy_all(app)
    app.synth()


if __name__ == "__main__":
    main()
