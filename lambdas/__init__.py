"""One folder per function: `handler.py` wires, `logic.py` decides, `aws.py` (where needed) speaks to AWS.

Every function can run twice with the same result, so none uses Powertools' idempotency store:
conditional writes (lease, audit, promote), names made from ids (drift_trigger, release_plan),
content addresses (publish), client tokens (image_builder), describe-first (publish, release_check)
and plain reads (kill_switches, run_plan, judge) already guarantee it. What a repeat may do is
repeat a data point of a metric whose alarm looks at the maximum (drift_monitor, freeze_guard).
"""
