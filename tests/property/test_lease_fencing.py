"""Any sequence of takes, give-backs and waiting: at most one holder, and tokens that only grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambdas.lease.logic import take
from tests.unit.lambdas.test_lease import MemoryLease

TTL = 10
STEPS = st.lists(st.one_of(
    st.tuples(st.just("take"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("give"), st.sampled_from("abc"), st.just(False)),
    st.tuples(st.just("end"), st.sampled_from("abc"), st.just(False)),
    st.tuples(st.just("wait"), st.integers(1, 15), st.just(False)),
), max_size=30)


@given(STEPS)
def test_a_token_names_one_holder_and_never_comes_back(steps: list[tuple[str, object, bool]]) -> None:
    store, now = MemoryLease(), 0
    holders: dict[int, str] = {}
    ended: set[str] = set()
    for kind, who, preempt in steps:
        if kind == "wait":
            now += int(who)  # type: ignore[call-overload]
        elif kind == "end":  # stopped, or its give-back failed
            ended.add(str(who))
        elif kind == "give":
            store.release(str(who))
        else:
            before, gone = store.read(), store.holder in ended
            ended.discard(str(who))  # it asks, so it is there
            expired = now > store.expires_at
            ours, lease = take(store, holder=str(who), now=now, ttl_s=TTL, preempt=preempt,
                               has_ended=lambda other: other in ended)
            assert lease.token >= before.token
            if ours:
                assert holders.setdefault(lease.token, lease.holder) == lease.holder == who
            else:
                assert before.holder not in ("", who)
                assert not expired
                assert not preempt
                assert not gone
