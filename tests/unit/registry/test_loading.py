"""Loading a version in this process: which one, from which files, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.builders import make_requests
from support.tracked import NAME, fitted
from support.version_folders import BEFORE

from mlops.errors import ConfigError, MlopsError, PromotionError, UntrustedError
from mlops.registry import alias_log, loading, local_copy, versions
from mlops.registry.versions import Version


def test_a_version_is_chosen_by_alias_or_number(version: Path) -> None:
    assert loading.choose(NAME, "1") == loading.choose(NAME, "01") == versions.get(NAME, "1")
    with pytest.raises(PromotionError) as refused:
        loading.choose(NAME, "champion")
    expected = f"{NAME}: there is no champion. `registry` lists its versions; or train one: "
    assert str(refused.value).startswith(expected)
    alias_log.move(NAME, alias_log.CHALLENGER, "1", by="a test", verdict="promote", reason="to be found")
    assert loading.choose(NAME, "challenger").number == "1"


@pytest.mark.parametrize("which", ["latest", "-1", "", "1.0", "\u0661"])
def test_only_aliases_and_numbers_are_understood(which: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loading.choose(NAME, which)
    assert str(refused.value) == f"version: expected champion, challenger or a number; got {which!r}"


def test_a_missing_number_is_refused_with_those_that_exist(version: Path) -> None:
    with pytest.raises(PromotionError, match=f"^{NAME}: there is no version 7; existing versions: 1$"):
        loading.choose(NAME, "7")


def test_a_version_answers_as_the_model_that_was_registered(version: Path, tmp_path: Path) -> None:
    loaded = loading.load(versions.get(NAME, "1"), tmp_path / "copies")
    requests, model = make_requests(20), fitted(seed=0)
    assert loaded.model.predict(requests).equals(model.predict(requests))
    assert type(loaded.model) is not type(model)  # its code is that of the version
    assert (loaded.run_key, loaded.knows_missing_distance) == ("key", True)
    example = loaded.example()
    assert loaded.model.predict(example).equals(model.predict(make_requests(3)))


def test_a_copy_is_used_again_without_the_registry_s_files(version: Path, tmp_path: Path) -> None:
    known, store = versions.get(NAME, "1"), tmp_path / "copies"
    folder = loading.fetch(known, store)
    assert folder == store / NAME / "1"
    assert [path.name for path in folder.parent.iterdir()] == ["1"]
    model = folder / "data" / "model" / "model.json"
    before = model.stat()
    for path in (version / "data" / "model").iterdir():
        path.unlink()
    os.utime(folder, (1, 1))
    assert loading.fetch(known, store) == folder
    assert model.stat().st_ino == before.st_ino
    assert folder.stat().st_mtime > before.st_mtime - 1  # when it was last used, for retention


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_a_copy_that_somebody_changed_is_fetched_again(version: Path, tmp_path: Path, change: str) -> None:
    known, store = versions.get(NAME, "1"), tmp_path / "copies"
    folder = loading.fetch(known, store)
    whole = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code = next(folder.glob("code/**/features.py"))
    if change == "added":
        code.with_name("extra.py").write_text("raise SystemExit")
    elif change == "changed":
        code.write_text("raise SystemExit")
    else:
        code.unlink()
    loading.fetch(known, store)
    assert {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == whole


def test_files_that_were_changed_in_the_registry_are_not_run(version: Path, tmp_path: Path) -> None:
    next(version.glob("code/**/features.py")).write_text("raise SystemExit")
    store = tmp_path / "copies"
    with pytest.raises(MlopsError, match=r"/features\.py was changed; nothing of it was executed$"):
        loading.load(versions.get(NAME, "1"), store)
    assert not (store / NAME / "1").exists()


def test_a_version_that_is_not_signed_is_not_fetched(version: Path, tmp_path: Path) -> None:
    known = versions.get(NAME, "1")
    unsigned = type(known)(known.name, known.number, known.run_id, {})
    with pytest.raises(UntrustedError, match=f"^models:/{NAME}/1: "):
        loading.fetch(unsigned, tmp_path / "copies")
    assert not (tmp_path / "copies").exists()


def test_the_example_has_times(version: Path, tmp_path: Path) -> None:
    loaded = loading.load(versions.get(NAME, "1"), tmp_path / "copies")
    assert loaded.example()["pickup_at"].dt.year.tolist() == [2023] * 3
    assert json.loads((loaded.folder / "input_example.json").read_text())["columns"][0] == "pickup_at"


def test_a_version_of_the_flat_layout_is_loaded_and_knows_no_missing_distance() -> None:
    loaded = local_copy.load_folder(Version(NAME, "1", "", {}), BEFORE)
    assert not loaded.knows_missing_distance
    assert loaded.run_key == ""
    assert len(loaded.model.predict(make_requests(3))) == 3


def test_a_version_whose_code_fails_is_refused_with_its_error(version: Path) -> None:
    next(version.glob("code/**/features.py")).write_text("raise RuntimeError('not today')")
    with pytest.raises(MlopsError) as refused:
        local_copy.load_folder(versions.get(NAME, "1"), version)
    assert str(refused.value) == f"models:/{NAME}/1: it cannot be loaded (not today)"


@pytest.mark.parametrize(("name", "service"), [("trip-duration-fhvhv", "fhvhv"), (NAME, "sample")])
def test_a_model_has_a_service(name: str, service: str) -> None:
    assert loading.service_of(name) == service


@pytest.mark.parametrize("name", ["trip-duration-fhv", "green", "trip-duration-"])
def test_a_model_of_something_else_has_none(name: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loading.service_of(name)
    assert str(refused.value) == f"model: expected trip-duration- and a service; got {name!r}"
