"""What stands in front of ministack: the /_local endpoints, faults on purpose and the record of calls."""

from __future__ import annotations

import asyncio
import collections
import contextvars
import json
from typing import Any
from urllib.parse import parse_qs

from local import api_actions, functions, object_keys
from local.config import LocalConfig
from local.events import schedules
from local.faults import FAULTS, Call, Fault
from local.peers import Peers
from local.states import engine

_KEPT_CALLS = 20_000
_ALIASES = {"monitoring": "cloudwatch"}  # the router's name -> the name that people use
_CODES = {"throttle": ("ThrottlingException", "Rate exceeded", 400),
          "error": ("InternalFailure", "The request processing has failed because of an internal error.", 500),
          "timeout": ("RequestTimeout", "No answer came in time.", 504)}
_CARRIED_OUT = ("twice", "kill", "roll_back")


_insecure: contextvars.ContextVar[bool] = contextvars.ContextVar("_insecure", default=False)


class Front:
    def __init__(self, config: LocalConfig, ministack_app: Any) -> None:
        self.config = config
        self.faults = FAULTS
        self.calls: collections.deque[dict[str, Any]] = collections.deque(maxlen=_KEPT_CALLS)
        self._ministack = ministack_app
        self._peers = Peers(config, ministack_app)
        self._dispatch = ministack_app._dispatch_service_request
        self._special = ministack_app._handle_special_data_plane_request
        # calls to localhost stand for TLS, so that a policy that denies aws:SecureTransport=false lets them pass;
        # X-Forwarded-Proto: http says otherwise
        pin = ministack_app.pin_request_origin
        ministack_app.pin_request_origin = lambda ip, secure: pin(ip, not _insecure.get())
        ministack_app._dispatch_service_request = self.dispatch
        ministack_app._handle_special_data_plane_request = self.special

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/_local/"):
            status, body = await self._local(scope["method"], scope["path"], await _read(receive), scope)
            await _answer(send, status, body)
            return
        _insecure.set((b"x-forwarded-proto", b"http") in scope.get("headers", []))
        await self._ministack.app(scope, receive, send)

    async def dispatch(self, method: str, path: str, headers: dict[str, str], body: bytes,
                       query: dict[str, Any], request_id: str) -> Any:
        call, action = self._identify(method, path, headers, body, query)
        fault, elsewhere = self.faults.take(call), self._peers.region_of(headers, query)

        async def go_on() -> Any:
            if elsewhere:
                return await self._peers.ask(elsewhere, method, action, call.resource, headers, query, request_id)
            refused = None
            if self._ministack.AUTH:
                refused = object_keys.refusal(
                    method, action, call.resource, headers, query, request_id) or api_actions.refusal(
                    (call.service, call.operation), _router_name(call.service), headers, body, query, request_id,
                    self.config.account)
            return refused or await self._dispatch(method, path, headers, body, query, request_id)

        answer = await self._with_fault(fault, call, action, headers, request_id, go_on)
        await functions.hold(call.role)
        if not any(name.lower() == "x-amzn-requestid" for name in answer[1]):
            answer[1]["x-amzn-requestid"] = request_id  # ministack leaves it out of a denial, and clients read it
        self.calls.append({**vars(call), "status": answer[0], **({"fault": fault.kind} if fault else {})})
        return answer

    async def special(self, method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any],
                      request_id: str, **more: Any) -> Any:
        """S3 with the bucket in the host name and other data planes; they answer None for what is not theirs."""
        if self._peers.region_of(headers, query):
            return await self.dispatch(method, path, headers, body, query, request_id)
        answer = await self._special(method, path, headers, body, query, request_id, **more)
        if answer is not None:
            call, action = self._identify(method, path, headers, body, query)
            fault = self.faults.take(call)
            if fault is not None:
                async def done() -> Any:
                    return answer

                answer = await self._with_fault(fault, call, action, headers, request_id, done)
            self.calls.append({**vars(call), "status": answer[0]})
        return answer

    async def _with_fault(self, fault: Fault | None, call: Call, action: str, headers: dict[str, str],
                          request_id: str, go_on: Any) -> Any:
        if fault is None:
            return await go_on()
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return await go_on()
        if fault.kind in _CARRIED_OUT:
            return await self._carried_out(fault, call, go_on)
        if fault.kind == "timeout":
            if call.operation == "InvokeFunction":
                with functions.hanging(call.resource, fault.seconds):
                    return await go_on()
            await asyncio.sleep(fault.seconds)
        if fault.kind == "lose_answer":
            await go_on()
        from ministack.core.iam_actions import access_denied_response

        principal = f"arn:aws:sts::{self.config.account}:assumed-role/{call.role}"
        router_name = _router_name(call.service)
        if fault.kind == "deny":
            return access_denied_response(router_name, action, principal, request_id, headers=headers)
        code, text, status = _CODES.get(fault.kind, _CODES["error"])
        _, error_headers, error_body = access_denied_response(
            router_name, action, principal, request_id, error_code=code, message=text, headers=headers)
        return status, error_headers, error_body

    async def _carried_out(self, fault: Fault, call: Call, go_on: Any) -> Any:
        """Faults of which the answer says nothing."""
        from local.sagemaker import jobs, rollout

        if fault.kind == "twice":
            return min(await asyncio.gather(go_on(), go_on()), key=_how_bad)
        if fault.kind == "roll_back":
            with rollout.doomed(call.resource.rpartition("/")[2]) as doom:
                answer = await go_on()
                doom(answer[0] == 200)
            return answer
        answer = await go_on()
        if not functions.kill_worker(call.role):
            jobs.kill_running()
        return answer

    def _identify(self, method: str, path: str, headers: dict[str, str], body: bytes,
                  query: dict[str, Any]) -> tuple[Call, str]:
        from ministack.core import iam_actions, router

        routing = self._ministack._routing_params(method, path, headers, body, query)
        service = router.detect_service(method, path, headers, routing)
        region = router.extract_region(headers)
        action = iam_actions.extract_iam_action(service, method, path, headers, body, routing) or ""
        resource = iam_actions.extract_resource_arn(
            service, method, path, headers, body, routing, region, self.config.account)
        operation = _operation(path, headers, routing) or action.partition(":")[2]
        name = _ALIASES.get(service, service)
        return Call(service=name, operation=operation, resource=resource, role=_role(headers, query),
                    states=engine.tasks_now()), action

    async def _local(self, method: str, path: str, body: bytes, scope: Any) -> tuple[int, bytes]:
        match method, path:
            case "GET", "/_local/health":
                return 200, b'{"status": "ready"}'
            case "GET", "/_local/calls":
                wanted = {k: v[0] for k, v in parse_qs(scope["query_string"].decode()).items()}
                return 200, b"".join(json.dumps(c).encode() + b"\n" for c in self.calls
                                     if all(c.get(k) == v for k, v in wanted.items()))
            case "DELETE", "/_local/calls":
                self.calls.clear()
                return 200, b"{}"
            case "POST", "/_local/faults":
                try:
                    fault = self.faults.add(json.loads(body))
                except (ValueError, TypeError) as error:
                    return 400, json.dumps({"error": str(error)}).encode()
                return 200, json.dumps({"id": fault.fault_id}).encode()
            case "GET", "/_local/faults":
                return 200, b"".join(json.dumps(fault).encode() + b"\n" for fault in self.faults.listed())
            case "DELETE", "/_local/faults":
                return 200, json.dumps({"cleared": self.faults.clear()}).encode()
            case "POST", "/_local/schedules":
                return _fire(json.loads(body or b"{}"))
        return 404, json.dumps({"error": f"there is no {method} {path} here; there are /_local/health, /_local/calls, "
                                         "/_local/faults, /_local/schedules"}).encode()


