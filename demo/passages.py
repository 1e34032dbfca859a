"""The states that an execution passed through, short enough to read: a polling loop is written once, with its count."""

from __future__ import annotations

from collections.abc import Sequence

ARROW = " → "
_LONGEST_LOOP = 6  # states; our polls are three (wait, describe, choose)


def passages(states: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
    """(states, how often in a row), in order; what comes once stands alone."""
    found: list[tuple[tuple[str, ...], int]] = []
    at = 0
    while at < len(states):
        length, times = _loop(states, at)
        found.append((tuple(states[at : at + length]), times))
        at += length * times
    return found


def _loop(states: Sequence[str], at: int) -> tuple[int, int]:
    """The loop that begins here and covers most; of two that cover the same, the shorter one."""
    best = (1, 1)
    for length in range(1, _LONGEST_LOOP + 1):
        times = 1
        while states[at : at + length] == states[at + times * length : at + (times + 1) * length]:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def in_words(states: Sequence[str]) -> str:
    """`A → (Wait → Look) ×6 → Done`."""
    return ARROW.join(_one(loop, times) for loop, times in passages(states))


def _one(loop: tuple[str, ...], times: int) -> str:
    text = ARROW.join(loop)
    if times == 1:
        return text
    return f"({text}) ×{times}" if len(loop) > 1 else f"{text} ×{times}"
