"""The heartbeat: one request after a check, to an address that no log shows."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from support.beats import SECRET, Beats, watching
from support.failures import closed_port

from mlops import masking
from mlops.operations import heartbeat


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Iterator[Beats]:
    with watching() as beats:
        monkeypatch.setenv(heartbeat.VARIABLE, beats.url)
        yield beats


def test_a_check_that_went_well_and_one_that_failed_ask_for_two_addresses(beats: Beats) -> None:
    heartbeat.send("green", "training", has_failed=False)
    heartbeat.send("green", "monitoring", has_failed=True)
    assert beats.asked == ["GET ", "GET /fail"]


def test_each_check_can_have_an_address_of_its_own(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(heartbeat.VARIABLE, f"{beats.url}/{{check}}/?create=1")
    heartbeat.send("green", "training", has_failed=False)
    heartbeat.send("yellow", "monitoring", has_failed=True)
    assert beats.asked == ["GET /green-training/?create=1", "GET /yellow-monitoring/fail?create=1"]


@pytest.mark.parametrize("value", [None, "", "None"])
def test_without_an_address_nothing_is_asked(
    value: str | None, beats: Beats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(heartbeat.VARIABLE, value or "")
    if value is None:
        monkeypatch.delenv(heartbeat.VARIABLE)
    heartbeat.send("green", "training", has_failed=False)
    assert (beats.asked, caplog.text) == ([], "")


@pytest.mark.parametrize(
    ("status", "problem"), [(404, "it answered 404"), (301, "it answered 301"), (0, "no connection")]
)
def test_an_address_that_does_not_answer_well_is_logged_without_the_address(
    status: int,
    problem: str,
    beats: Beats,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    beats.status = status or 200
    with closed_port() as port, caplog.at_level(logging.DEBUG):
        if not status:
            monkeypatch.setenv(heartbeat.VARIABLE, f"http://127.0.0.1:{port}/ping/{SECRET}")
        heartbeat.send("green", "training", has_failed=True)
    assert f"the heartbeat was not taken: {problem}" in caplog.text
    assert "it is the address in HEARTBEAT_URL" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("value", ["hc.example/5f1c", "http://[", "ftp://hc.example/5f1c", "https://"])
def test_an_address_that_is_none_is_logged_and_fails_nothing(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(heartbeat.VARIABLE, value)
    for has_failed in (False, True):
        heartbeat.send("green", "training", has_failed=has_failed)
    assert caplog.text.count("its address or another value of its configuration is wrong") == 2


def test_what_is_secret_in_the_variable_is_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(heartbeat.VARIABLE, f"https://hc.example/{SECRET}/{{check}}")
    assert os.environ[heartbeat.VARIABLE]
    assert masking.mask(f"GET https://hc.example/{SECRET}/green-training") == (
        "GET https://hc.example/****/green-training"
    )
