"""Where ministack 1.5.33 learns of SageMaker. Every name touched here is private to that version; the tests in
tests/workflow/sagemaker/test_hooks.py hold each of them.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

from ministack import app
from ministack.core import iam_actions, router

from local.sagemaker import cfn, codebuild, iam, large_objects, scaling, service


def add_service(name: str, module: types.ModuleType, *, target: str, hosts: list[str]) -> None:
    """A service as ministack knows them: routing by target prefix and signing name, state, IAM namespace."""
    app._loaded_modules[name] = module
    app.SERVICE_REGISTRY[name] = {"module": name}
    app.SERVICE_HANDLERS[name] = module.handle_request
    app._state_map[name] = name
    router.SERVICE_PATTERNS[name] = {"target_prefixes": [target], "host_patterns": hosts}
    iam_actions.SERVICE_TO_IAM_NAMESPACE[name] = name
    sys.modules.setdefault(f"ministack.services.{name}", module)


def install() -> None:
    add_service("sagemaker", service, target="SageMaker.", hosts=[r"\.sagemaker\.", r"^api\.sagemaker"])
    iam_actions._BOTOCORE_SERVICE_MAP["sagemaker"] = ["sagemaker-runtime", "sagemaker-featurestore-runtime"]
    ask_first(iam_actions, "extract_resource_arn", iam.resource_arn)
    codebuild.install()
    cfn.install()
    large_objects.install()
    if scaling.SERVICE not in app.SERVICE_REGISTRY:
        hosts = [r"^application-autoscaling\."]
        add_service(scaling.SERVICE, scaling, target="AnyScaleFrontendService.", hosts=hosts)


def ask_first(module: Any, name: str, ours: Callable[..., str | None]) -> None:
    """Ask `ours` first; None means that the original answers."""
    original = getattr(module, name)

    def wrapped(*args: Any) -> str:
        found = ours(*args)
        return original(*args) if found is None else found

    setattr(module, name, wrapped)
