"""One writer per model: taking, losing, pre-empting and giving back the lease."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from contracts import records
from lambdas.lease import handler as lease_handler
from lambdas.lease.handler import handler
from lambdas.lease.logic import Lease, take
from lambdas.lease.store import DynamoLease
from lambdas.shared.aws import client
from lambdas.shared.errors import InvalidInput
from tests.unit.lambdas.account import CONTROL, STORY, Account


class MemoryLease:
    """The store's contract on two attributes."""

    def __init__(self) -> None:
        self.holder, self.last_holder, self.token, self.expires_at = "", "", 0, 0

    def renew(self, holder: str, *, expires_at: int) -> Lease | None:
        if self.holder != holder:
            return None
        self.expires_at = expires_at
        return self.read()

    def acquire(self, holder: str, *, now: int, expires_at: int, preempt: bool) -> Lease | None:
        if self.holder and (self.holder == holder if preempt else self.expires_at >= now):
            return None
        self.holder = self.last_holder = holder
        self.token, self.expires_at = self.token + 1, expires_at
        return self.read()

    def take_over(self, holder: str, *, after: str, expires_at: int) -> Lease | None:
        return self.acquire(holder, now=0, expires_at=expires_at, preempt=True) if self.holder == after else None

    def release(self, holder: str) -> bool:
        if self.last_holder != holder:
            return False
        self.holder = ""
        return True

    def read(self) -> Lease:
        return Lease(holder=self.holder, token=self.token)


def test_the_token_grows_with_every_new_holder_and_stays_for_the_same_one() -> None:
    store, ended = MemoryLease(), {"c"}

    def took(holder: str, now: int, *, preempt: bool = False) -> tuple[bool, Lease]:
        return take(store, holder=holder, now=now, ttl_s=10, preempt=preempt, has_ended=ended.__contains__)

    assert took("a", 0) == (True, Lease(holder="a", token=1))
    assert took("a", 1) == (True, Lease(holder="a", token=1))
    assert took("b", 2) == (False, Lease(holder="a", token=1))
    assert took("b", 12) == (True, Lease(holder="b", token=2))
    assert took("c", 13, preempt=True) == (True, Lease(holder="c", token=3))
    assert took("d", 14) == (True, Lease(holder="d", token=4)), "c has ended and never gave back"


@pytest.mark.parametrize("preempt", [False, True])
@pytest.mark.parametrize("before", ["", "weekly"])
def test_two_deliveries_at_the_same_time_are_both_given_the_same_lease(before: str, preempt: bool) -> None:
    """Each finds nothing to renew; as a no, or with a token of its own, the other would end or fence off the run."""

    class Twin(MemoryLease):
        def renew(self, holder: str, *, expires_at: int) -> Lease | None:
            self.acquire(holder, now=0, expires_at=expires_at, preempt=preempt)  # the quicker, just after we looked
            return None

        def take_over(self, holder: str, *, after: str, expires_at: int) -> Lease | None:
            super().take_over(holder, after=after, expires_at=expires_at)
            return super().take_over(holder, after=after, expires_at=expires_at)

    store = Twin()
    if before:
        store.acquire(before, now=0, expires_at=100, preempt=False)
    assert take(store, holder="a", now=0, ttl_s=10, preempt=preempt, has_ended=before.__eq__) == (
        True, Lease(holder="a", token=2 if before else 1))


def lease(action: str, holder: str, context: Any, **more: Any) -> dict[str, Any]:
    return handler({"action": action, "story": STORY, "holder": holder, **more}, context)


def test_a_free_lease_is_taken_and_a_held_one_is_not(account: Account, context: Any) -> None:
    assert lease("take", "a", context) == {"leased": True, "token": 1, "holder": "a"}
    assert lease("take", "b", context) == {"leased": False, "token": 1, "holder": "a"}


def test_asking_again_after_a_lost_answer_gives_the_same_token(account: Account, context: Any) -> None:
    assert lease("take", "a", context) == lease("take", "a", context)


def test_an_expired_lease_can_be_taken_and_its_token_moves_on(
    account: Account, context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(lease_handler.time, "time", lambda: clock[0])
    lease("take", "a", context)
    clock[0] += 3_600  # LEASE_TTL_S: the last second still belongs to the holder
    assert not lease("take", "b", context)["leased"]
    clock[0] += 1
    assert lease("take", "b", context) == {"leased": True, "token": 2, "holder": "b"}
    assert lease("give_back", "a", context) == {"released": False}


def test_pre_empting_takes_the_lease_from_its_holder(account: Account, context: Any) -> None:
    lease("take", "weekly", context)
    taken = lease("take", "rollback", context, preempt=True)
    assert taken == {"leased": True, "token": 2, "holder": "rollback"}


@pytest.mark.parametrize("before", ["", "weekly"])
def test_pre_empting_twice_at_the_same_time_moves_the_token_once(account: Account, before: str) -> None:
    store = DynamoLease(account.dynamodb, CONTROL, STORY)
    if before:
        store.acquire(before, now=0, expires_at=100, preempt=False)
    first = store.acquire("rollback", now=1, expires_at=100, preempt=True)
    assert first is not None
    assert store.acquire("rollback", now=1, expires_at=100, preempt=True) is None
    assert store.read() == first


def test_giving_back_frees_the_lease_keeps_the_token_and_may_be_repeated(account: Account, context: Any) -> None:
    lease("take", "a", context)
    assert lease("give_back", "a", context) == {"released": True}
    assert lease("give_back", "a", context) == {"released": True}
    assert account.control(records.LEASE) == {"token": 1, "last_holder": "a"}
    assert lease("take", "b", context)["token"] == 2
    assert lease("give_back", "a", context) == {"released": False}


def test_a_store_that_fails_for_another_reason_is_an_error(account: Account, context: Any) -> None:
    account.dynamodb.delete_table(TableName="control")
    with pytest.raises(account.dynamodb.exceptions.ResourceNotFoundException):
        lease("take", "a", context)


def test_an_unknown_action_names_the_allowed_ones(account: Account, context: Any) -> None:
    with pytest.raises(InvalidInput, match="take or give_back, got 'steal'"):
        lease("steal", "a", context)


def test_an_unknown_story_names_the_allowed_ones(account: Account, context: Any) -> None:
    with pytest.raises(ValueError, match="unknown story 'nope': allowed are intent-classifier"):
        handler({"action": "take", "story": "nope", "holder": "a"}, context)


@pytest.mark.parametrize(("ends", "leased"), [(False, False), (True, True)])
def test_a_lease_whose_execution_has_ended_is_free(
        account: Account, context: Any, monkeypatch: pytest.MonkeyPatch, ends: bool, leased: bool) -> None:
    """Stopped by hand, timed out, or its give-back failed: nobody is there to give the lease back."""
    sfn = boto3.client("stepfunctions")
    monkeypatch.setattr(lease_handler, "client", lambda service: sfn if service == "stepfunctions" else client(service))
    role = "arn:aws:iam::123456789012:role/unused"
    machine = sfn.create_state_machine(name="retrain", roleArn=role, definition='{"StartAt": "A", "States": {}}')
    holder = sfn.start_execution(stateMachineArn=machine["stateMachineArn"])["executionArn"]
    lease("take", holder, context)
    if ends:
        sfn.stop_execution(executionArn=holder)
    assert lease("take", "the next one", context)["leased"] is leased
    assert lease("take", "one more", context)["leased"] is False, "what can't be asked about holds on"
