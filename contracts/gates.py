"""Evaluation report x champion x contract -> one verdict with reasons.

The evaluation report is the only thing the gates read. Missing evidence fails: a metric that is
absent or NaN, a slice with too few golden rows, a comparison that was never made.

A comparison with the champion is a paired bootstrap (Efron & Tibshirani 1993) made by evaluate.py:
the candidate is turned down only when it is worse *beyond doubt* (upper end of the interval below
the allowed drop). Asking every point estimate to be no worse would turn down half of all equal
candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from contracts.taxonomies import Taxonomy, slice_key

Report = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class MetricGate:
    """A number of the report that must lie in a range. `path` is dotted: `metrics.macro_f1`."""

    name: str
    path: str
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def limit(self) -> str:
        parts = []
        if self.at_least > -math.inf:
            parts.append(f">= {self.at_least:g}")
        if self.at_most < math.inf:
            parts.append(f"<= {self.at_most:g}")
        return " and ".join(parts)


@dataclass(frozen=True, kw_only=True)
class SliceGate:
    """A metric that must hold in every slice the taxonomy requires, each with `min_rows` golden rows."""

    name: str
    metric: str
    at_least: float
    min_rows: int


@dataclass(frozen=True, kw_only=True)
class ComparisonGate:
    """Candidate minus champion on one paired comparison; passes on a first promotion (no champion).

    `allowed_drop` in the comparison's unit (accuracy points as 0..1). `min_rows` pairs are needed.
    """

    name: str
    comparison: str
    allowed_drop: float
    min_rows: int


Gate = MetricGate | SliceGate | ComparisonGate


@dataclass(frozen=True, kw_only=True)
class GateResult:
    name: str
    value: float | None
    limit: str
    passed: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    passed: bool
    gates: tuple[GateResult, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(g.name for g in self.gates if not g.passed)

    def reasons(self) -> tuple[str, ...]:
        return tuple(f"{g.name}: {g.reason}" for g in self.gates if not g.passed)

    def to_dict(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "failed": list(self.failed),
            "reasons": list(self.reasons()),
            "gates": [asdict(g) for g in self.gates],
        }


def lookup(report: Report, path: str) -> float | None:
    """The number at a dotted path; None when absent, not a number, NaN or infinite."""
    node: Any = report
    for part in path.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None
        node = node[part]
    if isinstance(node, bool) or not isinstance(node, int | float):
        return None
    try:
        value = float(node)
    except OverflowError:  # JSON knows no largest integer
        return None
    return value if math.isfinite(value) else None


def _entry(report: Report, group: str, key: str) -> Mapping[str, Any] | None:
    """One slice or comparison of the report; its key holds dots and commas, so it is no path."""
    entries = report.get(group)
    found = entries.get(key) if isinstance(entries, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _judge_metric(gate: MetricGate, report: Report) -> GateResult:
    value = lookup(report, gate.path)
    if value is None:
        return GateResult(
            name=gate.name,
            value=None,
            limit=gate.limit,
            passed=False,
            reason=f"no evidence: the report has no number at {gate.path}",
        )
    passed = gate.at_least <= value <= gate.at_most
    return GateResult(
        name=gate.name,
        value=value,
        limit=gate.limit,
        passed=passed,
        reason="" if passed else f"must be {gate.limit}, got {value:.4g}",
    )


def _judge_slice(gate: SliceGate, key: str, report: Report) -> GateResult:
    name, limit = f"{gate.name}[{key}]", f">= {gate.at_least:g} on >= {gate.min_rows} rows"
    found = _entry(report, "slices", key)
    rows = lookup(found, "rows") if found is not None else None
    if found is None or rows is None or rows < gate.min_rows:
        return GateResult(
            name=name,
            value=None,
            limit=limit,
            passed=False,
            reason=f"no evidence: {int(rows or 0)} golden rows, needs {gate.min_rows}",
        )
    value = lookup(found, gate.metric)
    if value is None:
        return GateResult(
            name=name, value=None, limit=limit, passed=False, reason=f"no evidence: no {gate.metric}"
        )
    passed = value >= gate.at_least
    return GateResult(
        name=name,
        value=value,
        limit=limit,
        passed=passed,
        reason="" if passed else f"must be >= {gate.at_least:g}, got {value:.4g}",
    )


def _judge_comparison(gate: ComparisonGate, report: Report, *, has_champion: bool) -> GateResult:
    limit = f"drop <= {gate.allowed_drop:g}, not beyond doubt, on >= {gate.min_rows} pairs"
    if not has_champion:
        return GateResult(name=gate.name, value=None, limit=limit, passed=True, reason="")
    found = _entry(report, "comparison", gate.comparison)
    if found is None:
        return GateResult(
            name=gate.name,
            value=None,
            limit=limit,
            passed=False,
            reason=f"no evidence: comparison {gate.comparison!r} with the champion was not made",
        )
    rows, delta, upper = (lookup(found, k) for k in ("rows", "delta", "upper"))
    if rows is None or rows < gate.min_rows or delta is None or upper is None:
        return GateResult(
            name=gate.name,
            value=delta,
            limit=limit,
            passed=False,
            reason=f"no evidence: {int(rows or 0)} paired rows, needs {gate.min_rows}",
        )
    passed = upper >= -gate.allowed_drop
    where = f" (worst: {found['worst']})" if found.get("worst") else ""
    return GateResult(
        name=gate.name,
        value=delta,
        limit=limit,
        passed=passed,
        reason=""
        if passed
        else f"worse than the champion beyond doubt: {delta:+.4f}, at best {upper:+.4f}{where}",
    )


def judge(
    report: Report, *, gates: Sequence[Gate], taxonomy: Taxonomy, champion_version: str | None
) -> Verdict:
    """One verdict. The report must have compared with the very champion that serves now.

    Parameters
    ----------
    champion_version : the pointer's version, None when the model was never promoted.
    """
    results: list[GateResult] = []
    compared = (
        (report.get("champion") or {}).get("version") if isinstance(report.get("champion"), Mapping) else None
    )
    # The text "None" is a version, if a strange one, and not "no champion".
    if (None if compared is None else str(compared)) != champion_version:
        results.append(
            GateResult(
                name="champion_is_current",
                value=None,
                limit=f"compared with version {champion_version}",
                passed=False,
                reason=f"the report compared with {compared or 'no champion'}, "
                f"but {champion_version or 'nothing'} serves",
            )
        )
    for gate in gates:
        if isinstance(gate, MetricGate):
            results.append(_judge_metric(gate, report))
        elif isinstance(gate, SliceGate):
            required = taxonomy.required_slices()
            results.extend(_judge_slice(gate, slice_key(s), report) for s in required)
        elif gate.comparison != "safety_critical" or taxonomy.safety_critical:
            results.append(_judge_comparison(gate, report, has_champion=champion_version is not None))
    passed = bool(results) and all(r.passed for r in results)
    return Verdict(passed=passed, gates=tuple(results))
