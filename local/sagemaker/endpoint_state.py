"""The live side of an endpoint: which fleets serve, and what share a new fleet gets."""

from __future__ import annotations

import random
import re
from typing import Any

from ministack.core.responses import get_account_id, get_region

from local.sagemaker import state, telemetry
from local.sagemaker.errors import invalid
from local.sagemaker.fleet import Fleet

_live: dict[str, Endpoint] = {}  # by ARN


class Endpoint:
    """`active` serves; during an update `incoming` serves its share of the traffic too."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.name: str = record["EndpointName"]
        self.account, self.region = get_account_id(), get_region()
        self.active: Fleet | None = None
        self.incoming: Fleet | None = None
        self.share = 0.0  # of the incoming fleet
        self.queue: Any = None  # of an asynchronous endpoint
        _live[record["EndpointArn"]] = self

    def set_status(self, status: str, **fields: Any) -> None:
        with state.LOCK:
            self.record.update(fields, EndpointStatus=status, LastModifiedTime=state.now())
        self.announce()

    def announce(self) -> None:
        """The event spells states like IN_SERVICE, the API like InService."""
        detail = state.public(self.record)
        detail["EndpointStatus"] = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", detail["EndpointStatus"]).upper()
        telemetry.event("SageMaker Endpoint State Change", detail, self.record["EndpointArn"])

    def serving(self) -> Fleet | None:
        """The fleet for one request."""
        with state.LOCK:
            if self.incoming is not None and random.random() < self.share:
                return self.incoming
            return self.active

    def close(self) -> None:
        _live.pop(self.record["EndpointArn"], None)
        if self.queue is not None:
            self.queue.close()
        for fleet in (self.active, self.incoming):
            if fleet is not None:
                fleet.close()


def live(arn: str) -> Endpoint | None:
    return _live.get(arn)


def find_endpoint(name: str) -> dict[str, Any]:
    record = state.store("endpoint").get(name)
    if record is None:
        raise invalid(f'Could not find endpoint "{state.arn("endpoint", name)}".')
    return record
