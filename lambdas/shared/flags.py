"""Kill switches as they are now: always a fresh read, unreadable means the contract's safe default."""

from __future__ import annotations

from typing import Any

from contracts import metrics, stories
from contracts.kill_switches import GLOBAL_FREEZE, Decision, Flag, decide
from lambdas.shared.aws import client
from lambdas.shared.observability import count, logger

# A flag that takes longer than this to read counts as unreadable: the release must not hang on SSM.
SSM_TIMEOUT_S, SSM_ATTEMPTS = 2, 2


def ssm_client() -> Any:
    return client("ssm", read_timeout_s=SSM_TIMEOUT_S, attempts=SSM_ATTEMPTS)


def read_flags(flags: tuple[Flag, ...]) -> dict[str, str | None]:
    """Flag name -> stored text, or None where it could not be read."""
    from aws_lambda_powertools.utilities.parameters import SSMProvider
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError

    from lambdas.shared.aws import aws_errors

    by_parameter = {flag.parameter: flag.name for flag in flags}
    try:
        found = SSMProvider(boto3_client=ssm_client()).get_parameters_by_name(
            parameters={name: {} for name in by_parameter}, max_age=0, raise_on_error=False
        )
    except (GetParameterError, *aws_errors()) as error:
        logger.warning("flags could not be read", error=type(error).__name__)
        found = {}
    return {flag: _text(found.get(parameter)) for parameter, flag in by_parameter.items()}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def current_decision(slug: str) -> Decision:
    """What may be done now; every flag that fell back to its default shows in a metric."""
    story = stories.story(slug)
    readings = read_flags((GLOBAL_FREEZE, *story.flags))
    decision = decide(readings, slug=slug, techniques=story.techniques)
    for flag in decision.fallbacks:
        count(metrics.FLAG_FALLBACK, story=slug, flag=flag)
    logger.info("switches", mode=str(decision.mode), fallbacks=list(decision.fallbacks))
    return decision
