"""Drift: an hourly look at what was captured, alarms per monitor and language, a retrain at home.

SageMaker Model Monitor is closed to new customers, so the monitor is a function of ours that puts
metrics. A window with too few requests puts no PSI: the alarm then sees missing data, not calm, and
an alarm of its own rings when that lasts a day. How many looks an alarm needs says the alarm budget.
"""

from __future__ import annotations

from dataclasses import dataclass

from constructs import Construct
from contracts import metrics, naming
from contracts.alarm_budget import LOOK_EVERY_S, alarm_rule
from contracts.deployments import Deployment
from contracts.language import LANGUAGES
from contracts.story import DriftMonitor as Monitor
from contracts.story import StoryContract
from mlplatform.eventing import FunctionRule, Schedule, alarm_rings
from mlplatform.on_call import AlarmProps, alarm
from mlplatform.platform_function import PlatformFunction

_DAY_S = 86_400


@dataclass(frozen=True, kw_only=True)
class DriftMonitorProps:
    story: StoryContract
    deployment: Deployment
    monitor: PlatformFunction
    trigger: PlatformFunction
    topic_arn: str


class DriftMonitor(Construct):
    def __init__(self, scope: Construct, id_: str, *, props: DriftMonitorProps) -> None:
        super().__init__(scope, id_)
        story, slug = props.story, props.story.slug
        # When the last requests of the hour have been filed; all looks cut time at full hours, so hours add up.
        Schedule(self, "Hourly", name=f"{naming.PROJECT}-{slug}-drift", expression="cron(5 * * * ? *)", time_zone="UTC",
                 target_arn=props.monitor.arn, action="lambda:InvokeFunction", body={"story": slug})
        for monitor in story.monitors:
            for language in LANGUAGES:
                alarm(self, f"{naming.pascal(monitor.name)}{naming.pascal(language)}",
                      _drift_alarm(slug, monitor, language), topic_arn=props.topic_arn)
                if alarm_rule(monitor).of > 1:
                    alarm(self, f"{naming.pascal(monitor.name)}Sustained{naming.pascal(language)}",
                          _sustained_alarm(slug, monitor, language), topic_arn=props.topic_arn)
        for language in LANGUAGES:
            alarm(self, f"Unjudged{naming.pascal(language)}", _unjudged_alarm(slug, story.monitors[0], language),
                  topic_arn=props.topic_arn)
        alarm(self, "Silent", _silence_alarm(slug, story.monitors[0]), topic_arn=props.topic_arn)
        if props.deployment.home:
            # Elsewhere a drift alarm pages; only home can answer it with a retrain.
            FunctionRule(self, "Trigger", says=f"A drift alarm of {slug} asks for a retrain",
                         pattern=alarm_rings(naming.drift_alarm(slug, "", "").rstrip("-") + "-"),
                         function=props.trigger)
            # In a storm a story's start may have been deferred; its alarm stays up and says nothing more.
            Schedule(self, "Deferred", name=f"{naming.PROJECT}-{slug}-drift-deferred", expression="rate(1 hour)",
                     time_zone="UTC", target_arn=props.trigger.arn, action="lambda:InvokeFunction",
                     body={"story": slug, "retry": True})


def _drift_alarm(slug: str, monitor: Monitor, language: str) -> AlarmProps:
    concept = monitor.kind == "concept"
    metric = metrics.CONCEPT_F1_DROP if concept else metrics.INPUT_PSI
    extra = {} if concept else {"monitor": monitor.name}
    return AlarmProps(
        name=naming.drift_alarm(slug, monitor.name, language), runbook=f"drift-{monitor.name}",
        says=f"{slug}: {monitor.name} drift in {language} traffic is above {monitor.threshold:g}.",
        namespace=metrics.NAMESPACE, metric=metric, statistic="Maximum", threshold=monitor.threshold,
        dimensions=metrics.dimensions(metric, story=slug, language=language, **extra),
        # The monitor looks every hour, whatever the window is that it looks at.
        period_s=min(monitor.window_s, 3_600), periods=1, datapoints=1, missing="ignore", notify_ok=True,
    )


def _sustained_alarm(slug: str, monitor: Monitor, language: str) -> AlarmProps:
    """A shift that one look can't tell from chance, seen at several."""
    rule = alarm_rule(monitor)
    return AlarmProps(
        name=naming.drift_alarm(slug, f"{monitor.name}-sustained", language), runbook=f"drift-{monitor.name}",
        says=f"{slug}: {monitor.name} drift in {language} traffic was above {monitor.threshold:g} at {rule.required} "
             f"of {rule.of} looks.",
        namespace=metrics.NAMESPACE, metric=metrics.SUSTAINED_PSI, statistic="Maximum", threshold=monitor.threshold,
        dimensions=metrics.dimensions(metrics.SUSTAINED_PSI, story=slug, language=language, monitor=monitor.name),
        period_s=LOOK_EVERY_S, periods=rule.of, datapoints=rule.required, missing="ignore", notify_ok=True,
    )


def _unjudged_alarm(slug: str, monitor: Monitor, language: str) -> AlarmProps:
    """Every look of a day had too little to judge. A language without traffic and reference has no data point."""
    return AlarmProps(
        name=f"{naming.PROJECT}-{slug}-unjudged-{language}", runbook="drift-unjudged",
        says=f"{slug}: for a day no window of {language} traffic could be judged for drift.",
        namespace=metrics.NAMESPACE, metric=metrics.UNJUDGED_WINDOW, statistic="Minimum", threshold=0,
        dimensions=metrics.dimensions(metrics.UNJUDGED_WINDOW, story=slug, language=language, monitor=monitor.name),
        period_s=LOOK_EVERY_S, periods=_DAY_S // LOOK_EVERY_S, datapoints=_DAY_S // LOOK_EVERY_S, missing="missing",
        notify_ok=True,
    )


def _silence_alarm(slug: str, monitor: Monitor) -> AlarmProps:
    """No look at all for a day: the contract promises to notice drift within that time."""
    return AlarmProps(
        name=f"{naming.PROJECT}-{slug}-drift-monitor-silent", runbook="drift-monitor-silent",
        says=f"{slug}: the drift monitor has reported nothing for a day.", namespace=metrics.NAMESPACE,
        metric=metrics.WINDOW_REQUESTS, statistic="SampleCount", threshold=1, comparison="LessThanThreshold",
        dimensions=metrics.dimensions(metrics.WINDOW_REQUESTS, story=slug, language=LANGUAGES[0],
                                      monitor=monitor.name),
        period_s=_DAY_S, missing="breaching",
    )
