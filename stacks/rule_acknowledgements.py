"""Findings of our own rules that stay, one by one, each with its reason. The rules: constructs/mlplatform/rules.

Synth reads this table: what is listed here passes, everything else stops it. A test finds rows that cover
nothing any more.
"""

from __future__ import annotations

from mlplatform.rules import Acknowledged

_DEAD_LETTERS = ("holds events of ours that could not be delivered: names of alarms, flags, stories, runs and objects, "
                 "never a customer's data; EventBridge, Scheduler and Lambda all write under SSE-SQS")
_AWS_METRIC = ("SageMaker's own metric knows no language, and it must count every request, those included that never "
               "reached our code: drift alarms carry the languages")

RULE_ACKNOWLEDGEMENTS: tuple[Acknowledged, ...] = (
    Acknowledged(finding="EncryptedWithOwnKey", at=("Data/Buckets/AccessLogs/Resource",),
                 because="S3 delivers access logs only to buckets with SSE-S3; they hold object keys, not objects"),
    Acknowledged(finding="EncryptedWithOwnKey", because=_DEAD_LETTERS,
                 at=("*/Functions/Room/DriftMonitor/DeadLetters/Resource",
                     "*/Functions/Room/DriftTrigger/DeadLetters/Resource",
                     "Platform/Functions/Room/AuditCheckpoint/DeadLetters/Resource",
                     "Operations/FreezeGuard/Room/FreezeGuard/DeadLetters/Resource")),
    Acknowledged(finding="EncryptedWithOwnKey", because=_DEAD_LETTERS,
                 at=("*/Retrain/Weekly/Undelivered/Resource", "*/Retrain/SpecChange/Undelivered/Resource",
                     "*/Drift/Hourly/Undelivered/Resource", "*/Drift/Trigger/Undelivered/Resource",
                     "*/Receive/Hourly/Undelivered/Resource",
                     "*/Drift/Deferred/Undelivered/Resource", "Platform/Functions/SignAuditHeads/Undelivered/Resource",
                     "Operations/FreezeGuard/OnFreeze/Undelivered/Resource",
                     "Platform/LabelInbox/OnDelivery/Undelivered/Resource",
                     "Platform/LabelExpiry/Weekly/Undelivered/Resource")),
    Acknowledged(finding="JobNetworkIsolation", at=("Platform/LabelIngest/Machine/Default",
                                                    "Platform/LabelExpiry/Machine/Default",
                                                    "*/Retrain/Machine/Default"),
                 because="the label jobs run no model: they read and write Iceberg tables, and so call Glue; with "
                         "`full_private` they do so inside the VPC"),
    Acknowledged(finding="AlarmLanguage", at=("*/Endpoint/GuardrailErrors", "*/Endpoint/GuardrailLatency"),
                 because=_AWS_METRIC),
    Acknowledged(finding="AlarmLanguage", at=("*/Endpoint/SloP95", "*/Endpoint/SloP99"), because=_AWS_METRIC),
    Acknowledged(finding="AlarmLanguage", at=("Operations/Alarms/*Failed", "Operations/Alarms/*TimedOut",
                                              "Operations/Alarms/*RetrainLate"),
                 because="about an execution of a state machine, not about requests"),
    Acknowledged(finding="AlarmLanguage", at=("Operations/Alarms/OperationsFreezeGuardErrors",
                                              "Operations/Alarms/*DriftMonitorErrors",
                                              "Operations/Alarms/*DriftTriggerErrors",
                                              "Operations/Alarms/PlatformVendorCallbackErrors"),
                 because="about a function that no customer's request reaches"),
    Acknowledged(finding="AlarmLanguage", at=("Operations/Alarms/*CaptureStale",),
                 because="about one stream that carries all languages: late is late for each of them"),
)
