"""The concerns that every story shares, as rules over the synthesised templates; listed in docs/components/rules.md."""

from __future__ import annotations

from mlplatform.rules import alarms, encryption, grants, outlets, payloads, regions, serving, stories, workflows
from mlplatform.rules.plugin import RulePack
from mlplatform.rules.rule import Acknowledged, Finding, Rule

RULES: tuple[Rule, ...] = (
    regions.own_region, regions.bucket_one_region, regions.dashboards,
    outlets.replication, outlets.exports, outlets.hidden, outlets.subscriptions, outlets.inference, outlets.trails,
    grants.grants, payloads.execution_data, payloads.payload_capture, payloads.notifications,
    encryption.stores, encryption.jobs,
    serving.guardrails, serving.model_isolation, serving.job_isolation,
    alarms.language, alarms.on_call, alarms.runbook,
    workflows.retry_and_catch,
    stories.flags, stories.dataset_schema, stories.audit_sink,
)

__all__ = ["RULES", "Acknowledged", "Finding", "Rule", "RulePack"]
