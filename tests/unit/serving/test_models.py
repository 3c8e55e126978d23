"""Champions are followed without a request that fails, whatever happens to versions, registry and disk."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support.champions import GREEN, changed, crown, full_disk, offer, registry_away
from support.tracked import NAME, mlflow_client

from mlops import config
from mlops.registry import client
from mlops.serving.errors import AmbiguousServiceError, NoModelError, UnknownServiceError
from mlops.serving.models import Models

REQUEST = {
    "pickup_at": "2023-06-01T08:30", "pickup_zone": 74, "dropoff_zone": 41, "distance_miles": 2.0,
    "passenger_count": None,
}  # fmt: skip


@pytest.fixture
def models(store: Path) -> Models:
    """Models that know nothing yet, beside an empty registry."""
    return Models(refresh_seconds=7.0)


def answered(models: Models, service: str | None = None) -> str:
    """Number of the version that answers a request."""
    served = models.get(service)
    assert 1 <= served.model.predict_one(REQUEST)["duration_minutes"] <= 60
    return served.version


def problem(models: Models) -> str:
    """What is wrong with the only service."""
    (state,) = models.states()
    return state.problem


def restarted() -> Models:
    """A new process's models, after remembered versions are loaded."""
    models = Models(refresh_seconds=7.0)
    models.restore()
    assert models.wait(0)
    return models


def test_a_model_that_comes_later_is_found(models: Models, files: Path) -> None:
    with pytest.raises(NoModelError) as refused:
        models.get()
    assert str(refused.value) == "no model is loaded (the registry was not asked yet)"
    assert models.follow() == 7.0
    with pytest.raises(NoModelError) as refused:
        models.get("green")
    assert str(refused.value) == "no model is loaded (there is no champion)"
    number = offer(files)
    models.follow()
    assert models.states() == ()
    crown(number)
    models.follow()
    assert answered(models) == answered(models, "sample") == "1"
    assert (problem(models), models.problem) == ("", "")


def test_what_is_known_of_a_version(models: Models, files: Path) -> None:
    crown(offer(files))
    before = time.time()
    models.follow()
    (served,) = models.all()
    assert (served.service, served.name, served.version, served.alias) == ("sample", NAME, "1", "champion")
    assert (served.run_key, served.tested_on, served.test_rmse) == ("ab" * 32, "2023-06", 4.035209)
    assert served.trained_on == "2022-07 to 2023-05"
    assert served.knows_missing_distance
    assert before <= served.loaded_at.timestamp() <= time.time()
    assert served.registered_at is not None
    assert before - 60 < served.registered_at.timestamp() <= time.time()


