"""Two vendors deliver; what is good lands, what is not lies in quarantine with its reason.

The items are training rows of the material, sent out again and given back with their own labels, so that later scenes
train on what they would have trained on. One of them is first mislabelled by both vendors and then ruled on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo

from cli import audit, executions, label_tasks
from cli.labels import INGESTED
from contracts import naming
from contracts.datasets import LabelRow
from contracts.vendor_callback import VENDORS
from demo import vendors
from demo.stage import RUN_TIMEOUT_S, Stage, expect

AGREE, QUARREL = "scene-agree", "scene-quarrel"
ITEMS = 40  # kappa of fewer than 30 items per language turns nothing down
BAD = ({"item": "no-such-item", "annotator": "1", "label": "x"}, {"annotator": "1", "label": "x"}, "not a vote")
WAITING, TURNED_DOWN = "WaitingForDeliveries", "RejectedBatch"
Votes = list[Any]


def label_quarantine(stage: Stage) -> str:
    rows = sent_out(stage)
    first, second = VENDORS
    right, wrong = votes(rows), votes(rows, other=lambda n: n % 2 == 1)
    mistaken = votes(rows, other=lambda n: n == 0)
    for task in (AGREE, QUARREL):
        label_tasks.send(stage.target, task_file(stage, task, rows), story=stage.slug)
    stage.say("a call-back that was changed on its way")
    status, refused = vendors.deliver(stage.target, first, story=stage.slug, task=AGREE, votes=right, tampered=True)
    expect((status, refused.get("code")) == (401, "signature_refused"), f"it was answered {status} {refused}")
    with stage.unchanged():
        # both at once: settling a task twice, or two tasks side by side, is the same as one after the other
        for ended in settle(stage, (first, AGREE, [*mistaken, *BAD]), (first, QUARREL, right)):
            expect(ended.outcome == WAITING, f"the first of two deliveries ended as {ended.outcome}: {ended.error}")
        landed, quarrel = settle(stage, (second, AGREE, mistaken), (second, QUARREL, wrong))
        [ruled] = settle(stage, (first, AGREE, [{**right[0], "annotator": "lead", "adjudicator": True}]))
    for ended, wanted in ((landed, INGESTED), (quarrel, TURNED_DOWN), (ruled, INGESTED)):
        expect(ended.outcome == wanted, f"{ended.name} ended as {ended.outcome}: {ended.error or ended.output}")
    shown = [checked(stage, landed, {"missing_field": 1, "not_an_object": 1, "unknown_item": 1}, accepted=ITEMS)]
    shown.append(checked(stage, quarrel, {"low_agreement": ITEMS // 2, "unresolved": ITEMS // 2}, accepted=0))
    edited(stage, [landed, ruled], rows[0])
    for chain in audit.CHAINS:
        expect(audit.verify_chain(stage.target, chain).intact, f"the audit trail of {chain} is not intact")
    return (f"{first} and {second} delivered by the signed API: {'; '.join(shown)}; a label that both got wrong was "
            "ruled on, and who, when, why and before are kept; a tampered call-back was refused with 401")


def sent_out(stage: Stage) -> list[LabelRow]:
    """Training rows of one language: the golden ones judge models and stay as they are."""
    golden = {row.id for row in stage.material.golden}
    rows = sorted((row for row in stage.material.rows if row.language == "en" and row.id not in golden),
                  key=lambda row: row.id)
    step = max(1, len(rows) // ITEMS)
    expect(len(rows) >= ITEMS, f"the label file has {len(rows)} English training rows, this scene needs {ITEMS}")
    return rows[::step][:ITEMS]


def task_file(stage: Stage, name: str, rows: Sequence[LabelRow]) -> Any:
    path = stage.world.folder / f"{name}.json"
    items = [{key: value for key, value in row.to_dict().items()
              if key in ("id", "text", "language", "cohort", "daypart", "group_id") and value is not None}
             for row in rows]
    path.write_text(json.dumps({"name": name, "source": "vendor", "why": "demo: two vendors label again",
                                "by": list(VENDORS), "adjudicators": [VENDORS[0]],
                                "taxonomy": stage.material.taxonomy, "items": items}), "utf-8")
    return path


def votes(rows: Sequence[LabelRow], *, other: Callable[[int], bool] = lambda n: False) -> Votes:
    """What one annotator says of every item: the label, or another one where `other` says so."""
    labels = sorted({row.label for row in rows})
    following = dict(zip(labels, labels[1:] + labels[:1], strict=True))
    return [{"item": row.id, "annotator": "1", "label": following[row.label] if other(n) else row.label}
            for n, row in enumerate(rows)]


def settle(stage: Stage, *deliveries: tuple[str, str, Votes]) -> list[executions.Finished]:
    """(vendor, task, votes) each -> the execution that the delivery's arrival started, at its end."""
    started = []
    for vendor, task, said in deliveries:
        status, answer = vendors.deliver(stage.target, vendor, story=stage.slug, task=task, votes=said)
        expect(status == 202, f"{vendor}'s delivery to {task} was answered {status} {answer}")
        stage.say(f"{vendor} delivered {answer['batch_id']} to {task}")
        key = naming.delivery_key(stage.slug, task, answer["batch_id"])
        started.append(executions.started_with(stage.target, naming.label_ingest_state_machine(), {"key": key}))
    return [executions.wait(stage.target, arn, timeout_s=RUN_TIMEOUT_S) for arn in started]


