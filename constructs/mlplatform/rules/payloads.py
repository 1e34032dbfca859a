"""Residency and redaction: logs, traces and notifications carry names, ids and lengths, never a payload."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mlplatform.rules.regions import RESIDENCY
from mlplatform.rules.rule import Finding, rule
from mlplatform.rules.templates import Deployed, strings
from mlplatform.rules.workflows import MACHINE, states

REDACTION = "PII redaction at the boundary (before training, embedding, archiving)"
_CAPTURES = {
    "POWERTOOLS_TRACER_CAPTURE_RESPONSE", "POWERTOOLS_TRACER_CAPTURE_ERROR", "POWERTOOLS_LOGGER_LOG_EVENT",
    "POWERTOOLS_DEBUG", "POWERTOOLS_DEV",
}
_OFF = {"", "0", "false", "no", "n", "off"}
# The whole input, or what an error says, which may quote a customer.
_QUOTES = re.compile(r"\$(?![.\w$])|\$\$?\.?[\w.]*(?:Cause|errorMessage|\.text\b|\.utterance\b)|"
                     r"\$\$\.Execution\.Input\b")


@rule("NoExecutionDataInLogs", concern=RESIDENCY,
      why="execution data is whatever a state was handed, customer text included, and logs are shipped and shared",
      mend="LoggingConfiguration.IncludeExecutionData: false; the log still names every state and error")
def execution_data(deployed: Deployed) -> Iterator[Finding]:
    for machine in deployed.of_type(MACHINE):
        if machine.get("LoggingConfiguration.IncludeExecutionData"):
            yield Finding(on=machine, where="Properties.LoggingConfiguration.IncludeExecutionData", what="is true")


@rule("NoPayloadCapture", concern=REDACTION,
      why="powertools would write each response, error text or event into X-Ray and the logs",
      mend="leave the setting out, or set it to \"false\"")
def payload_capture(deployed: Deployed) -> Iterator[Finding]:
    for function in deployed.of_type("AWS::Lambda::Function"):
        for name, value in (function.get("Environment.Variables") or {}).items():
            if name in _CAPTURES and function.stack.text(value).lower() not in _OFF:
                yield Finding(on=function, where=f"Properties.Environment.Variables.{name}", what=f"is {value!r}")


@rule("NotificationsNameOnly", concern=REDACTION,
      why="an error's cause or a whole input may quote a customer, and a topic's subscribers sit anywhere",
      mend="build the message of names and ids: story, run, error name, execution (asl.notify)")
def notifications(deployed: Deployed) -> Iterator[Finding]:
    for machine in deployed.of_type(MACHINE):
        for name, state in states(machine.document):
            if "sns:publish" not in state.get("Resource", ""):
                continue
            for where, text in strings(state.get("Parameters", {}), f"States.{name}.Parameters"):
                quoted = _QUOTES.search(text) if where.endswith(".$") else None
                if quoted:
                    yield Finding(on=machine, where=where, what=f"sends {quoted.group()!r}")