def install(config: LocalConfig, ministack_app: Any) -> Front:
    return Front(config, ministack_app)


def _fire(wanted: dict[str, Any]) -> tuple[int, bytes]:
    try:
        schedules.fire_now(wanted.get("name", ""))
    except KeyError as error:
        return 404, json.dumps({"error": str(error.args[0])}).encode()
    return 200, b"{}"


def _router_name(service: str) -> str:
    return next((name for name, alias in _ALIASES.items() if alias == service), service)


def _how_bad(answer: Any) -> tuple[int, bool]:
    status, headers, _ = answer
    return int(status), any(name.lower() == "x-amz-function-error" for name in headers)


def _operation(path: str, headers: dict[str, str], query: dict[str, Any]) -> str:
    target = headers.get("x-amz-target", "")
    if target:
        return target.rpartition(".")[2]
    if "/operation/" in path:  # Smithy RPC: /service/NAME/operation/NAME
        return path.rpartition("/operation/")[2]
    action = query.get("Action", "")
    return str(action[0] if isinstance(action, list) else action)


def _role(headers: dict[str, str], query: dict[str, Any]) -> str:
    from ministack.core.router import extract_access_key_id
    from ministack.services import sts

    session = sts._sessions.get(extract_access_key_id(headers, query) or "")
    arn = str(session.get("Arn", "")) if session else ""
    return arn.split(":assumed-role/", 1)[1] if ":assumed-role/" in arn else "root"


async def _read(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _answer(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
