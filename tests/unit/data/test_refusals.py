"""A source that refuses: an unpublished month or an outage, and how long a run retries."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.publisher import Publisher, publishing

from mlops.data import cache, retries, sources
from mlops.errors import DownloadError
from mlops.month import Month

MONTHS = Month.range(Month(2023, 1), Month(2023, 5))
REQUESTS = 2 * len(MONTHS) * (1 + retries.ATTEMPTS)  # until a source that refuses HEAD and GET is an outage


@pytest.fixture(autouse=True)
def _quick_and_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.05)
    for proxy in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(proxy, "127.0.0.1")


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """Months 2 to 4 of 5 are published."""
    for month in MONTHS[1:4]:
        (tmp_path / sources.file_name("green", month)).write_bytes(b"PAR1")
    with publishing(tmp_path) as running:
        yield running


def held(publisher: Publisher) -> tuple[Month, ...]:
    return sources.months_available(sources.open_source(publisher.url), "green", MONTHS)


def test_a_refused_month_is_not_there_while_others_are_given_out(publisher: Publisher) -> None:
    assert held(publisher) == MONTHS[1:4]


def test_the_others_are_asked_again_after_the_refusal(publisher: Publisher) -> None:
    held(publisher)
    asked = [(method, name) for method, name in publisher.asked if method == "HEAD"]
    after = [sources.file_name("green", month) for month in (MONTHS[3], MONTHS[0], MONTHS[4])]
    assert asked[-3:] == [("HEAD", name) for name in after]


@pytest.mark.parametrize("refused", [1, 3, 5, 6, 8])
def test_a_month_refused_for_a_while_is_found_all_the_same(publisher: Publisher, refused: int) -> None:
    publisher.refuses = refused
    assert held(publisher) == MONTHS[1:4]


def test_a_source_that_refuses_everything_is_an_outage(publisher: Publisher) -> None:
    publisher.refuses = -1
    with pytest.raises(sources.RefusedError) as caught:
        held(publisher)
    assert str(caught.value) == (
        f"{publisher.url}/green_tripdata_2023-01.parquet: HTTP 403, also for 4 other months, and no file that "
        "should exist is available either. Try again later, or check the address and the credentials."
    )
    assert len(publisher.asked) == REQUESTS


def test_a_month_between_two_others_is_not_to_come(publisher: Publisher) -> None:
    (publisher.folder / sources.file_name("green", MONTHS[2])).unlink()
    with pytest.raises(sources.RefusedError) as caught:
        held(publisher)
    assert "green_tripdata_2023-03.parquet: HTTP 403, although 2023-02 and 2023-04 are available" in str(
        caught.value
    )


def test_a_control_file_distinguishes_an_empty_source_from_an_outage(publisher: Publisher) -> None:
    later = Month.range(Month(2031, 1), Month(2031, 2))
    site = sources.open_source(publisher.url)
    with pytest.raises(sources.RefusedError):
        sources.months_available(site, "green", later)
    object.__setattr__(site, "control", "../misc/zones.csv")  # as TLC's site has one
    (publisher.folder / "zones.csv").write_text("1,Newark")
    assert sources.months_available(site, "green", later) == ()
    assert ("HEAD", "/misc/zones.csv") in publisher.asked


def test_a_refusal_of_a_month_that_was_there_is_an_outage(publisher: Publisher, tmp_path: Path) -> None:
    source = sources.open_source(publisher.url)
    with pytest.raises(DownloadError, match=r"green_tripdata_2023-05\.parquet: HTTP 403"):
        cache.fetch(source, "green", MONTHS[4], tmp_path / "cache")


def test_an_outage_is_retried_for_the_given_seconds(
    publisher: Publisher, caplog: pytest.LogCaptureFixture
) -> None:
    publisher.refuses = 2 * REQUESTS
    with caplog.at_level(logging.WARNING):
        assert retries.for_seconds(30)(held, publisher) == MONTHS[1:4]
    assert caplog.text.count("Next attempt in") == 2
    publisher.refuses = -1
    with pytest.raises(sources.RefusedError):
        retries.for_seconds(0.2)(held, publisher)


def test_what_is_no_outage_is_not_tried_again() -> None:
    calls = []
    with pytest.raises(ValueError, match="a bad file"):
        retries.for_seconds(30)(lambda: calls.append(1) or (_ for _ in ()).throw(ValueError("a bad file")))
    assert calls == [1]
