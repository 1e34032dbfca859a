"""The container's log line of an answer, also as metrics by version: what a canary is judged by.

SageMaker's own metrics can't tell a canary from the champion: both fleets have one variant name. A network-isolated
container can call nothing, but CloudWatch reads the embedded metric format in whatever it logs.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from contracts import metrics
from contracts.story import StoryContract
from model_code.common.log import log_event

SERVER_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class ServedLog:
    """A log function for the handler; adds the metrics to each line about an answer."""

    story: StoryContract
    counted_as: str  # contracts.served_log.counted_as

    def __call__(self, event: str, **fields: object) -> None:
        log_event(event, stream=None, **fields, **self._metrics(fields))

    def _metrics(self, fields: dict[str, object]) -> dict[str, object]:
        """Nothing for a 4xx: what a caller sends wrong says nothing of a version."""
        status, language = fields.get("status"), fields.get("language")
        if not isinstance(language, str) or not isinstance(status, int):
            return {}
        ms, confidence = fields.get("ms"), fields.get("confidence")
        values = {
            metrics.SERVED: 1,
            metrics.SERVED_ERRORS: int(status >= SERVER_ERROR),
            metrics.SERVED_SLOW: int(isinstance(ms, float) and ms > self.story.slowest_ms),
            metrics.SERVED_UNSURE: int(
                isinstance(confidence, float) and confidence < self.story.serving.canary_test.unsure_below),
        }
        dimensions = metrics.dimensions(
            metrics.SERVED, story=self.story.slug, language=language, version=self.counted_as)
        return {
            "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [{
                "Namespace": metrics.NAMESPACE, "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": name, "Unit": "Count"} for name in values]}]},
            **dimensions, **values,
        }
