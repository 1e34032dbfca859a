"""The caller's cohort now, from the online store: by the counts and thresholds that gave training rows theirs."""

from __future__ import annotations

import logging
from typing import Any

from contracts import stories

log = logging.getLogger("mangaassist.fabric")


def cohort_now(story: str, customer_id: str, *, runtime: Any) -> str | None:
    """The `cohort` of a question: what `Fabric.answer` takes.

    `runtime` is a boto3 client of sagemaker-featurestore-runtime; give it a timeout that leaves the question its
    deadline. None when the store does not answer: a customer whom nobody could look up is not a new one.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    contract = stories.story(story)
    group, rule = contract.cohort_group, contract.cohorts
    try:
        answer = runtime.get_record(FeatureGroupName=group.resource_name, FeatureNames=[rule.feature],
                                    RecordIdentifierValueAsString=customer_id)
    except (BotoCoreError, ClientError) as error:
        log.warning("no cohort for a question to %s: %s", story, type(error).__name__)
        return None
    return rule.cohort({f["FeatureName"]: f["ValueAsString"] for f in answer.get("Record", ())})
