"""Resource types that are made through the service's own API, as CloudFormation itself makes them.

Such a type runs on a worker thread: it calls this very server over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from local.config import ROOT_KEY, LocalConfig

Created = tuple[str, dict[str, Any]]  # physical id (Ref) and attributes (Fn::GetAtt)
_settings: list[LocalConfig] = []


@dataclass(frozen=True, kw_only=True)
class ApiResource:
    """`update` absent: any change replaces the resource (new first, the old one in the cleanup phase)."""

    create: Callable[[dict[str, Any], str], Created]  # properties, generated name
    delete: Callable[[str, dict[str, Any]], None]
    update: Callable[[str, dict[str, Any], dict[str, Any]], Created] | None = None
    properties: frozenset[str]  # any other property is refused, not ignored


def configure(config: LocalConfig) -> None:
    _settings[:] = [config]


def client(service: str) -> Any:
    from ministack.core.responses import get_region

    return _client(service, get_region())


@lru_cache(maxsize=32)
def _client(service: str, region: str) -> Any:
    import boto3

    return boto3.client(  # type: ignore[call-overload]
        service, region_name=region, endpoint_url=_settings[0].endpoint_url,
        aws_access_key_id=ROOT_KEY, aws_secret_access_key=ROOT_KEY)


def handlers(resources: dict[str, ApiResource]) -> dict[str, dict[str, Any]]:
    """ministack's handler records for a table of types."""
    return {name: _handler(name, resource) for name, resource in resources.items()}


def _handler(resource_type: str, resource: ApiResource) -> dict[str, Any]:
    from ministack.services.cloudformation import provisioners

    def checked(props: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(props) - resource.properties)
        if unknown:
            raise ValueError(f"{resource_type}: the property {unknown[0]} is not supported by the embedded "
                             f"CloudFormation (supported: {sorted(resource.properties)})")
        return props

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Created:
        return resource.create(checked(props), provisioners._physical_name(stack_name, logical_id))

    def update(physical_id: str, old: dict[str, Any], new: dict[str, Any], stack_name: str,
               logical_id: str | None = None) -> Created:
        if resource.update is not None:
            return resource.update(physical_id, checked(old), checked(new))
        if _same_but_tags(old, new):
            return physical_id, {}
        # another physical id is a replacement: the stack deletes the old one in its cleanup phase, off the loop
        return provisioners._seeded_create(create, logical_id or physical_id, new, stack_name)

    return {"create": create, "update": update, "update_with_logical_id": True, "delete": resource.delete}


def _same_but_tags(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return {k: v for k, v in old.items() if k != "Tags"} == {k: v for k, v in new.items() if k != "Tags"}


def present(props: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: props[name] for name in names if name in props}


def as_bool(value: Any) -> bool:
    return str(value).lower() == "true"
