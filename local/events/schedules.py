"""Schedules. `rate(...)` is a wait and is divided by the clock factor; `cron(...)` and `at(...)` name moments of
the calendar in the schedule's own time zone and are kept. `fire_now` starts one out of turn.
"""

from __future__ import annotations

import datetime
import logging
import time
import zoneinfo
from typing import Any

from local.config import LocalConfig

_LOG = logging.getLogger("local.events")
_TICK_S = 0.5
_last: dict[tuple[str, str, str], float] = {}


def install(config: LocalConfig) -> None:
    from ministack.services import eventbridge, scheduler

    parse_rate = eventbridge._parse_rate_seconds

    def scaled_rate(expression: str) -> float | None:
        seconds = parse_rate(expression)
        return None if seconds is None else max(1.0, config.scaled(seconds))

    eventbridge._SCHEDULER_TICK_INTERVAL = _TICK_S
    eventbridge._parse_rate_seconds = scaled_rate
    scheduler._SCHEDULE_TICK_INTERVAL = _TICK_S
    scheduler._tick_schedules = lambda: tick(time.time())


def tick(now: float) -> None:
    """In place of scheduler._tick_schedules, which reads every cron as UTC."""
    from ministack.services import scheduler

    for key, schedule in list(scheduler._schedules._data.items()):
        if schedule.get("State") == "ENABLED" and _in_window(schedule, now) and _due(key, schedule, now):
            _last[key] = now
            _fire(key, schedule, now)


def fire_now(name: str) -> None:
    """Start the schedule of that name (or a rule with a schedule) once, whatever its expression says."""
    from ministack.services import eventbridge, scheduler

    for key, schedule in list(scheduler._schedules._data.items()):
        if key[2].rpartition("/")[2] == name:
            _fire(key, schedule, time.time())
            return
    for key, rule in list(eventbridge._rules._data.items()):
        if rule.get("Name") == name and rule.get("ScheduleExpression"):
            eventbridge._rule_last_fired[key] = 0.0
            eventbridge._tick_scheduled_rules()
            return
    known = sorted(key[2].rpartition("/")[2] for key in scheduler._schedules._data)
    raise KeyError(f"there is no schedule {name!r}; there are {known}")


def _in_window(schedule: dict[str, Any], now: float) -> bool:
    from ministack.services import scheduler

    start, end = scheduler._to_epoch(schedule.get("StartDate")), scheduler._to_epoch(schedule.get("EndDate"))
    return (start is None or now >= start) and (end is None or now <= end)


def _due(key: tuple[str, str, str], schedule: dict[str, Any], now: float) -> bool:
    from ministack.services import eventbridge

    expression = schedule.get("ScheduleExpression", "")
    zone = zoneinfo.ZoneInfo(schedule.get("ScheduleExpressionTimezone") or "UTC")
    if expression.startswith("at("):
        moment = datetime.datetime.fromisoformat(expression[3:-1]).replace(tzinfo=zone)
        return key not in _last and now >= moment.timestamp()
    interval = eventbridge._parse_rate_seconds(expression)
    if interval is not None:
        last = _last.setdefault(key, now)
        return bool(now - last >= interval)
    following = next_cron(expression, zone, _last.setdefault(key, now))
    return following is not None and now >= following.timestamp()


def next_cron(expression: str, zone: zoneinfo.ZoneInfo, after: float) -> datetime.datetime | None:
    """The first occurrence after that moment, on the wall clock of the zone."""
    from ministack.services import eventbridge

    fields = eventbridge._parse_cron_fields(expression)
    if fields is None:
        raise ValueError(f"{expression!r} is no schedule expression: cron(6 fields), rate(N unit) or at(moment)")
    # ministack's search takes a time zone's wall clock when told that it is UTC
    wall = datetime.datetime.fromtimestamp(after, tz=zone).replace(tzinfo=datetime.UTC)
    found = eventbridge._cron_next_fire(fields, wall)
    return None if found is None else found.replace(tzinfo=zone)


def _fire(key: tuple[str, str, str], schedule: dict[str, Any], now: float) -> None:
    import contextvars

    contextvars.copy_context().run(_fire_in_scope, key, schedule, now)


def _fire_in_scope(key: tuple[str, str, str], schedule: dict[str, Any], now: float) -> None:
    from ministack.core.responses import new_uuid, set_request_account_id, set_request_region
    from ministack.services import eventbridge, scheduler

    account, region, _ = key
    set_request_account_id(account)
    set_request_region(region)
    event = {"EventId": new_uuid(), "Source": "aws.scheduler", "DetailType": "Scheduled Event", "Detail": "{}",
             "Time": now, "Resources": [schedule.get("Arn", "")], "Account": account, "Region": region}
    eventbridge._invoke_target(schedule.get("Target") or {}, event, schedule)
    if schedule.get("ActionAfterCompletion") == "DELETE" and schedule["ScheduleExpression"].startswith("at("):
        scheduler._schedules._data.pop(key, None)
