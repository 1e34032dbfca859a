"""Keys and items of the control table and the audit table, named once.

Control table: one LEASE, one POINTER and one SPEC item per story, and the fleet's DRIFT_STARTS. Audit table:
append-only, one record per event, so that the same event told twice is one record.
"""

from __future__ import annotations

# Control table
CONTROL_PARTITION_KEY, CONTROL_SORT_KEY = "story", "item"
LEASE = "LEASE"  # holder, token (fencing, only ever grows), expires_at (epoch seconds)
POINTER = "POINTER"  # what serves: version, model_uri, manifest_sha256, ..., previous
SPEC = "SPEC"  # copy of the serving spec last read, for the time when SSM is down
FLEET = "_fleet"  # in place of a story; no slug begins with an underscore
DRIFT_STARTS = "DRIFT_STARTS"  # claims (slug -> event_id, alarm, at, started), revision (only ever grows)

# Audit table; each record's link in the hash chain is beside it (contracts/audit_table.py)
AUDIT_PARTITION_KEY, AUDIT_SORT_KEY = "story", "id"  # id = run_id#what
PLATFORM = "platform"  # the audit trail's name for what concerns every story


def audit_id(run_id: str, what: str) -> str:
    return f"{run_id}#{what}"


NO_CHAMPION = "none"  # the champion's version before the first promotion
VARIANT = "champion"  # champion and candidate fleets share this one variant name
SHADOW_VARIANT = "shadow"  # the candidate while it gets copies of requests and answers nobody
