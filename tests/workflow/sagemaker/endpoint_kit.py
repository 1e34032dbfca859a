"""Makes models, configurations and endpoints for tests, and reads them."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.workflow.sagemaker.conftest import Aws, wait_for


class Endpoints:
    """Makes models, configurations and endpoints with names of their own."""

    def __init__(self, aws: Aws, image: str, role: str) -> None:
        self.aws, self.image, self.role = aws, image, role
        self.sagemaker, self.runtime = aws.client("sagemaker"), aws.client("sagemaker-runtime")
        self.made: list[str] = []

    def model(self, tag: str, *, role: str = "", container: dict[str, Any] | None = None, **environment: str) -> str:
        name = f"model-{tag}-{uuid.uuid4().hex[:6]}"
        self.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=role or self.role,
            PrimaryContainer={"Image": self.image, "Environment": {"TAG": tag, **environment}, **(container or {})},
        )
        return name

    def config(self, *models: str, weights: tuple[float, ...] = (1.0, 1.0), **options: Any) -> str:
        name = f"config-{uuid.uuid4().hex[:8]}"
        variants = [self.variant(m, f"v{i}", w) for i, (m, w) in enumerate(zip(models, weights, strict=False))]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **options)
        return name

    @staticmethod
    def variant(model: str, name: str, weight: float = 1.0) -> dict[str, Any]:
        return {"VariantName": name, "ModelName": model, "InitialInstanceCount": 1,
                "InstanceType": "ml.m5.large", "InitialVariantWeight": weight}

    def create(self, config: str, *, wait: bool = True) -> str:
        name = f"endpoint-{uuid.uuid4().hex[:8]}"
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        self.made.append(name)
        if wait:
            assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def describe(self, name: str) -> dict[str, Any]:
        return dict(self.sagemaker.describe_endpoint(EndpointName=name))

    def settled(self, name: str) -> dict[str, Any]:
        busy = ("Creating", "Updating", "RollingBack")
        return dict(wait_for(lambda: self.describe(name), lambda e: e["EndpointStatus"] not in busy))

    def ask(self, name: str, text: str = "hi", **options: Any) -> dict[str, Any]:
        reply = self.runtime.invoke_endpoint(EndpointName=name, Body=text.encode(), ContentType="text/plain", **options)
        return {**json.loads(reply["Body"].read()), "_variant": reply["InvokedProductionVariant"], "_reply": reply}
