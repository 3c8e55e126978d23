"""What is logged in a run is there once and whole, and is read back."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pandas as pd
import pytest
from support.tracked import AWAY, KEY, NAME, OTHER_KEY, fails_at, mlflow_client, state_of, trials_of

from mlops.errors import TrackingError
from mlops.registry import runs
from mlops.registry.client import mlflow
from mlops.registry.run_lifecycle import lock_place, start_run

# --- What is logged -----------------------------------------------------------------------------------------


def test_long_texts_are_kept_or_cut_but_never_end_a_run(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {}, "RuntimeError: " + "x" * 20_000)
        run.log_card("# Card\n" + "x" * 20_000, "<html>")
        run.log_parameters({"source": "https://" + "x" * 5_000})
    with pytest.raises(ValueError, match="xxx"), start_run(NAME, "r", OTHER_KEY) as failed:
        raise ValueError("x" * 20_000)

    assert state_of(run.run_id)[0] == "FINISHED"
    assert str(state_of(failed.run_id)[1]).startswith("ValueError: xxx")
    assert len(mlflow.artifacts.load_text(f"runs:/{run.run_id}/model_card.md")) == 20_007
    assert mlflow.artifacts.load_text(f"runs:/{run.run_id}/model_card.html") == "<html>"


def test_the_description_has_lower_headings_than_the_card(store: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        run.log_card("# Card\n\n## Data #1\n\n- \\# text\n", "<html>")

    note = mlflow.get_run(run.run_id).data.tags["mlflow.note.content"]
    assert note == "### Card\n\n#### Data #1\n\n- \\# text\n"
    assert mlflow.artifacts.load_text(f"runs:/{run.run_id}/model_card.md").startswith("# Card\n\n## Data")


def test_a_long_card_s_description_ends_with_a_whole_section(store: Path) -> None:
    first, second = f"# Card\n\n{'x' * 2000}\n\n", f"## Verdict\n\n{'y' * 2000}\n\n"
    with start_run(NAME, "r", KEY) as run:
        run.log_card(f"{first}{second}## Data\n\n{'z' * 2000}\n\n## End\n", "<html>")

    assert mlflow.get_run(run.run_id).data.tags["mlflow.note.content"] == (
        f"##{first}##{second}The whole card is in `model_card.md` and `model_card.html`.\n"
    )


def test_tables_files_and_months_are_logged(store: Path, tmp_path: Path) -> None:
    (tmp_path / "plot.png").write_bytes(b"png")
    months = pd.DataFrame(
        {
            "url": ["/data/green_tripdata_2023-06.parquet", "/data/green_tripdata_2023-05.parquet"],
            "sha256": ["ab" * 32, "cd" * 32],
            "role": ["test", "validation"],
            "month": ["2023-06", "2023-05"],
            "rows": [10, 20],
        }
    )
    with start_run(NAME, "r", KEY) as run:
        run.log_table("months.csv", months)
        run.log_files([tmp_path / "plot.png"], "plots")
        run.log_months(months)
    inputs = {i.dataset.name: i for i in mlflow_client().get_run(run.run_id).inputs.dataset_inputs}
    test = inputs["green_tripdata_2023-06.parquet"]

    fetched = runs.fetch_artefact(run.run_id, "months.csv", tmp_path / "new" / "folder")
    assert fetched.read_text() == months.to_csv(index=False)
    assert fetched.is_relative_to(tmp_path / "new" / "folder")
    assert [f.path for f in mlflow_client().list_artifacts(run.run_id, "plots")] == ["plots/plot.png"]
    assert len(inputs) == 2
    assert ("ab" * 32).startswith(test.dataset.digest)
    assert json.loads(test.dataset.source) == {"url": "/data/green_tripdata_2023-06.parquet"}
    assert json.loads(test.dataset.profile) == {"num_rows": 10}
    assert {tag.key: tag.value for tag in test.tags} == {"mlflow.data.context": "test"}


def test_what_was_not_logged_cannot_be_fetched(store: Path, tmp_path: Path) -> None:
    with start_run(NAME, "r", KEY) as run:
        pass
    with pytest.raises((TrackingError, OSError)):
        runs.fetch_artefact(run.run_id, "months.csv", tmp_path)
    with pytest.raises(TrackingError, match=r"^looking up a run: MLflow failed: .*none"):
        runs.tags_of("none")


# --- Trials -------------------------------------------------------------------------------------------------


def test_trials_are_nested_and_ended(store: Path) -> None:
    with start_run(NAME, "parent", KEY) as run:
        run.log_trial("trial 1", {"max_depth": 8}, {"validation_rmse": 4.5, "seconds": 2.0}, "")
        run.log_trial("trial 2", {"max_depth": 5}, {"validation_rmse": float("nan")}, "RuntimeError: boom")
        assert run.trials_logged() == {"trial 1", "trial 2"}
    good, bad = sorted(trials_of(run), key=lambda trial: trial.info.run_name)

    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert good.data.params == {"max_depth": "8"}
    assert good.data.metrics == {
        "validation/rmse": 4.5, "validation_rmse": 4.5, "tuning/seconds": 2.0, "seconds": 2.0,
    }  # fmt: skip
    assert good.info.end_time - good.info.start_time == 2000
    assert bad.data.metrics == {}
    assert bad.data.tags["error"] == "RuntimeError: boom"


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("method", "after"), [("log_batch", False), ("set_terminated", True)])
def test_a_trial_is_logged_once_and_whole_though_the_server_was_away(
    method: str, after: bool, store: Path
) -> None:
    with start_run(NAME, "r", KEY) as run:
        with fails_at(method, AWAY, once=True, after=after):
            run.log_trial("trial 1", {"max_depth": 8}, {"validation_rmse": 4.5}, "")
        assert run.trials_logged() == {"trial 1"}
    (trial,) = trials_of(run)

    assert (trial.info.status, trial.data.params) == ("FINISHED", {"max_depth": "8"})
    assert runs.metrics_of(trial.info.run_id) == {"validation_rmse": 4.5}


def test_the_place_of_a_lock_is_this_state_folder_or_a_database_without_its_password(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LOCK_URL", raising=False)
    assert lock_place() == f"{socket.gethostname()}:{tmp_path / 'state'}"
    monkeypatch.setenv("LOCK_URL", "postgresql://me:secret@db.example:5432/mlflow")

    assert lock_place() == "postgresql://db.example:5432/mlflow"
