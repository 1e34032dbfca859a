"""Alarms on the platform's own work: failed or late runs, dead letters, unreadable switches, stale capture.

Everything is watched by name, so that this stack imports nothing that a story stack may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from constructs import Construct
from contracts import events, functions, metrics, naming
from contracts.story import StoryContract
from mlplatform.on_call import AlarmProps, alarm
from mlplatform.policies import token_arn


class PlatformAlarms(Construct):
    def __init__(self, scope: Construct, id_: str, *, stories: Sequence[StoryContract], home: bool,
                 topic_arn: str) -> None:
        super().__init__(scope, id_)
        found = [*self._machines(stories, home=home), *self._functions(stories, home=home)]
        if not home:
            found += [self._refused(story.slug) for story in stories]
        else:
            found += [self._stale(story.slug) for story in stories]
        for story in stories:
            found += [self._deadline(story), *self._fallbacks(story), self._capture(story.slug)]
        for props in found:
            alarm(self, naming.pascal(props.name.removeprefix(f"{naming.PROJECT}-")), props, topic_arn=topic_arn)

    def _machine(self, name: str) -> dict[str, str]:
        return {"StateMachineArn": token_arn("states", f"stateMachine:{name}")}

    def _machines(self, stories: Sequence[StoryContract], *, home: bool) -> Iterator[AlarmProps]:
        watched = [(naming.label_ingest_state_machine(), "label-ingest-failed")]
        watched += [(naming.label_expiry_state_machine(), "label-expiry-failed"),
                    (naming.feature_join_state_machine(), "feature-join-failed")] if home else []
        for story in stories:
            watched += [(naming.retrain_state_machine(story.slug), "retrain-failed"),
                        (naming.release_state_machine(story.slug), "release-failed")]
            watched += [] if home else [(naming.receive_state_machine(story.slug), "receive-failed")]
        for name, runbook in watched:
            for metric, ending in (("ExecutionsFailed", "failed"), ("ExecutionsTimedOut", "timed-out")):
                yield AlarmProps(name=f"{name}-{ending}", says=f"An execution of {name} {ending.replace('-', ' ')}.",
                                 runbook=runbook, namespace="AWS/States", metric=metric, threshold=0,
                                 dimensions=self._machine(name))

    def _deadline(self, story: StoryContract) -> AlarmProps:
        name, limit_s = naming.retrain_state_machine(story.slug), story.schedule.done_within_s
        return AlarmProps(
            name=f"{name}-late", says=f"A run of {name} took longer than {limit_s // 3_600} hours.",
            runbook="retrain-late", namespace="AWS/States", metric="ExecutionTime", statistic="Maximum",
            threshold=limit_s * 1_000, dimensions=self._machine(name))

    @staticmethod
    def _refused(slug: str) -> AlarmProps:
        return AlarmProps(
            name=f"{naming.PROJECT}-{slug}-signed-copy-refused", runbook="signed-copy-refused",
            says=f"{slug}: what home offers was refused: not what home signed, or older than what serves.",
            namespace=metrics.NAMESPACE, metric=metrics.RETRAIN_OUTCOME, threshold=0, period_s=3_600,
            dimensions=metrics.dimensions(metrics.RETRAIN_OUTCOME, story=slug, outcome=events.REFUSED))

    @staticmethod
    def _stale(slug: str) -> AlarmProps:
        return AlarmProps(
            name=f"{naming.PROJECT}-{slug}-features-stale", runbook="features-stale", period_s=3_600,
            says=f"{slug}: a data set was joined with the last good features, for the feature store did not answer.",
            namespace=metrics.NAMESPACE, metric=metrics.FEATURES_STALE, threshold=0,
            dimensions=metrics.dimensions(metrics.FEATURES_STALE, story=slug))

    @staticmethod
    def _functions(stories: Sequence[StoryContract], *, home: bool) -> Iterator[AlarmProps]:
        """Errors of functions that no state machine waits for: nobody else would notice."""
        rooms = [("operations", functions.FREEZE_GUARD)]
        for story in stories:
            rooms += [(story.slug, functions.DRIFT_MONITOR), (story.slug, functions.DRIFT_TRIGGER)]
        for room, function in rooms:
            name = naming.function(room, function.name)
            yield AlarmProps(
                name=f"{name.replace('_', '-')}-errors", says=f"The function {name} failed; its events wait in its "
                "dead-letter queue.", runbook="function-errors", namespace="AWS/Lambda", metric="Errors", threshold=0,
                dimensions={"FunctionName": name})
        if home:
            name = naming.function("platform", functions.VENDOR_CALLBACK.name)
            yield AlarmProps(
                name=f"{name.replace('_', '-')}-errors", says=f"The function {name} failed: a vendor was told 500 and "
                "will deliver again.", runbook="function-errors", namespace="AWS/Lambda", metric="Errors", threshold=0,
                dimensions={"FunctionName": name})

    @staticmethod
    def _fallbacks(story: StoryContract) -> Iterator[AlarmProps]:
        for flag in (naming.GLOBAL_ML_FREEZE, *(flag.name for flag in story.flags)):
            yield AlarmProps(
                name=f"{naming.PROJECT}-{story.slug}-flag-{flag.replace('_', '-')}-unreadable",
                says=f"{story.slug}: the flag {flag} could not be read and its safe default was used.",
                runbook="flag-fallback", namespace=metrics.NAMESPACE, metric=metrics.FLAG_FALLBACK, threshold=0,
                dimensions=metrics.dimensions(metrics.FLAG_FALLBACK, story=story.slug, flag=flag))

    @staticmethod
    def _capture(slug: str) -> AlarmProps:
        return AlarmProps(
            name=f"{naming.capture_stream(slug)}-stale", says=f"Captures of {slug} reach S3 more than 15 minutes late.",
            runbook="capture-stale", namespace="AWS/Firehose", metric="DeliveryToS3.DataFreshness", threshold=900,
            statistic="Maximum", dimensions={"DeliveryStreamName": naming.capture_stream(slug)})
