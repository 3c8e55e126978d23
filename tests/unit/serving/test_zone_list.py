"""``GET /zones`` gives names and shapes as far as they are known, small, and only once to the same client."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from support.asgi_calls import Answer, call, scope
from support.service_process import Service
from support.zone_zips import SHAPES, publish

from mlops import config
from mlops.data import zone_shapefile, zones
from mlops.data.synthetic.city import ZONES
from mlops.serving import keys, places
from mlops.serving.app import create_app
from mlops.serving.models import Models, ServiceState
from mlops.serving.settings import ServeSettings
from mlops.serving.zone_list import listed

TABLE = "LocationID,Borough,Zone,service_zone\n" + "".join(
    f"{n},{'N/A' if n > 263 else 'Queens'},Zone {n},Boro\n" for n in range(1, 266)
)


class Known(Models):
    """Services without a model, whose zones are known as far as `kept` was called."""

    def __init__(self, *services: str) -> None:
        super().__init__()
        self._known = services

    def states(self) -> tuple[ServiceState, ...]:
        return tuple(ServiceState(each, None, "no model") for each in self._known)

    def kept(self) -> Known:
        """Keep names and shapes, and wait for them."""
        self._places.keep(self._known)
        for each in (self._places._names, self._places._map):
            if each.thread:
                each.thread.join()
        return self


@pytest.fixture
def misc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of TLC's files at the source."""
    for name in ("misc", "trip-data"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(places, "SOURCE", str(tmp_path / "trip-data"))
    monkeypatch.setattr(zone_shapefile, "_ask", zone_shapefile.attempt)
    return tmp_path / "misc"


def publish_table(misc: Path) -> None:
    (misc / zones.FILE).write_text(TABLE)


def ask(models: Models, query: str = "", **headers: str) -> Answer:
    request = {**scope("/zones", "GET", **headers), "query_string": query.encode()}
    return call(create_app(models, ServeSettings()), request)


def content(models: Models, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(models, query).body)
    return found


# What it has


def test_the_synthetic_city_has_names_areas_and_shapes() -> None:
    found = content(Known("sample").kept())
    assert list(found) == ["service", "width", "height", "zones", "problem"]
    assert (found["service"], found["problem"], len(found["zones"])) == ("sample", "", ZONES)
    airport = found["zones"][131]
    assert list(airport) == ["id", "name", "area", "path", "x", "y"]
    assert (airport["id"], airport["name"], airport["area"]) == (132, "South-East Airport", "South-East")
    assert all(0 < each["x"] < found["width"] and 0 < each["y"] < found["height"] for each in found["zones"])
    assert airport["x"] > 0.8 * found["width"] and airport["y"] > 0.8 * found["height"], "in the south-east"
    assert all(each["path"][0] == "M" and each["path"][-1] == "z" for each in found["zones"])


def test_zones_of_tlc_have_boroughs_and_some_have_no_shape(misc: Path) -> None:
    publish_table(misc)
    publish(misc)
    found = content(Known("green").kept())
    assert (found["width"], found["problem"]) == (4000, "")
    assert [each["id"] for each in found["zones"]] == list(range(1, 266))
    assert {each["id"] for each in found["zones"] if each["path"]} == set(SHAPES)
    assert {each["id"] for each in found["zones"] if each["x"] is None} == {57, 104, 105, 264, 265}
    assert [found["zones"][at]["area"] for at in (0, 263)] == ["Queens", ""]


def test_without_shapes_there_are_names(misc: Path) -> None:
    publish_table(misc)
    publish(misc, b"<html>")
    found = content(Known("green").kept())
    assert (found["width"], found["height"], len(found["zones"])) == (None, None, 265)
    assert {each["path"] for each in found["zones"]} == {None}
    assert found["problem"] == "the shapes of the zones are not known now; the service's log says why"


def test_without_names_the_answer_says_so_and_names_no_folder(misc: Path) -> None:
    found = content(Known("green").kept())
    assert found["zones"] == []
    assert (
        found["problem"] == "the names and shapes of the zones are not known now; the service's log says why"
    )


def test_real_zones_are_a_small_answer(tlc_months: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SOURCE", str(tlc_months))
    models = Known("green").kept()
    plain, packed = ask(models).body, ask(models, accept_encoding="gzip, br").body
    assert len(plain) < 100_000
    assert len(packed) < 35_000
    assert len(json.loads(plain)["zones"]) == 265


# Which service


def test_without_a_service_it_is_the_first_with_names(misc: Path) -> None:
    both = Known("green", "sample").kept()
    assert content(both)["service"] == "sample"
    assert content(both, "service=green")["service"] == "green"
    publish_table(misc)
    assert content(Known("green", "sample").kept())["service"] == "green"


def test_an_unknown_service_gets_the_nearest_one() -> None:
    problem = ask(Known("green", "sample"), "service=gren").problem
    assert problem["status"] == 422
    assert problem["detail"] == (
        'service: expected one of green, sample, which are served here; is it green?; got "gren"'
    )


def test_an_unknown_parameter_is_refused() -> None:
    problem = ask(Known("green"), "servce=green").problem
    assert problem["detail"] == (
        'servce: expected no other parameter than service (is it service?); got "green"'
    )


def test_where_no_service_is_known_the_client_asks_again_later() -> None:
    answer = ask(Known())
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.problem["detail"].startswith("no service is known yet (/model says why).")


# As few bytes as possible


def test_a_client_that_has_the_answer_gets_no_other() -> None:
    models = Known("sample").kept()
    tag = ask(models).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = ask(models, if_none_match=known)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "no-cache"
    assert ask(models, if_none_match='"other"').status == 200


def test_another_answer_has_another_tag(misc: Path) -> None:
    publish_table(misc)
    models = Known("green").kept()
    app = create_app(models, ServeSettings())
    before = call(app, scope("/zones", "GET")).headers["etag"]
    publish(config.state().serving)
    models.kept()
    assert call(app, scope("/zones", "GET")).headers["etag"] != before


def test_the_answer_is_packed_for_a_client_that_can_unpack_it() -> None:
    models = Known("sample").kept()
    plain, packed = ask(models), ask(models, accept_encoding="gzip, deflate")
    assert gzip.decompress(packed.body) == plain.body
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "accept-encoding"
    assert "content-encoding" not in ask(models, accept_encoding="gzip;q=0").headers


def test_an_answer_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    models = Known("sample").kept()
    app = create_app(models, ServeSettings())
    first = call(app, scope("/zones", "GET")).body
    monkeypatch.setattr("mlops.serving.zone_list.listed", None)
    assert call(app, scope("/zones", "GET")).body == first


# Who may ask


def test_it_needs_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "state"))
    keys.add(tmp_path / "keys", "planner")
    app = create_app(Known("sample").kept(), ServeSettings(keys_file=tmp_path / "keys"))
    assert call(app, scope("/zones", "GET")).status == 200
    assert call(app, scope("/rides", "GET")).status == 401


def test_the_service_answers_with_the_citys_map(service: Service) -> None:
    found = service.get("/zones")
    assert (found["service"], found["problem"], len(found["zones"])) == ("sample", "", ZONES)
    assert (
        found == listed("sample", zones.of_city(), Known("sample").kept().zone_map("sample")).model_dump()
    ), "the same in another process"