def test_another_champion_takes_over_in_one_step(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    first = models.get()
    crown(offer(files))
    assert models.get() is first
    models.follow()
    assert answered(models) == "2"
    crown("1")
    models.follow()
    assert answered(models) == "1"
    assert models.get() is not first
    same = models.get()
    models.follow()
    assert models.get() is same


def test_a_version_that_does_not_load_leaves_the_last_good_one(
    models: Models, files: Path, tmp_path: Path
) -> None:
    crown(offer(files))
    models.follow()
    crown(offer(changed(files, tmp_path / "other", "model.json", '"format": 3', '"format": 99')))
    models.follow()
    assert answered(models) == "1"
    assert problem(models).startswith("version 2, the champion, does not load; version 1 goes on answering: ")
    assert problem(models).endswith("expected model format 2 or 3; got 99)")
    crown("1")
    models.follow()
    assert problem(models) == ""


def test_a_version_without_a_signature_answers_once_it_has_one(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    crown(offer(files, signature=""))
    models.follow()
    assert answered(models) == "1"
    assert "models:/trip-duration-sample/2: it is not signed" in problem(models)
    assert "trust 2 --model trip-duration-sample" in problem(models)
    signed = mlflow_client().get_model_version(NAME, "1").tags["signature"]
    mlflow_client().set_model_version_tag(NAME, "2", "signature", signed)
    models.follow()
    assert (answered(models), problem(models)) == ("2", "")


def test_a_version_whose_files_are_lost(models: Models, files: Path, tmp_path: Path) -> None:
    crown(offer(shutil.copytree(files, tmp_path / "lost")))
    shutil.rmtree(tmp_path / "lost")
    models.follow()
    with pytest.raises(NoModelError) as refused:
        models.get()
    about = (
        "sample: no model is loaded (version 1, the champion, does not load: models:/trip-duration-sample/1: "
    )
    assert str(refused.value).startswith(f"{about}since it was signed, code/")
    assert str(refused.value).endswith(" was removed; nothing of it was executed)")


def test_a_champion_that_is_deleted_goes_on_answering(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    mlflow_client().delete_registered_model_alias(NAME, "champion")
    models.follow()
    assert answered(models) == "1"
    assert problem(models) == "trip-duration-sample has no champion; version 1 goes on answering"
    mlflow_client().delete_registered_model(NAME)
    models.follow()
    assert answered(models) == "1"
    assert answered(restarted()) == "1"


def test_a_registry_that_is_away_changes_nothing(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    crown(offer(files))
    with registry_away():
        pauses = [models.follow() for _ in range(5)]
    assert pauses == [1.0, 2.0, 4.0, 7.0, 7.0]
    assert answered(models) == "1"
    assert problem(models) == models.problem
    assert models.problem.startswith(
        "the registry cannot be asked: trip-duration-sample: looking up the champion"
    )
    assert models.follow() == 7.0
    assert (answered(models), problem(models), models.problem) == ("2", "", "")


def test_a_restart_without_a_registry_answers(
    models: Models, files: Path, dead_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    crown(offer(files))
    models.follow()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{dead_port}")
    again = restarted()
    assert answered(again) == "1"
    assert problem(again) == "the registry was not asked yet"
    assert again.follow() == 1.0
    assert answered(again) == "1"
    assert problem(again).startswith("the registry cannot be asked: tracking server http://127.0.0.1:")


def test_a_remembered_version_answers_before_mlflow_is_imported(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    code = (
        "import json, sys; from mlops.serving.models import Models; models = Models(); models.restore();"
        f"answer = models.get().model.predict_one({REQUEST!r});"
        "print(json.dumps([answer['duration_minutes'], 'mlflow' in sys.modules, 'requests' in sys.modules]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )
    expected = models.get().model.predict_one(REQUEST)["duration_minutes"]
    assert json.loads(ended.stdout) == [expected, False, False]


def test_a_changed_copy_is_not_executed_but_fetched_again(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    copy = config.state().versions / NAME / "1"
    (code,) = copy.rglob("duration_model.py")
    code.write_text("raise SystemExit('executed')")
    again = restarted()
    with pytest.raises(NoModelError) as refused:
        again.get()
    reason = f"(version 1, which was served last, does not load: {copy}: in this copy of models:/"
    assert str(refused.value).startswith(f"sample: no model is loaded {reason}")
    assert str(refused.value).endswith("duration_model.py was changed; nothing of it was executed)")
    again.follow()
    assert answered(again) == "1"


def test_a_full_disk_leaves_the_last_good_version(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    crown(offer(files))
    with full_disk():
        models.follow()
    assert answered(models) == "1"
    assert problem(models).startswith("version 2, the champion, does not load; version 1 goes on answering: ")
    assert os.strerror(errno.EFBIG) in problem(models)
    models.follow()
    assert answered(models) == "1"


def test_a_version_answers_although_it_cannot_be_remembered(models: Models, files: Path) -> None:
    config.state().serving.write_text("no folder")
    crown(offer(files))
    models.follow()
    assert answered(models) == "1"
    assert problem(models).startswith("version 1 answers, but cannot be remembered for a restart: ")
    config.state().serving.unlink()
    models.follow()
    assert problem(models) == ""
    assert answered(restarted()) == "1"


def test_two_services(models: Models, files: Path) -> None:
    crown(offer(files))
    crown(offer(files, GREEN), GREEN)
    models.follow()
    assert [served.service for served in models.all()] == ["green", "sample"]
    assert answered(models, "green") == answered(models, "sample") == "1"
    with pytest.raises(AmbiguousServiceError) as several:
        models.get()
    assert str(several.value) == "service: expected one of green, sample; got none"
    with pytest.raises(UnknownServiceError) as unknown:
        models.get("yellow")
    assert str(unknown.value) == "service: expected one of green, sample; got 'yellow'"
    assert unknown.value.services == ("green", "sample")


def test_only_the_services_that_are_asked_for(store: Path, files: Path) -> None:
    crown(offer(files))
    models = Models(["green"])
    models.follow()
    with pytest.raises(NoModelError) as refused:
        models.get()
    assert str(refused.value) == "green: no model is loaded (trip-duration-green has no champion)"
    with pytest.raises(UnknownServiceError):
        models.get("sample")


def test_there_is_no_registry_yet(tmp_path: Path, files: Path) -> None:
    models = Models()
    assert models.follow() == 1.0
    missing = (
        f"the registry cannot be asked: {tmp_path}/state/mlflow.db: there is no registry yet. Train a model: "
    )
    assert models.problem.startswith(missing)
    assert not config.state().tracking_store.exists()
    with pytest.raises(NoModelError) as refused:
        models.get()
    assert str(refused.value) == f"no model is loaded ({models.problem})"


def test_names_of_zones(models: Models, files: Path) -> None:
    crown(offer(files))
    models.follow()
    assert models.zone_names("sample").id_of("South-East Airport") == 132
    assert models.zone_names("green").problem == "taxi_zone_lookup.csv is not read yet"


def test_no_request_fails_while_the_champion_moves(store: Path, files: Path) -> None:
    numbers = [offer(files), offer(files)]
    crown(numbers[0])
    models, seen, over = Models(refresh_seconds=0.05), [], threading.Event()
    models.follow()
    models.start()

    def ask() -> None:
        while not over.is_set():
            seen.append(answered(models))
            time.sleep(0.002)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in [*reversed(numbers)] * 2:
        crown(number)
        deadline = time.monotonic() + 60
        while models.get().version != number and time.monotonic() < deadline:
            time.sleep(0.01)
        assert models.get().version == number
    over.set()
    for thread in threads:
        thread.join()
    models.stop()
    changes = [one for one, after in itertools.pairwise(seen) if one != after]
    assert set(seen) == {"1", "2"}
    assert len(changes) >= 3
    assert client.tracking_uri().startswith("sqlite:///")
