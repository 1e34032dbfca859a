"""Walk a chain once, in constant memory while it is whole, and name every record that is not as it was sealed.

How each fault shows:

- an edited record no longer has the hash that its line states;
- a record that was edited and hashed anew is not the one that its successor was sealed over;
- a chain that was rewritten from some record to its end contradicts a signed checkpoint;
- a dropped record leaves a gap in the numbers, a moved one fills its gap from elsewhere;
- records cut off at the end are counted by the signed checkpoint.

Records after the newest checkpoint are linked but not yet signed: `Verdict.signed_to` says how far it reaches.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256

from contracts.audit_chain import HASH_CHARS, SEQUENCE_DIGITS, SignedCheckpoint, genesis

TAMPERED, REWRITTEN, DROPPED, REORDERED = "tampered", "rewritten", "dropped", "reordered"
REPEATED, TRUNCATED, FORGED_CHECKPOINT = "repeated", "truncated", "forged_checkpoint"
_BODY = HASH_CHARS + 1
_PREVIOUS = SEQUENCE_DIGITS + 1
_RECORD = _PREVIOUS + HASH_CHARS + 1

IsSigned = Callable[[bytes, bytes], bool]  # (digest, signature) -> made by the signing key?


@dataclass(frozen=True, kw_only=True, order=True)
class Finding:
    """Records `first` to `last` (sequence numbers, both included) and what happened to them."""

    first: int
    last: int
    kind: str
    detail: str

    def __str__(self) -> str:
        which = f"record {self.first}" if self.first == self.last else f"records {self.first} to {self.last}"
        return f"{which}: {self.kind}: {self.detail}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    chain: str
    records: int  # lines read
    signed_to: int  # sequence of the newest validly signed checkpoint; 0 without one
    findings: tuple[Finding, ...]

    @property
    def intact(self) -> bool:
        return not self.findings


@dataclass(frozen=True, kw_only=True)
class _Entry:
    stated: bytes
    computed: bytes
    sequence: int  # -1: not readable
    previous: bytes

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """What its successor may have been sealed over: when they differ, either of them was changed."""
        return (self.stated, self.computed)


def _parse(line: bytes) -> _Entry:
    body = line[_BODY:].rstrip(b"\n")
    digits, spaces = body[:SEQUENCE_DIGITS], (line[HASH_CHARS:_BODY], body[SEQUENCE_DIGITS:_PREVIOUS])
    if len(body) <= _RECORD or not digits.isdigit() or spaces != (b" ", b" "):
        return _Entry(stated=line[:HASH_CHARS], computed=b"(not readable)", sequence=-1, previous=b"")
    return _Entry(stated=line[:HASH_CHARS], computed=sha256(body).hexdigest().encode(), sequence=int(digits),
                  previous=body[_PREVIOUS : _RECORD - 1])


@dataclass(kw_only=True)
class _Gap:
    """Numbers not seen yet, and what their neighbours say: `before` are possible hashes of first - 1."""

    first: int
    last: int
    before: tuple[bytes, ...]
    after: bytes  # last + 1 was sealed over this hash

    def __lt__(self, other: _Gap) -> bool:
        return self.first < other.first


@dataclass(kw_only=True)
class _Walk:
    signed: dict[int, bytes]
    sequence: int = 0
    heads: tuple[bytes, ...]  # empty: unknown
    gaps: list[_Gap] = field(default_factory=list)
    early: dict[int, _Entry] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def say(self, kind: str, first: int, detail: str, *, last: int | None = None) -> None:
        self.findings.append(Finding(first=first, last=first if last is None else last, kind=kind, detail=detail))

    def step(self, line: bytes, source: Iterator[bytes]) -> bytes | None:
        """Take one line that is not simply the next; gives back a line that was looked at ahead."""
        entry = _parse(line)
        if entry.sequence < 0 or (entry.stated != entry.computed and entry.previous in self.heads):
            # Its number may be part of the edit; its place is where the chain goes on.
            entry = replace(entry, sequence=self.sequence + 1)
        if entry.sequence <= self.sequence:
            self._late(entry)
            return None
        self._advance_over_early()
        if entry.sequence == self.sequence + 1:
            self._accept(entry)
            return None
        following = next(source, None)
        after = _parse(following).sequence if following is not None else -1
        if self.sequence < after < entry.sequence:
            # The line behind it goes on where we were: this one was moved here.
            self._seal_holds(entry)
            self.say(REORDERED, entry.sequence, f"found before record {after}")
            self.early[entry.sequence] = entry
        else:
            self._open_gap(entry)
            self._accept(entry)
        return following

    def _seal_holds(self, entry: _Entry) -> None:
        if entry.stated != entry.computed:
            self.say(TAMPERED, entry.sequence, "its content and its hash do not agree")

    def _accept(self, entry: _Entry, *, known: bool = False) -> None:
        """`entry` is the next record. `known`: its own seal was looked at before."""
        if not known:
            self._seal_holds(entry)
        if self.heads and entry.previous and entry.previous not in self.heads:
            if self.sequence == 0:
                self.say(REWRITTEN, entry.sequence, "it does not begin this chain")
            else:
                self.say(REWRITTEN, self.sequence, f"record {entry.sequence} was sealed over another record")
        self._meets_checkpoint(entry)
        self.sequence, self.heads = entry.sequence, entry.hashes

    def _meets_checkpoint(self, entry: _Entry) -> None:
        wanted = self.signed.get(entry.sequence)
        if wanted is not None and wanted not in entry.hashes:
            first = max((s for s in self.signed if s < entry.sequence), default=0) + 1
            self.say(REWRITTEN, first, f"the signed checkpoint at {entry.sequence} names another hash",
                     last=entry.sequence)

    def _advance_over_early(self) -> None:
        while (entry := self.early.pop(self.sequence + 1, None)) is not None:
            self._accept(entry, known=True)

    def _open_gap(self, entry: _Entry) -> None:
        """Everything between us and `entry` is missing so far, but for what came early."""
        while self.sequence + 1 < entry.sequence:
            self._advance_over_early()
            if self.sequence + 1 >= entry.sequence:
                return
            nearest = min((s for s in self.early if s < entry.sequence), default=entry.sequence)
            there = self.early.get(nearest, entry)
            insort(self.gaps, _Gap(first=self.sequence + 1, last=nearest - 1, before=self.heads, after=there.previous))
            self.sequence, self.heads = nearest - 1, ()

    def _late(self, entry: _Entry) -> None:
        number = entry.sequence
        place = bisect_right(self.gaps, number, key=lambda gap: gap.first) - 1
        gap = self.gaps[place] if place >= 0 else None
        if gap is None or number > gap.last:
            self.say(REPEATED, number, f"found again behind record {self.sequence}")
            return
        self._seal_holds(entry)
        self.say(REORDERED, number, f"found behind record {self.sequence}")
        self._meets_checkpoint(entry)
        del self.gaps[place]
        if number > gap.first:
            insort(self.gaps, _Gap(first=gap.first, last=number - 1, before=gap.before, after=entry.previous))
        elif gap.before and entry.previous not in gap.before:
            self.say(REWRITTEN, number, "it was sealed over another record than the one before it")
        if number < gap.last:
            insort(self.gaps, _Gap(first=number + 1, last=gap.last, before=entry.hashes, after=gap.after))
        elif gap.after and gap.after not in entry.hashes:
            self.say(REWRITTEN, number, f"record {number + 1} was sealed over another record")

    def end(self, counted: int) -> None:
        for number in sorted(self.early):
            entry = self.early.get(number)
            if entry is not None:
                self._open_gap(entry)
                self._advance_over_early()
        for gap in self.gaps:
            self.say(DROPPED, gap.first, "missing", last=gap.last)
        newest = max(self.signed, default=0)
        if (there_were := max(newest, counted)) > self.sequence:
            witness = "the signed checkpoint counts" if newest >= counted else "the links count"
            self.say(TRUNCATED, self.sequence + 1, f"{witness} {there_were} records", last=there_were)


def verify(chain: str, lines: Iterable[bytes], checkpoints: Iterable[SignedCheckpoint] = (), *,
           is_signed: IsSigned, counted: int = 0) -> Verdict:
    """Verify `lines` (as `audit_chain.line` makes them, in stored order) against each other and the signed heads.

    A checkpoint that is not signed by the key, or of another chain, is a finding and is not relied on. `counted`
    is how many records there must be by what the store itself keeps beside them.
    """
    walk = _Walk(signed={}, heads=(genesis(chain).encode(),))
    for signed in checkpoints:
        point = signed.checkpoint
        if point.chain != chain or not is_signed(point.digest(), signed.signature):
            walk.say(FORGED_CHECKPOINT, point.sequence, f"the checkpoint of {point.at} is not signed for chain {chain}")
        else:
            walk.signed[point.sequence] = point.hash.encode()
    count = _walk(walk, iter(lines), counted)
    return Verdict(chain=chain, records=count, signed_to=max(walk.signed, default=0),
                   findings=tuple(sorted(walk.findings)))


def _walk(walk: _Walk, source: Iterator[bytes], counted: int) -> int:
    count, signed = 0, walk.signed
    number, expected = 1, _expected(1, walk.heads[0])
    for line in source:
        count += 1
        digest = sha256(line[_BODY:-1]).hexdigest().encode()
        # One hash, two comparisons: what a whole chain costs. Anything else is looked at closely.
        if line.startswith(digest) and line.startswith(expected, HASH_CHARS) and number not in signed:
            number, expected = number + 1, _expected(number + 1, digest)
            continue
        _catch_up(walk, number, expected)
        pending = walk.step(line, source)
        while pending is not None:
            count += 1
            pending = walk.step(pending, source)
        number, expected = walk.sequence + 1, _expected(walk.sequence + 1, walk.heads[0])
    _catch_up(walk, number, expected)
    walk.end(counted)
    return count


def _expected(number: int, head: bytes) -> bytes:
    """How the line of the next record goes on after its hash."""
    return b" %0*d %b " % (SEQUENCE_DIGITS, number, head)


def _catch_up(walk: _Walk, number: int, expected: bytes) -> None:
    if number > walk.sequence + 1:
        walk.sequence, walk.heads = number - 1, (expected[1 + _PREVIOUS : -1],)
