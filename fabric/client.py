"""One question to a story's model: cache, endpoint, and the story's fallback, within one deadline."""

from __future__ import annotations

import atexit
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from contracts import metrics, naming, stories
from contracts.inference import (
    FALLBACK_SOURCE,
    BadRequest,
    IntentRequest,
    check_request_id,
    new_request_id,
    normalised,
    parse_request,
)
from contracts.language import detect_language
from contracts.story import MIN_DEADLINE_MS
from fabric.cache import Found, InferenceCache
from fabric.capture import CaptureFiler, capture_record
from fabric.counters import Counters
from fabric.endpoint import CACHE_SHARE, CONNECT_SHARE, READ_SHARE, Endpoint, Unavailable
from fabric.serving_version import Pointer, ServingVersion

Answer = dict[str, Any]


class Fabric:
    """Client of one story's model. Thread-safe; make one and keep it."""

    def __init__(self, story: str, *, session: Any = None, runtime: Any = None, firehose: Any = None,
                 serving: ServingVersion | None = None, cache: InferenceCache | None = None,
                 counters: Counters | None = None, deadline_ms: int | None = None,
                 clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """
        Parameters
        ----------
        session : boto3 session; the default one when absent.
        runtime, firehose : clients to use instead of ones made from the session. A `runtime` of your own
            brings its own timeouts.
        serving, cache : without both nothing is cached. Without `serving` a freeze pins nothing, either: an operator
            asks what the endpoint really says.
        deadline_ms : the longest wait for an answer, cache and repeat included; the story's when absent.
        """
        contract = stories.story(naming.check_slug(story))
        budget_ms = contract.inference.deadline_ms if deadline_ms is None else deadline_ms
        if budget_ms < MIN_DEADLINE_MS:
            raise ValueError(f"deadline_ms must be {MIN_DEADLINE_MS} or more, got {budget_ms}")
        self.story, self._contract, self._deadline_s = story, contract, budget_ms / 1000
        self._endpoint = Endpoint(story, runtime or client("sagemaker-runtime", session, self._deadline_s),
                                  deadline_s=self._deadline_s)
        self._filer = CaptureFiler(firehose or client("firehose", session, self._deadline_s),
                                   naming.capture_stream(story), self._lost)
        self._serving, self._cache = serving, cache
        self._counters = counters or Counters(story, lambda line: None)
        self._clock = clock
        self.capture_failures = 0
        atexit.register(self.close)

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """File what waits: capture records and metrics."""
        atexit.unregister(self.close)
        self._filer.close()
        self._counters.flush()

    def answer(self, text: str, **who: Any) -> Answer:
        """As `predict`, but a model that can't be asked gives the story's fallback, marked `source: fallback`.

        Raises BadRequest.
        """
        started = time.perf_counter()
        try:
            return self.predict(text, **who)
        except Unavailable as error:
            language = detect_language(normalised(text))
            fallback = {"request_id": error.request_id, "story": self.story, "model_version": None,
                        "language": language, "intent": self._contract.inference.fallback, "confidence": 0.0,
                        "source": FALLBACK_SOURCE, "cached": False, "features": None}
            self._told(fallback, who, started, metrics.FALLBACKS)
            return fallback

    def predict(self, text: str, *, request_id: str | None = None, cohort: str | None = None,
                daypart: str | None = None, upstream: Mapping[str, str] | None = None) -> Answer:
        """A model's answer.

        A dict with request_id, story, model_version, language, intent, confidence, source, features, and
        whether it is `cached`. `upstream` names the version of each upstream story's model whose output goes
        into the question: all of them, for they are part of the cache key.

        Raises
        ------
        BadRequest
            The text can't be answered: the container's code (or ours, which is the same check made
            before anything is sent) and the request_id.
        Unavailable
            No answer within the deadline; the model, its endpoint or the network is at fault.
        """
        started = time.perf_counter()
        behind = self._checked_upstream(upstream)
        request = self._parsed(text, request_id, cohort, daypart)
        asked = normalised(request.text)
        pointer, found = self._look_up(asked, behind)
        counted = [metrics.CACHE_ERRORS] if found.failed else []
        if found.answer is not None:
            answer = {**found.answer, "request_id": request.request_id, "cached": True}
            counted.append(metrics.CACHE_HITS)
        else:
            answer = {**self._ask(asked, request, started), "cached": False}
            counted += [metrics.CACHE_MISSES] if found.asked else []
            self._keep(asked, answer, pointer, behind, started)
        self._told(answer, {"cohort": request.cohort, "daypart": request.daypart}, started, *counted)
        return answer

    def _parsed(self, text: object, request_id: str | None, cohort: str | None, daypart: str | None) -> IntentRequest:
        rid = check_request_id(request_id) or new_request_id()
        try:
            if not isinstance(text, str):
                given = type(text).__name__
                raise BadRequest(400, "text_not_a_string", f'field "text" must be a string, got {given}', rid)
            body = json.dumps({"text": text, "cohort": cohort, "daypart": daypart}).encode()
            return parse_request(body, request_id=rid)
        except BadRequest:
            self._counters.count(metrics.INVALID_REQUESTS)
            raise

    def _look_up(self, text: str, upstream: Mapping[str, str]) -> tuple[Pointer | None, Found]:
        pointer = self._serving.current() if self._serving is not None else None
        if pointer is None or self._serving is None or self._cache is None:
            return None, Found()
        found = self._cache.look_up(text, pointer, upstream=upstream)
        if found.outdated:
            self._serving.outdated()
            return None, found
        # The cache took its time: what the pointer names is looked at again before its answer is given.
        return (pointer, found) if self._serving.still(pointer) else (None, Found(asked=found.asked))

    def _ask(self, text: str, request: IntentRequest, started: float) -> Answer:
        body = json.dumps({"text": text, "request_id": request.request_id, "cohort": request.cohort,
                           "daypart": request.daypart}).encode()
        try:
            answer = self._endpoint.ask(body, request.request_id, started)
            serving = self._serving
            if serving is not None and not _accepted(serving, answer):
                answer = self._ask_pinned(serving, body, request.request_id, started)
        except Unavailable as error:
            if error.code == "timeout":
                self._counters.count(metrics.DEADLINE_EXCEEDED, language=detect_language(text))
            raise
        return answer

    def _ask_pinned(self, serving: ServingVersion, body: bytes, rid: str, started: float) -> Answer:
        """Frozen, and a version answered that we don't know as good: perhaps the pointer moved, perhaps a canary."""
        serving.refresh()
        if self._endpoint.may_repeat(started):
            answer = self._endpoint.ask(body, rid, started)
            if _accepted(serving, answer):
                return answer
        raise Unavailable("pinned", "models are frozen and a version that was never promoted answered", rid)

    def _keep(self, text: str, answer: Answer, pointer: Pointer | None, upstream: Mapping[str, str],
              started: float) -> None:
        left_s = self._deadline_s - (time.perf_counter() - started)
        if self._cache is not None and pointer is not None and left_s >= CACHE_SHARE * self._deadline_s:
            self._cache.store(text, {k: v for k, v in answer.items() if k != "cached"}, pointer, upstream=upstream)

    def _told(self, answer: Answer, who: Mapping[str, Any], started: float, *counted: str) -> None:
        """Capture record and metrics of one answer."""
        latency_ms = (time.perf_counter() - started) * 1000
        if latency_ms > self._deadline_s * 1000 and metrics.FALLBACKS not in counted:
            counted = (*counted, metrics.DEADLINE_EXCEEDED)
        self._filer.file(capture_record(answer, cohort=who.get("cohort"), daypart=who.get("daypart"),
                                        latency_ms=latency_ms, at=self._clock()))
        self._counters.answered(str(answer.get("language")), latency_ms, *counted)

    def _checked_upstream(self, upstream: Mapping[str, str] | None) -> dict[str, str]:
        given, wanted = dict(upstream or {}), self._contract.entry.upstream
        if set(given) != set(wanted):
            raise ValueError(f"upstream of {self.story} must name the versions of {list(wanted)}, got {sorted(given)}")
        return given

    def _lost(self, records: int) -> None:
        self.capture_failures += records
        self._counters.count(metrics.CAPTURE_FAILURES, records)


def _accepted(serving: ServingVersion, answer: Answer) -> bool:
    version = str(answer.get("model_version"))
    serving.heard(version)
    return serving.accepts(version)


def client(service: str, session: Any, deadline_s: float) -> Any:
    """A boto3 client whose waits fit into the deadline, and that repeats nothing by itself."""
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=CONNECT_SHARE * deadline_s, read_timeout=READ_SHARE * deadline_s,
                    retries={"mode": "standard", "total_max_attempts": 1})
    return (session or boto3.Session()).client(service, config=config)
