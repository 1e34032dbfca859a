"""The online inference fabric: what a caller (the chatbot) imports to ask a model.

    from fabric import Fabric, Unavailable

    fabric = Fabric("intent-classifier", deadline_ms=150)
    answer = fabric.predict("One Piece の latest volume いつ出る?", cohort="returning", daypart="peak")
    answer["intent"], answer["confidence"], answer["model_version"], answer["request_id"]

It gives every request an id (the caller's UUID, or a new one), asks the endpoint within the
deadline, and files one capture record (numbers and names, never the text) for the drift monitors.
A caller that gets `Unavailable` uses its own fallback; one that gets `BadRequest` has sent
something no model can answer, and repeating it will not help.
"""

from contracts.inference import BadRequest
from fabric.client import Fabric, Unavailable

__all__ = ["BadRequest", "Fabric", "Unavailable"]
