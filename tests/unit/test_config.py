"""Settings are validated before anything is changed, in every way to start a run."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pydantic
import pytest
import sqlalchemy
import yaml

from mlops import config, state_folder
from mlops.command_line.setting_groups import GROUPS
from mlops.config import PROJECT, Settings
from mlops.errors import ConfigError
from mlops.mage import MAGE_VARIABLES, from_mage
from mlops.month import Month


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        Settings.parse(values)
    return str(refused.value)


def test_the_pipelines_variables_are_the_defaults() -> None:
    pipeline = yaml.safe_load((PROJECT / "pipelines/trip_duration_training/metadata.yaml").read_text())
    variables = pipeline["variables"]

    assert variables == Settings().model_dump()
    assert list(variables) == [name for names in GROUPS.values() for name in names]
    assert {name: type(value) for name, value in variables.items()} == {
        name: type(value) for name, value in Settings().model_dump().items()
    }


def test_the_defaults_touch_nothing_real() -> None:
    assert Settings().source == "sample"
    assert Settings.parse(Settings().model_dump()) == Settings()


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():  # the options' help and the settings page
        assert re.fullmatch(r"[A-Z].{20,}[^.]\.", field.description or ""), name
    assert Settings().describe() == {name: str(value) for name, value in Settings().model_dump().items()}


def test_a_missing_setting_has_its_default() -> None:
    settings = Settings.parse({"service": "yellow", "month": " 2019-12 ", "source": " tlc "})

    assert (settings.service, settings.month, settings.source) == ("yellow", "2019-12", "tlc")
    assert settings.test_month == Month(2019, 12)
    assert settings.seed == Settings().seed


def test_a_ceiling_and_a_half_life_may_be_left_open() -> None:
    assert Settings().tuning_seconds is Settings().half_life_months is None
    assert Settings.parse({"tuning_seconds": None, "half_life_months": 1.5}).half_life_months == 1.5


def test_settings_that_change_the_result_are_separate_from_the_others() -> None:
    settings = Settings(source="https://me:secret@example.org/", force=True)

    assert settings.result_settings() == Settings().result_settings()
    assert set(Settings().describe()) - set(settings.result_settings()) == set(config.OPERATIONAL)
    assert settings.describe()["source"] == "https://example.org"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Settings().seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("max_trails", "max_trials"),
        ("train_month", "train_months"),
        ("use_distances", "use_distance"),
        ("Month", "month"),
        ("warmstart", "warm_start"),
        ("half_life", "half_life_months"),
    ],
)
def test_a_misspelt_setting_names_the_nearest(misspelt: str, meant: str) -> None:
    assert refusal(**{misspelt: 1}) == f"unknown setting '{misspelt}'; did you mean '{meant}'?"


def test_an_unknown_setting_similar_to_none_lists_all() -> None:
    assert refusal(zzz=1) == f"unknown setting 'zzz'; known settings: {', '.join(Settings.model_fields)}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"service": "blue"}, "service: expected one of green, yellow, fhvhv; got 'blue'"),
        (
            {"service": "gren"},
            "service: expected one of green, yellow, fhvhv; got 'gren'; did you mean 'green'?",
        ),
        (
            {"service": "fhv"},
            "service: fhv trips have no distance in TLC's files, so their duration is not modelled here; "
            "choose one of green, yellow, fhvhv (fhvhv is Uber and Lyft)",
        ),
        (
            {"month": "2023-13"},
            "month: there is no month 2023-13; write YYYY-MM with MM from 01 to 12, for example 2023-10",
        ),
        ({"month": "October"}, "month: expected YYYY-MM, for example 2023-10; got 'October'"),
        ({"month": None}, "month: input should be a valid string; got None"),
        ({"train_months": 0}, "train_months: input should be greater than or equal to 1; got 0"),
        ({"max_trials": 0}, "max_trials: input should be greater than or equal to 1; got 0"),
        ({"seed": -1}, "seed: input should be greater than or equal to 0; got -1"),
        ({"half_life_months": 0}, "half_life_months: input should be greater than 0; got 0"),
        (
            {"warm_start": "maybe"},
            "warm_start: input should be a valid boolean, unable to interpret input; got 'maybe'",
        ),
        (
            {"compare_course": 2},
            "compare_course: input should be a valid boolean, unable to interpret input; got 2",
        ),
        ({"tuning_seconds": 0}, "tuning_seconds: input should be greater than 0; got 0"),
        ({"min_rows_ratio": 1.5}, "min_rows_ratio: input should be less than or equal to 1; got 1.5"),
        (
            {"use_distance": "maybe"},
            "use_distance: input should be a valid boolean, unable to interpret input; got 'maybe'",
        ),
        ({"min_improvement": 1.0}, "min_improvement: input should be less than 1; got 1.0"),
        (
            {"max_champion_age_months": 0},
            "max_champion_age_months: input should be greater than or equal to 1; got 0",
        ),
        ({"tracking_patience": -1}, "tracking_patience: input should be greater than or equal to 0; got -1"),
        ({"on_busy": "queue"}, "on_busy: expected one of wait, refuse; got 'queue'"),
        (
            {"force": "maybe"},
            "force: input should be a valid boolean, unable to interpret input; got 'maybe'",
        ),
        (
            {"train_months": "many"},
            "train_months: input should be a valid integer, unable to parse string as an integer; got 'many'",
        ),
    ],
)
def test_a_bad_value_says_what_was_expected_and_got(values: dict[str, Any], message: str) -> None:
    assert refusal(**values) == message


def test_an_empty_source_is_refused() -> None:
    assert refusal(source=" ").startswith("source: expected sample, tlc, a folder or a URL; got ")


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize(
    "name", ["tuning_seconds", "connect_timeout", "half_life_months", "tracking_patience"]
)
def test_times_are_finite(name: str, value: float) -> None:
    assert refusal(**{name: value}).startswith(f"{name}: ")


def test_mages_own_names_are_not_settings_and_ours_are_not_mages() -> None:
    own = {name: object() for name in MAGE_VARIABLES} | {"logger": logging.getLogger("a block's")}

    assert from_mage({**own, "service": "yellow"}, argv=[]) == Settings(service="yellow")
    assert not MAGE_VARIABLES & set(Settings.model_fields)


def test_numbers_and_switches_of_a_form_may_be_text() -> None:
    form = {"max_trials": "3", "half_life_months": "2.5", "use_distance": "false", "month": "2023-05"}
    read = Settings(max_trials=3, half_life_months=2.5, use_distance=False, month="2023-05")
    assert from_mage(form, argv=[]) == read
    with pytest.raises(ConfigError, match=r"max_trials: input should be a valid integer.*; got 'three'"):
        from_mage({"max_trials": "three"}, argv=[])


def test_an_emptied_field_of_a_form_is_none_or_refused() -> None:
    can_be_none = (
        "experiment",
        "experiment_note",
        "half_life_months",
        "tuning_seconds",
        "start_month",
        "end_month",
    )
    assert from_mage(dict.fromkeys(can_be_none, ""), argv=[]) == Settings()
    for name in Settings.model_fields.keys() - {*can_be_none}:
        with pytest.raises(
            ConfigError, match=f"^{name}: expected a value, for example .*; got an empty field"
        ):
            from_mage({name: " "}, argv=[])


def test_any_other_name_from_mage_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^unknown setting 'servic'; did you mean 'service'\?$"):
        from_mage({"pipeline_uuid": "trip_duration_training", "servic": "yellow"}, argv=[])


def as_arguments(value: str) -> list[list[str]]:
    """Both ways of writing the option, among others."""
    return [
        ["mage", "run", ".", "p", "--runtime-vars", value, "--test"],
        ["mage", "run", ".", "p", f"--runtime-vars={value}", "--test"],
    ]


@pytest.mark.parametrize("argv", as_arguments("{'service': 'green'}"))
def test_runtime_variables_that_are_not_json_are_refused(argv: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        from_mage({}, argv)

    assert str(refused.value) == (
        "--runtime-vars is not valid JSON (Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)); got \"{'service': 'green'}\". "
        """Write for example --runtime-vars '{"service": "green", "month": "2023-10"}'"""
    )


@pytest.mark.parametrize("value", ["[1]", '"service"', "null", "3"])
def test_runtime_variables_that_are_not_an_object_are_refused(value: str) -> None:
    for argv in as_arguments(value):
        with pytest.raises(ConfigError) as refused:
            from_mage({}, argv)
        assert str(refused.value) == f"--runtime-vars: expected a JSON object of settings; got {value!r}"


def test_runtime_variables_without_a_value_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--runtime-vars is not valid JSON .*; got ''\. "):
        from_mage({}, ["mage", "run", ".", "p", "--runtime-vars"])


@pytest.mark.parametrize("argv", [*as_arguments('{"service": "yellow"}'), ["mage", "start"], []])
def test_good_runtime_variables_are_left_to_mage(argv: list[str]) -> None:
    assert from_mage({"service": "yellow"}, argv) == Settings(service="yellow")


def test_an_interrupt_of_a_block_in_the_editor_says_what_to_do() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # as the kernel does
    try:
        from_mage({}, argv=[])
        with pytest.raises(KeyboardInterrupt, match=r"^interrupted; this block did not finish. Run it again"):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_packages_log_shows_in_mages_once(capsys: pytest.CaptureFixture[str]) -> None:
    from_mage({}, argv=[])
    from_mage({}, argv=[])
    logging.getLogger("mlops.data.trips").info("kept 3 of 4")

    assert capsys.readouterr().out.count("kept 3 of 4") == 1


def test_the_state_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "here"))
    assert config.state_dir() == tmp_path / "here"
    assert not (tmp_path / "here").exists()
    assert config.tracking_uri() == f"sqlite:///{tmp_path / 'here' / 'mlflow.db'}"

    monkeypatch.delenv("MLOPS_STATE_DIR")
    assert config.state_dir() == PROJECT / ".state"


def test_the_tracking_server_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert config.tracking_uri() == "http://127.0.0.1:5000"


def test_threads_are_those_requested_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_THREADS", "3")
    assert config.threads() == 3
    monkeypatch.setenv("MLOPS_THREADS", "")
    assert 1 <= config.threads() <= (os.cpu_count() or 1)


def test_a_containers_quota_counts_as_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLOPS_THREADS")
    monkeypatch.setattr("joblib.externals.loky.backend.context._cpu_count_cgroup", lambda cores: 1)
    assert config.threads() == 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "²"])
def test_threads_that_are_not_a_number_are_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLOPS_THREADS", text)
    with pytest.raises(ConfigError) as refused:
        config.threads()
    assert str(refused.value) == f"MLOPS_THREADS: expected a positive whole number; got {text!r}"


# --- Paths and addresses ------------------------------------------------------------------------------------


def refused_folder(monkeypatch: pytest.MonkeyPatch, folder: str) -> str:
    monkeypatch.setenv("MLOPS_STATE_DIR", folder)
    with pytest.raises(ConfigError) as refused:
        config.state_dir()
    return str(refused.value)


@pytest.mark.parametrize(
    "name",
    ["my state", "100%", "50% off", "%%", "a#b", "a&b", "it's", 'a "b"', "Zürich 北京", "-dash", "back\\slash",
     "a:b", "a;b", "a@2", "a+b", "$HOME", "`id`", "a*[b]", "{a}", "a|b", "<a>", " a ", "a..b", "~a"],
)  # fmt: skip
def test_a_state_folder_may_have_a_name_like(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / name / "state"))
    assert config.state_dir() == tmp_path / name / "state"


@pytest.mark.parametrize(
    ("name", "found"),
    [("job_feature%2Fnew-model", "'%2F' (MLflow decodes it)"), ("a%20b", "'%20' (MLflow decodes it)"),
     ("%C3%BC", "'%C3' (MLflow decodes it)"), ("what?", "'?' (an SQLite address ends there)"),
     ("two\nlines", r"'\n' (it is a control character)"), ("a\x7f", r"'\x7f' (it is a control character)"),
     ("z\udcfcrich", r"'\udcfc' (it is not UTF-8)")],
)  # fmt: skip
def test_a_state_folder_that_would_be_another_one_for_a_program_is_refused(
    name: str, found: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = found.replace("decodes it", "decodes it, so it would not find the champion")
    assert refused_folder(monkeypatch, str(tmp_path / name / "state")) == (
        f"the state folder {str(tmp_path / name / 'state')!r} cannot be used, because its path contains {found}; "
        "set MLOPS_STATE_DIR to a folder without it"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_link_to_a_state_folder_counts_as_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "a%2Fb").symlink_to(tmp_path / "good")
    monkeypatch.setenv("MLOPS_STATE_DIR", str(tmp_path / "a%2Fb"))
    assert config.state_dir() == tmp_path / "good"


@pytest.mark.parametrize("name", ["a:b", "what?", "two\nlines"])
def test_a_checkout_with_such_a_name_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(state_folder, "PROJECT", tmp_path / name)
    text = refused_folder(monkeypatch, str(tmp_path / "state"))
    assert text.startswith(
        f"the checkout {str(tmp_path / name)!r} cannot be used, because its path contains "
    )
    assert text.endswith("; move the checkout to a folder without it, and run make clean install there")


def test_an_environment_in_a_folder_with_a_percent_sign_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "100%" / ".venv"))
    text = refused_folder(monkeypatch, str(tmp_path / "state"))
    assert text.startswith(
        f"the Python environment '{tmp_path}/100%/.venv' cannot be used, because its path "
    )


@pytest.mark.parametrize(
    ("address", "file"),
    [("sqlite:////var/mlflow.db", "/var/mlflow.db"), ("sqlite:///mlflow.db", "mlflow.db"),
     ("sqlite:////var/mlflow.db?timeout=30", "/var/mlflow.db"),
     ("sqlite:////my state/100% #1.db?timeout=30&check_same_thread=false", "/my state/100% #1.db"),
     ("sqlite+pysqlite:///../mlflow.db", "../mlflow.db"),
     ("http://127.0.0.1:5000", None), ("postgresql://me@db/mlflow?a=b", None), ("databricks", None),
     ("mlruns", None)],
)  # fmt: skip
def test_the_file_of_an_sqlite_address(
    address: str, file: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert config.sqlite_file(address) == (file and Path(file))
    if file:
        assert sqlalchemy.make_url(address).database == file
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert config.tracking_uri() == address


@pytest.mark.parametrize(
    ("address", "expected"),
    [("sqlite://", "expected a file's path"), ("sqlite:///", "expected a file's path"),
     ("sqlite:///:memory:", "expected a file's path"), ("sqlite:///file:/var/mlflow.db?uri=true", "a file's path"),
     ("sqlite:/var/mlflow.db", "expected a file's path, as in sqlite:////full/path/mlflow.db"),
     ("sqlite:////what?/mlflow.db", "whose path ends at the '?': use a path without it"),
     ("sqlite:////a?b=c/mlflow.db", "expected options such as ?timeout=30 after the file")],
)  # fmt: skip
def test_an_sqlite_address_without_a_file_is_refused(
    address: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(ConfigError, match=re.escape(expected)) as refused:
        config.tracking_uri()
    assert str(refused.value).startswith("MLFLOW_TRACKING_URI: ")
    assert address in str(refused.value)


# --- Experiments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["short trips", "a", "2", "No.1_b-c", " trimmed ", "x" * 60])
def test_an_experiment_has_a_name_that_a_person_reads(name: str) -> None:
    assert Settings.parse({"experiment": name}).experiment == name.strip()


@pytest.mark.parametrize("name", [None, "", "  "])
def test_without_a_name_it_is_no_experiment(name: str | None) -> None:
    assert Settings.parse({"experiment": name, "experiment_note": None}) == Settings()


@pytest.mark.parametrize("name", ["a/b", "../up", "-dash", "Zürich", "two\nlines", "x" * 61, "100%", "."])
def test_another_name_of_an_experiment_is_refused(name: str) -> None:
    assert refusal(experiment=name) == (
        "experiment: expected at most 60 characters: letters a to z, digits, spaces and . _ -, the first of them "
        f"a letter or digit; got {name!r}"
    )


def test_an_experiment_needs_a_named_month() -> None:
    assert refusal(experiment="short trips", month="next", start_month="2023-04") == (
        "month: an experiment needs a named test month, YYYY-MM; got next with experiment 'short trips'"
    )


def test_a_note_is_not_a_book() -> None:
    assert refusal(experiment_note="x" * 2001).startswith(
        "experiment_note: string should have at most 2000 characters; got 'xxx"
    )


def test_an_experiment_and_its_note_are_no_reason_for_another_key() -> None:
    settings = Settings(experiment="short trips", experiment_note="why not")
    assert settings.result_settings() == Settings().result_settings()
