"""Every private name of ministack that the hooks replace or call is there in the pinned version."""

from __future__ import annotations

import importlib
import importlib.metadata

import pytest

HOOKED = {
    "app": "_loaded_modules SERVICE_REGISTRY SERVICE_HANDLERS _state_map _read_request_body _RequestBodyDisconnected "
           "_IncompleteRequestBody",
    "core.router": "SERVICE_PATTERNS extract_access_key_id",
    "core.iam_actions": "SERVICE_TO_IAM_NAMESPACE _BOTOCORE_SERVICE_MAP extract_resource_arn",
    "core.iam_evaluator": "enforce pin_signed_body",
    "core.concurrency": "run_reentrant",
    "core.responses": "AccountRegionScopedDict StreamingResponse request_scope get_region get_account_id",
    "services.s3": "_get_object _read_body _record_object_version _object_versions _object_disk_path S3_PERSIST",
    "services.codebuild": "EXECUTE_BUILDS _start_build _execute_build _builds _record_phase _finish_build "
                          "_stop_requested _clear_stopped",
    "services.eventbridge": "_put_events",
    "services.cloudwatch": "_put_metric_data",
    "services.cloudwatch_logs": "_log_groups _create_log_group _create_log_stream _put_log_events",
    "services.cloudformation.provisioners": "_RESOURCE_HANDLERS _REPLACING_PROPERTIES _CUSTOM_NAME_REPLACEMENT "
                                            "_STACK_TAG_PROPERTY _physical_name",
    "services.cloudformation.stacks": "_runs_on_worker_thread",
}


def test_the_pinned_version_is_installed() -> None:
    assert importlib.metadata.version("ministack") == "1.5.33"


@pytest.mark.parametrize("module", HOOKED)
def test_the_names_that_hooks_use_exist(module: str) -> None:
    found = importlib.import_module(f"ministack.{module}")
    missing = [name for name in HOOKED[module].split() if not hasattr(found, name)]
    assert not missing