def checked(stage: Stage, ended: executions.Finished, reasons: dict[str, int], *, accepted: int) -> str:
    """Answer, quarantine and agreement of a settled task tell the same; in words."""
    answer = ended.output["ingest"]
    folder = naming.quarantine_prefix(stage.slug, ended.output["batch_id"])
    s3, bucket = stage.target.client("s3"), stage.target.bucket(naming.LAKE)
    lines = s3.get_object(Bucket=bucket, Key=f"{folder}bad_rows.jsonl")["Body"].read().decode().splitlines()
    expect((answer["rows"], answer["reasons"]) == (accepted, reasons), f"settled as {answer}")
    expect(len(lines) == sum(reasons.values()), f"{len(lines)} rows lie in quarantine, the counts are {reasons}")
    [agreement] = table(stage, naming.IAA_METRICS, answer["batch"])
    expect(round(agreement["kappa"], 4) == answer["kappa"]["en"], f"iaa_metrics says {agreement}")
    counts = ", ".join(f"{name} {n}" for name, n in reasons.items())
    return f"{accepted} rows landed at kappa {agreement['kappa']:.2f} and {len(lines)} were quarantined ({counts})"


def edited(stage: Stage, settled: Sequence[executions.Finished], row: LabelRow) -> None:
    found = [edit for ended in settled for edit in table(stage, naming.LABEL_EDITS, ended.output["ingest"]["batch"])]
    kept = [(edit["id"], edit["before"]) for edit in found]
    expect(len(kept) == 2 and {id_ for id_, _ in kept} == {row.id} and kept[0][1] == row.label,
           f"label_edits has {kept}, wanted the mistake and the ruling on {row.id}")
    expect(all(edit["who"] and edit["why"] and edit["at"] for edit in found), "an edit lacks who, when or why")
    ids = stage.audit_ids()
    expect(all(any(ended.output["batch_id"] in id_ for id_ in ids) for ended in settled), "an edit is not audited")


def table(stage: Stage, name: str, batch: str) -> list[dict[str, Any]]:
    """One batch's rows of an Iceberg table."""
    url, region = str(stage.target.endpoint_url), stage.target.deployment.region
    keys = {"access-key-id": "test", "secret-access-key": "test"}
    catalog = load_catalog("lake", type="glue", **{
        "glue.endpoint": url, "glue.region": region, "s3.endpoint": url, "s3.region": region,
        **{f"{service}.{key}": value for service in ("glue", "s3") for key, value in keys.items()}})
    found = catalog.load_table(f"{naming.GLUE_DATABASE}.{name}")
    return list(found.scan(row_filter=EqualTo("batch_id", batch)).to_arrow().to_pylist())  # type: ignore[arg-type,call-arg]
