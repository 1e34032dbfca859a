"""The tables of docs/components/rules.md, made from the rules and the acknowledgements themselves."""

from __future__ import annotations

import re

from mlplatform.rules import RULES, Acknowledged

from stacks.nist_acknowledgements import NIST_ACKNOWLEDGEMENTS
from stacks.rule_acknowledgements import RULE_ACKNOWLEDGEMENTS
from tests.infrastructure.conftest import ROOT

PAGE = ROOT / "docs" / "components" / "rules.md"
_MADE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def page(written: str) -> str:
    """The page with each table between its marks made anew."""
    tables = {"rules": _rules(), "ours": _acknowledged(RULE_ACKNOWLEDGEMENTS),
              "nist": _acknowledged(NIST_ACKNOWLEDGEMENTS)}
    assert [name for _, name, _ in _MADE.findall(written)] == list(tables), "a table's marks are missing"
    return _MADE.sub(lambda m: f"{m.group(1)}{tables[m.group(2)]}{m.group(3)}", written)


def _rules() -> str:
    lines, concern = [], ""
    for rule in RULES:
        if rule.concern != concern:
            lines += [*([""] if lines else []), f"### {rule.concern[0].upper()}{rule.concern[1:]}", "",
                      "| rule | why | how to mend |", "|---|---|---|"]
            concern = rule.concern
        lines.append(f"| `{rule.id}` | {_cell(rule.why)} | {_cell(rule.mend)} |")
    return "\n".join(lines) + "\n"


def _acknowledged(rows: tuple[Acknowledged, ...]) -> str:
    lines = ["| finding | at | because |", "|---|---|---|"]
    lines += [f"| `{row.finding}` | {'<br>'.join(f'`{p}`' for p in row.at)} | {_cell(row.because)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
