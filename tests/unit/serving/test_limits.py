"""What is above a limit is refused, and what is below it passes unchanged."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.asgi_calls import Answer, answering, call, pieces, scope, send_to

from mlops.serving.asgi import Message, Scope
from mlops.serving.limits import LimitCheck, Limits, Rate


def clock_at(seconds: list[float]) -> LimitCheck:
    """A check of two requests a second and three at once, whose clock shows ``seconds[0]``."""
    limits = Limits(requests_per_second=2, burst=3)
    return LimitCheck(answering(), limits, clock=lambda: seconds[0])


# --- Rate -----------------------------------------------------------------------------------------------------


def test_a_burst_passes_and_the_next_request_waits() -> None:
    now = [100.0]
    check = clock_at(now)
    assert [call(check, scope()).status for _ in range(4)] == [200, 200, 200, 429]
    refused = call(check, scope())
    assert refused.headers["retry-after"] == "1"
    assert refused.problem["detail"] == (
        "expected at most 2 requests a second from one client, and 3 at once; got more. Wait 1 s, or send lists, "
        "each of which counts as one request."
    )
    now[0] += 0.5
    assert [call(check, scope()).status for _ in range(2)] == [200, 429]
    now[0] += 60.0
    assert [call(check, scope()).status for _ in range(4)] == [200, 200, 200, 429]


def test_retry_after_is_long_enough() -> None:
    now = [0.0]
    check = LimitCheck(answering(), Limits(requests_per_second=0.3, burst=1), clock=lambda: now[0])
    assert call(check, scope()).status == 200
    refused = call(check, scope())
    assert refused.headers["retry-after"] == "4"
    now[0] = float(refused.headers["retry-after"])
    assert call(check, scope()).status == 200


def test_each_client_has_a_rate_of_its_own() -> None:
    check = clock_at([0.0])
    for client in ("10.0.0.1", "10.0.0.2"):
        assert [call(check, scope(client=client)).status for _ in range(4)] == [200, 200, 200, 429]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("a:socket", "b:socket", False),
    ],
)
def test_an_ipv6_client_is_its_network(one: str, other: str, is_same: bool) -> None:
    check = clock_at([0.0])
    assert [call(check, scope(client=one)).status for _ in range(3)] == [200] * 3
    assert call(check, scope(client=other)).status == (429 if is_same else 200)


def test_a_client_with_a_key_is_known_by_it_at_any_address() -> None:
    check = clock_at([0.0])

    def ask(client: str, name: str) -> int:
        request = scope(client=client)
        request["state"]["client"] = name
        return call(check, request).status

    assert [ask("10.0.0.1", "planner"), ask("10.0.0.2", "planner"), ask("10.0.0.3", "planner")] == [200] * 3
    assert ask("10.0.0.4", "planner") == 429
    assert ask("10.0.0.1", "app") == 200
    assert call(check, scope(client="planner")).status == 200, "an address is no name of a key"


def test_without_a_rate_nobody_waits() -> None:
    check = LimitCheck(answering(), Limits(requests_per_second=0), clock=lambda: 0.0)
    assert {call(check, scope()).status for _ in range(100)} == {200}


def test_a_request_over_a_socket_has_a_client_too() -> None:
    request: Scope = {**scope(), "client": None}
    check = clock_at([0.0])
    assert [call(check, request).status for _ in range(4)] == [200, 200, 200, 429]


@given(
    per_second=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_a_bucket_never_gives_more_than_it_has(per_second: float, burst: int, pauses: list[float]) -> None:
    """Oracle: the bucket filled and emptied step by step."""
    rate, now, tokens = Rate(per_second, burst), 0.0, float(burst)
    for pause in pauses:
        now += pause
        tokens = min(burst, tokens + pause * per_second)
        wait = rate.wait("client", now)
        if abs(tokens - 1) < 1e-6:  # both may be right
            tokens -= not wait
        elif tokens > 1:
            assert wait == 0.0
            tokens -= 1
        else:
            assert wait == pytest.approx((1 - tokens) / per_second, abs=1e-6)


def test_many_clients_take_no_more_memory_and_the_newest_are_known() -> None:
    rate = Rate(per_second=1, burst=1, most_clients=3)
    assert [rate.wait(client, 0.0) for client in "abcd"] == [0.0] * 4
    assert rate.wait("d", 0.0) > 0
    assert rate.wait("b", 0.0) > 0
    assert rate.wait("a", 0.0) == 0.0, "the client that was quiet for longest is forgotten"


# --- Concurrency ----------------------------------------------------------------------------------------------


def test_too_many_at_once_are_refused_and_room_is_free_again_afterwards() -> None:
    async def story() -> list[list[int]]:
        go_on = asyncio.Event()
        check = LimitCheck(answering(before=go_on.wait), Limits(most_at_once=2))
        asked = [asyncio.create_task(send_to(check, scope())) for _ in range(2)]
        await asyncio.sleep(0)
        refused, probe = await send_to(check, scope()), asyncio.create_task(send_to(check, scope("/healthz")))
        assert refused.headers["retry-after"] == "1"
        assert refused.problem["detail"] == (
            "expected at most 2 requests at the same time, of all clients together; got more. Wait 1 s and send "
            "it again."
        )
        go_on.set()
        answers = [*await asyncio.gather(*asked), await probe]
        return [[answer.status for answer in answers], [(await send_to(check, scope())).status]]

    assert asyncio.run(story()) == [[200, 200, 200], [200]]


def test_a_failure_frees_its_room() -> None:
    async def fail() -> None:
        raise ValueError("a bug")

    check = LimitCheck(answering(before=fail), Limits(most_at_once=1))
    for _ in range(2):
        with pytest.raises(ValueError, match="a bug"):
            call(check, scope())


# --- Bodies ---------------------------------------------------------------------------------------------------


def ask(*bodies: bytes, most: int = 10, length: str | None = None) -> Answer:
    check = LimitCheck(answering(), Limits(most_bytes=most))
    named = {"transfer_encoding": "chunked"} if length is None else {"content_length": length}
    return call(check, scope(**named), pieces(*bodies))


@given(st.lists(st.binary(max_size=6), min_size=1, max_size=6))
def test_a_body_within_the_limit_arrives_as_it_was_sent(bodies: list[bytes]) -> None:
    whole = b"".join(bodies)
    for length in (None, str(len(whole))):
        answer = ask(*bodies, length=length)
        assert (answer.status, answer.body) == ((200, whole) if len(whole) <= 10 else (413, answer.body))


def test_a_long_body_is_refused_by_its_header_before_it_is_read() -> None:
    answer = ask(b"{}", length="1048577", most=2**20)
    assert answer.status == 413
    assert answer.problem["detail"] == (
        "body: expected at most 1,048,576 bytes; got 1048577. Send a long list in parts."
    )


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 5000])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    assert ask(b"{}", length=length).status == 413


def test_a_body_without_a_length_is_read_no_further_than_the_limit() -> None:
    taken: list[Message] = []

    async def endless() -> Message:
        taken.append({"type": "http.request", "body": b"x" * 4, "more_body": True})
        return taken[-1]

    check = LimitCheck(answering(), Limits(most_bytes=10))
    answer = call(check, scope(transfer_encoding="chunked"), endless)
    assert answer.problem["detail"] == "body: expected at most 10 bytes; got more. Send a long list in parts."
    assert len(taken) == 3


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    check = LimitCheck(answering(), Limits(body_seconds=0.01, most_at_once=1))
    for _ in range(2):  # the second one finds room
        answer = call(check, scope(content_length="9"), never)
        assert answer.status == 408
        assert answer.problem["detail"] == "body: expected all of it within 0.01 seconds. Send it again."
        assert answer.headers["connection"] == "close"


def test_a_server_that_ends_stops_the_request() -> None:
    async def story() -> None:
        async def never() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        check = LimitCheck(answering(), Limits())
        task = asyncio.create_task(send_to(check, scope(content_length="9"), never))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_a_client_that_is_gone_gets_no_answer() -> None:
    check = LimitCheck(answering(), Limits())
    half = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return half.pop(0)

    assert call(check, scope(content_length="2"), receive).messages == []
