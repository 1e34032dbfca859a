"""`labels ingest`: check a label file here, then hand it to the label-ingest state machine.

The same rules run again in the ingest job; checking here first tells the operator at once, and is the
only place where an offending value may be shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.executions import Finished, start_once, wait
from cli.target import Target
from contracts import naming
from contracts.datasets import MAX_BAD_SHARE, LabelFileError, Validation, declared_taxonomy, validate_lines

INGEST_TIMEOUT_S = 900.0
INGESTED_BY_HAND = "label file ingested by hand"
INGESTED = "Ingested"  # the good end of the label-ingest machine


@dataclass(frozen=True, kw_only=True)
class Ingest:
    batch_id: str
    validation: Validation
    execution: Finished


def check(path: Path, *, on_row: Callable[[int], None] = lambda row: None) -> Validation:
    """Validate a file; CliError when it can't be used at all."""
    if not path.is_file():
        raise CliError(f"{path}: there is no such file")
    try:
        with path.open("rb") as lines:
            return validate_lines(lines, file=path.name, taxonomy=declared_taxonomy(path), on_row=on_row)
    except LabelFileError as error:
        raise CliError(str(error)) from None


def refuse_when_too_bad(validation: Validation) -> None:
    if validation.too_many_bad:
        raise CliError(
            f"{validation.file}: {validation.bad_share:.1%} of {validation.total} rows are bad, at most "
            f"{MAX_BAD_SHARE:.0%} may be; nothing was uploaded. Mend the rows above and run the "
            "command again."
        )


def ingest(
    target: Target,
    path: Path,
    *,
    story: str,
    validation: Validation,
    reason: str = INGESTED_BY_HAND,
    on_state: Callable[[str], None] = lambda state: None,
) -> Ingest:
    """Upload and ingest. The batch id is the file's digest, so the same file twice is ingested once.

    Rows that change labels are recorded as edits by the caller, for `reason`.
    """
    body = path.read_bytes()
    batch_id = hashlib.sha256(body).hexdigest()[:16]
    s3, bucket = target.client("s3"), target.bucket(naming.LAKE)
    beside = path.with_suffix(".taxonomy.json")
    if beside.exists():
        s3.put_object(Bucket=bucket, Key=naming.incoming_taxonomy(story, batch_id), Body=beside.read_bytes())
    provenance = {"who": target.client("sts").get_caller_identity()["Arn"], "why": reason}
    s3.put_object(Bucket=bucket, Key=naming.incoming_provenance(story, batch_id), Body=json.dumps(provenance).encode())
    s3.put_object(Bucket=bucket, Key=naming.incoming_labels(story, batch_id), Body=body)
    name = naming.execution_name("labels", f"{story}-{batch_id}")
    arn = start_once(target, naming.label_ingest_state_machine(), {"story": story, "batch_id": batch_id}, name=name)
    return Ingest(
        batch_id=batch_id,
        validation=validation,
        execution=wait(target, arn, timeout_s=INGEST_TIMEOUT_S, on_state=on_state),
    )
