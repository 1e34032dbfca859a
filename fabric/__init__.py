"""The online inference fabric: what a caller (the chatbot) imports to ask a model.

    from fabric import connect

    fabric = connect("intent-classifier", deployment="jp")
    answer = fabric.answer("One Piece の latest volume いつ出る?", cohort="returning", daypart="peak")
    answer["intent"], answer["source"], answer["cached"], answer["model_version"], answer["request_id"]

It gives every request an id (the caller's UUID, or a new one) and answers within the story's deadline:
from the cache when it holds what the promoted version said before, from the endpoint, or else with the
story's fallback. Every answer leaves one capture record (numbers and names, never the text) for the drift
monitors. `predict` has no fallback and raises `Unavailable`; `BadRequest` says that the caller has sent
something no model can answer, and repeating it will not help. docs/components/inference-fabric.md has the contract.
"""

from contracts.inference import BadRequest
from fabric.client import Fabric
from fabric.cohorts import cohort_now
from fabric.connect import connect
from fabric.endpoint import Unavailable

__all__ = ["BadRequest", "Fabric", "Unavailable", "cohort_now", "connect"]
