"""What a restart of the server leaves behind, put in order: no process survives it.

With ministack's PERSIST_STATE the records come back; then endpoints are started again, and whatever was running is
marked as failed. Folders of containers that are gone are removed in any case.
"""

from __future__ import annotations

import shutil
import socket
import time
from typing import Any

from ministack.core.responses import request_scope

from local.sagemaker import rollout, state
from local.sagemaker.endpoint_state import Endpoint
from local.sagemaker.errors import ApiError
from local.sagemaker.models import find_endpoint_config

_REASON = "InternalServerError: the server was restarted"
_PREFIXES = {"training-job": "Training", "processing-job": "Processing", "transform-job": "Transform"}
_SERVER_UP_S = 30.0


def remove_leftovers() -> None:
    for folder in ("jobs", "endpoints", "builds", "offline"):
        shutil.rmtree(state.config().data_dir / folder, ignore_errors=True)


def recover(saved: dict[str, Any]) -> None:
    """Take the saved records over; endpoints follow as soon as the server answers."""
    state.restore(saved)
    for kind, prefix in _PREFIXES.items():
        for _, record in state.everywhere(kind):
            if record[f"{prefix}JobStatus"] in ("InProgress", "Stopping"):
                record.update({f"{prefix}JobStatus": "Failed", "FailureReason": _REASON})
    for _, record in state.everywhere("pipeline-execution"):
        if record["PipelineExecutionStatus"] in ("Executing", "Stopping"):
            record.update(PipelineExecutionStatus="Failed", FailureReason=_REASON)
    for _, record in state.everywhere("endpoint"):
        record["EndpointStatus"] = "Creating"  # before the first caller can read an InService that nothing serves
    state.background(_start_endpoints, name="restart-endpoints")


def _start_endpoints() -> None:
    _wait_for_server()
    for (account, region), record in state.everywhere("endpoint"):
        with request_scope(account, region):
            _start(record)


def _start(record: dict[str, Any]) -> None:
    endpoint = Endpoint(record)
    endpoint.announce()
    try:
        config = find_endpoint_config(record["EndpointConfigName"])
    except ApiError as gone:
        endpoint.set_status("Failed", FailureReason=gone.message)
        return
    state.background(lambda: rollout.create(endpoint, config), name=f"restart-{endpoint.name}")


def _wait_for_server() -> None:
    deadline = time.monotonic() + _SERVER_UP_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", state.config().port)) == 0:
                return
        time.sleep(0.05)
