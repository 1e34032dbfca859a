import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from demo import page, report

SAMPLE = Path(__file__).parent / "report.json"


@pytest.fixture
def found() -> dict[str, Any]:
    return {
        "region": "ap-northeast-1",
        "dataset": "snips",
        "seconds": 61.0,
        "scenes": [
            {"name": "deploy", "passed": True, "detail": "four stacks", "seconds": 9.0},
            {"name": "serve", "passed": False, "detail": "<script>alert(1)</script>", "seconds": 1.0},
        ],
        "stories": {
            "intent-classifier": {
                "executions": [
                    {"name": "manual-1", "outcome": "Promoted", "seconds": 8.0, "states": ["A", "B", "A"]}
                ],
                "metrics": {
                    "all": {"macro_accuracy": 0.971},
                    "language=en": {"rows": 277, "accuracy": 0.97, "macro_f1": 0.96},
                },
                "gates": [{"name": "macro_accuracy", "value": 0.971, "limit": ">= 0.9", "passed": True}],
                "promoted_version": "1",
                "serving": {"p50_ms": 4.0, "p95_ms": 6.0, "p99_ms": 9.0, "requests": 300},
            }
        },
        "data": {"kind": "made", "licence": "none", "rows": 693, "golden": 277, "taxonomy": "snips-v1"},
        "timings": {"deploy": 9.0},
    }


class References(HTMLParser):
    """Every address that a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_loads_nothing_from_outside(found: dict[str, Any]) -> None:
    parser = References()
    parser.feed(page.render(found))
    assert parser.found == []
    assert "url(http" not in page.render(found)


def test_the_page_says_when_its_data_was_made(found: dict[str, Any]) -> None:
    assert "data we made" in page.render(found)


def test_what_a_scene_says_can_not_become_markup(found: dict[str, Any]) -> None:
    assert "<script>" not in page.render(found)


def test_the_page_can_be_made_when_nothing_was_promoted(found: dict[str, Any]) -> None:
    story = found["stories"]["intent-classifier"]
    story |= {
        "promoted_version": None,
        "gates": [],
        "metrics": {"all": {}},
        "executions": [],
        "serving": {"p50_ms": None, "p95_ms": None, "p99_ms": None, "requests": 0},
    }
    assert "nothing was promoted" in page.render(found)


def test_a_run_is_folded_into_how_many_states_and_how_it_ended(found: dict[str, Any]) -> None:
    html = page.render(found)
    assert "<details><summary>3 states, ended Promoted</summary><p>A → B → A</p></details>" in html


def test_a_gate_shows_its_value_beside_its_limit_which_is_always_in_the_same_place() -> None:
    def width(value: float | None, limit: str) -> str:
        return page.gauge({"value": value, "limit": limit})

    assert "width:66.7%" in width(15, "<= 15")
    assert "width:33.3%" in width(0.45, ">= 0.9")
    assert "width:100.0%" in width(1000, "<= 1.5")
    assert width(None, ">= 0.9") == "", "no evidence"
    assert width(-0.002, "drop <= 0.01, not beyond doubt, on >= 200 pairs") == "", "a comparison is no plain limit"


def test_a_report_as_a_demo_leaves_it_is_shown_whole() -> None:
    sample = json.loads(SAMPLE.read_text("utf-8"))
    html = page.render(sample)
    (story,) = sample["stories"].values()
    assert html.count("<details>") == len(story["executions"])
    assert html.count('class="gauge"') == len(story["gates"]) - 1, "all but the comparison with the champion"
    assert "12<small>/13</small>" in html
    assert "data we made" in html
    for shown in (*sample["scenes"], *story["gates"], *story["executions"]):
        assert shown["name"] in html


def test_a_new_report_replaces_the_old_one_whole(found: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "demo"
    out.mkdir()
    (out / "left-over.txt").write_text("old")
    report.write(found, out)
    assert json.loads((out / "report.json").read_text())["dataset"] == "snips"
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "report.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_a_report_that_can_not_be_rendered_leaves_the_old_one(found: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "demo"
    report.write(found, out)
    broken = {**found, "stories": {}}
    with pytest.raises(StopIteration):
        report.write(broken, out)
    assert json.loads((out / "report.json").read_text())["stories"]
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_the_fault_matrix_is_shown_by_kind_when_it_was_measured_and_not_at_all_when_not(
        found: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "fault_matrix.json"
    assert report.fault_matrix(path) is None
    assert "pairs held" not in page.render({**found, "fault_matrix": None})
    pairs = [{"kind": "answer_lost", "state": state} for state in ("held", "held", "broken", "not applicable")]
    path.write_text(json.dumps({"kinds": {"answer_lost": "its answer is lost"}, "pairs": pairs,
                                "pairs_not_applicable": 1}))
    shown = page.render({**found, "fault_matrix": report.fault_matrix(path)})
    assert "2 of 3 pairs held" in shown
    assert "<td>answer lost</td><td>its answer is lost</td><td><b>2</b> of 3</td>" in shown
