"""The comparison never turns a candidate down without evidence, and never lets a nonsense input pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_code.common.bootstrap import paired, paired_family

ROWS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_an_interval_holds_numbers_and_its_ends_in_order(rows: list[tuple[bool, bool]]) -> None:
    candidate, champion = (np.array(side, dtype=bool) for side in zip(*rows, strict=True))
    found = paired(candidate, champion, seed=1)
    assert np.isfinite([found.delta, found.lower, found.upper]).all()
    assert -1 <= found.lower <= found.upper <= 1
    assert found.rows == len(rows)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_a_candidate_that_loses_no_row_is_never_worse(rows: list[tuple[bool, bool]]) -> None:
    candidate, champion = (np.array(side, dtype=bool) for side in zip(*rows, strict=True))
    assert paired(candidate | champion, champion, seed=1).upper >= 0
    assert paired_family({"x": (candidate | champion, champion)}, seed=1).interval.upper >= 0


@settings(deadline=None, max_examples=60)
@given(values=st.lists(st.floats(allow_nan=True), min_size=1, max_size=20))
def test_numbers_in_place_of_right_or_wrong_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="boolean"):
        paired(np.array(values), np.ones(len(values), dtype=bool), seed=1)
