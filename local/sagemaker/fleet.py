"""All containers of one endpoint configuration: its production variants and its shadow."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from local.sagemaker import roles, state, telemetry
from local.sagemaker.errors import ApiError, JobFailure
from local.sagemaker.models import find_model
from local.sagemaker.serving import ServingContainer, resolve_package


class Fleet:
    """Running variants. Weights change in place; containers do not."""

    def __init__(self, endpoint: str, config: dict[str, Any]) -> None:
        self.endpoint, self.config = endpoint, config
        self.config_name: str = config["EndpointConfigName"]
        self.weights = {v["VariantName"]: float(v["InitialVariantWeight"]) for v in config["ProductionVariants"]}
        self.counts = {v["VariantName"]: v["InitialInstanceCount"] for v in config["ProductionVariants"]}
        self.containers: dict[str, ServingContainer] = {}
        self.shadows: dict[str, ServingContainer] = {}

    def start(self) -> None:
        """Start every container at once; on any failure none stays."""
        variants = [(v, self.containers) for v in self.config["ProductionVariants"]]
        variants += [(v, self.shadows) for v in self.config.get("ShadowProductionVariants", [])]
        try:
            for variant, group in variants:
                group[variant["VariantName"]] = self._container(variant)
            with ThreadPoolExecutor(max(1, len(variants))) as pool:
                starts = [pool.submit(copy_context().run, c.start) for c in self._all()]
                for start in starts:
                    start.result()
        except (JobFailure, ApiError, OSError) as error:
            self.close()
            reason = error.reason if isinstance(error, JobFailure) else str(error)
            raise JobFailure(reason) from error

    def _container(self, variant: dict[str, Any]) -> ServingContainer:
        name = variant["VariantName"]
        model = resolve_package(find_model(variant["ModelName"]))
        identity = f"{self.endpoint}-{name}-{state.new_id(8)}"
        log = telemetry.LogStream(f"/aws/sagemaker/Endpoints/{self.endpoint}", f"{name}/{identity}")
        return ServingContainer(
            model=model, folder=state.config().data_dir / "endpoints" / identity,
            what=f"production variant {name}", on_lines=log.write,
            client=roles.assume(model["ExecutionRoleArn"], f"SageMaker-{self.endpoint}"),
            health_timeout_s=variant.get("ContainerStartupHealthCheckTimeoutInSeconds", 0),
        )

    def _all(self) -> list[ServingContainer]:
        return [*self.containers.values(), *self.shadows.values()]

    def close(self) -> None:
        """End every container at once: each may need seconds for what it still answers."""
        containers = self._all()
        with ThreadPoolExecutor(max(1, len(containers))) as pool:
            for end in [pool.submit(copy_context().run, c.close) for c in containers]:
                end.result()

    def choose(self, target: str = "") -> tuple[str, ServingContainer]:
        """The variant that a request goes to: the one it names, or one by weight."""
        if target:
            if target not in self.containers:
                raise ApiError(
                    "ValidationError",
                    f"Variant {target} not found for endpoint {self.endpoint}; it has {', '.join(self.containers)}",
                )
            return target, self.containers[target]
        names = list(self.containers)
        weights = [self.weights[n] for n in names]
        chosen = random.choices(names, weights if sum(weights) > 0 else None)[0]
        return chosen, self.containers[chosen]

    def shadow(self) -> tuple[str, ServingContainer] | None:
        """The shadow variant, for the share of requests that its weight says."""
        for variant in self.config.get("ShadowProductionVariants", []):
            production = next(iter(self.weights.values())) or 1.0
            if random.random() < float(variant["InitialVariantWeight"]) / production:
                return variant["VariantName"], self.shadows[variant["VariantName"]]
        return None

    def describe(self) -> dict[str, list[dict[str, Any]]]:
        found = {"ProductionVariants": [self._summary(v, self.containers) for v in self.config["ProductionVariants"]]}
        shadows = self.config.get("ShadowProductionVariants")
        if shadows:
            found["ShadowProductionVariants"] = [self._summary(v, self.shadows) for v in shadows]
        return found

    def _summary(self, variant: dict[str, Any], group: dict[str, ServingContainer]) -> dict[str, Any]:
        name, container = variant["VariantName"], group.get(variant["VariantName"])
        image = container.model["PrimaryContainer"].get("Image", "") if container else ""
        weight = self.weights.get(name, float(variant["InitialVariantWeight"]))
        count = self.counts.get(name, variant["InitialInstanceCount"])
        resolved = f"{image.split('@')[0].rsplit(':', 1)[0]}@{container.image_digest}" if container else ""
        images = [{"SpecifiedImage": image, "ResolvedImage": resolved, "ResolutionTime": state.now()}]
        return {
            "VariantName": name, "DeployedImages": images, "CurrentWeight": weight, "DesiredWeight": weight,
            "CurrentInstanceCount": count, "DesiredInstanceCount": count,
        }
