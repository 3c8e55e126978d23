"""`show`, `registry` and `experiments` with no, one and many models: on terminals, in pipes, for programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter
from support.terminals import terminal, without_styles
from support.tracked import KEY, NAME, bare_version, mlflow_client

from mlops.__main__ import main
from mlops.command_line.json_records import RECORDS
from mlops.errors import command
from mlops.registry import alias_log, approvals, client, experiments, versions
from mlops.registry.alias_log import CHALLENGER, CHAMPION
from mlops.registry.run_lifecycle import start_run

GREEN, ODD = "trip-duration-green", "trip-duration-a model with a long name – naïve 日本語, made by somebody"
WHY = "RMSE 4.0352 is 4.46% below the RMSE 4.2234 of the champion (version 1); " * 4
BY = "run f8c846b29c1a42199b367dcd196a4de9 by scheduler@taxi-training-7d9f6c"
EVIL = "a\x1b[2J\u202e\nb"


def judged(store: Path, name: str, month: str, verdict: str = "promote", **tags: str) -> str:
    """Number of a version that was judged on a month, with its moves of the aliases."""
    number = bare_version(
        store, name, run_key=KEY, artefact_sha256="ab", outcome="challenger", verdict=verdict, test_month=month,
        first_month_learnt="2021-01", last_month_learnt="2021-12", test_rmse="4.0352", proof="passed",
        **{"reason": WHY, **tags},
    )  # fmt: skip
    alias_log.move(name, CHALLENGER, number, by=BY, verdict="promote", reason="newly registered")
    if verdict == "promote":
        alias_log.move(name, CHAMPION, number, by=BY, verdict="promote", reason=WHY)
    return number


@pytest.fixture
def one(store: Path) -> Path:
    judged(store, NAME, "2023-06")
    return store


@pytest.fixture(scope="module")
def filled(migrated_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State folder with four models: 31 versions, an override and one that waits; odd texts; one version; none."""
    state = tmp_path_factory.mktemp("filled")
    shutil.copy(migrated_store, state / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLOPS_STATE_DIR", str(state))
        client.connect(f"sqlite:///{state / 'mlflow.db'}", state, 5.0)
        judged(state, NAME, "2023-06")
        for number in range(30):
            month = f"{2021 + number // 12}-{number % 12 + 1:02d}"
            judged(state, GREEN, month, "promote" if number in (0, 29) else "keep")
        to = {"by": "anna@laptop", "verdict": "by operator", "reason": WHY, "overrides": "keep"}
        alias_log.move(GREEN, CHAMPION, "28", **to)
        waits = versions.get(GREEN, judged(state, GREEN, "2023-07", "keep"))
        versions.tag(waits, approvals.tag_of(waits, "the gain is small"))
        judged(state, ODD, "2023-02", reason=EVIL, forced="true")
        mlflow_client().create_registered_model("trip-duration-yellow")
        with start_run(experiments.place_of(GREEN, "short trips"), "green 2023-06", KEY) as run:
            run.log_parameters({"month": "2023-06"})
            run.log_metrics({"test_rmse": 4.5})
            run.set_tags(experiments.named("short trips", EVIL))
            run.set_tags(experiments.tags_of(None) | experiments.verdict_tags("keep", WHY, "seed 1"))
    return state


@pytest.fixture
def many(filled: Path, store: Path) -> Path:
    """State folder of this test with a copy of that registry."""
    for name in ("mlflow.db", "registry.key"):
        shutil.copy(filled / name, store / name)
    return store


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Output of a command that succeeds."""
    assert main(words) == 0
    return capsys.readouterr().out


def printed(capsys: pytest.CaptureFixture[str], key: str, *words: str) -> Any:
    """What a command prints with `--json`, after a look at the schema of its record."""
    found = json.loads(said(capsys, *words, "--json"))
    jsonschema.validate(found, TypeAdapter(RECORDS[key]).json_schema(mode="serialization"))
    return found


@pytest.mark.parametrize("columns", [80, 200])
@pytest.mark.parametrize("words", ["show", f"show {GREEN}", f"registry --model {GREEN}", "experiments"])
@pytest.mark.usefixtures("many")
def test_a_terminal_gets_lines_that_fit_and_links_that_are_whole(words: str, columns: int) -> None:
    with terminal(columns) as out:
        assert main(words.split()) == 0
    shown = out()
    lines = without_styles(shown).splitlines()
    assert shown != without_styles(shown)
    assert all(line.isprintable() and line == line.rstrip() for line in lines)
    wide = [line for line in lines if len(line) > columns]
    assert all("http://127.0.0.1:" in line or "load_model(" in line or " approve " in line for line in wide)
    for line in wide:
        assert "..." not in line.replace("--reason ...", "")


@pytest.mark.usefixtures("many")
def test_a_narrow_terminal_shows_the_important_columns_of_versions_and_says_so() -> None:
    headers = {}
    for columns in (80, 200):
        with terminal(columns) as out:
            main(["registry", "--model", GREEN])
        lines = without_styles(out()).splitlines()
        headers[columns] = lines[1]
        assert ("not shown in 80 columns: trained on" in lines) == (columns == 80)
        assert sum("2021-" in line or "2022-" in line or "2023-" in line for line in lines) >= 31
    assert headers[80].split() == ["version", "aliases", "tested", "on", "rmse", "verdict", "verified"]
    assert "trained on" in headers[200]


@pytest.mark.usefixtures("many")
def test_without_a_terminal_every_line_is_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = said(capsys, "registry", "--model", GREEN)
    assert text.count(f"         {WHY.strip()}\n") == 31
    assert "..." not in text.replace("--reason ...", "")
    assert "\x1b" not in text
    assert "alias moves, the last 10 of 34, newest last:\n" in text


@pytest.mark.usefixtures("many")
def test_show_lists_all_models_with_what_waits(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "show").splitlines()
    assert lines[0].split() == ["model", "champion", "tested", "on", "rmse", "newest", "next", "month"]
    assert [line.split("  ")[0] for line in lines[1:5]] == [ODD, GREEN, NAME, "trip-duration-yellow"]
    assert lines[2].split()[1:] == ["28", "(0", "days)", "2023-04", "4.0352", "31:", "keep", "2023-08"]
    assert lines[4].split() == ["trip-duration-yellow", "none"]
    assert lines[5].startswith(f"NOTE: {GREEN}: made champion overriding keep, by anna@laptop on 20")
    assert lines[6].startswith(f"NOTE: {GREEN}: version 31 waits for approval since 20")
    assert lines[7].strip() == command(f"approve 31 --model {GREEN} --reason ...")
    assert lines[8:] == [f"more about one of them: {command('show MODEL')}"]


@pytest.mark.usefixtures("one")
def test_show_of_the_only_model_has_its_champion_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, "show").splitlines()
    assert lines[1].split() == [NAME, "1", "(0", "days)", "2023-06", "4.0352", "1:", "promote", "2023-07"]
    assert lines[2:] == ["", *said(capsys, "show", NAME).splitlines()]
    assert f'load it: mlflow.pyfunc.load_model("models:/{NAME}@champion")' in lines


@pytest.mark.usefixtures("one")
def test_a_move_by_hand_is_said_once_by_show_of_the_only_model(capsys: pytest.CaptureFixture[str]) -> None:
    mlflow_client().delete_registered_model_alias(NAME, CHALLENGER)
    note = "NOTE: challenger was moved by hand from version 1 to none"
    assert said(capsys, "show").splitlines()[-1] == note
    assert note not in said(capsys, "show")


@pytest.mark.usefixtures("many")
def test_every_listing_is_json_of_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    models = printed(capsys, "show", "show")
    assert [each["model"] for each in models] == [ODD, GREEN, NAME, "trip-duration-yellow"]
    green = models[1]
    assert (green["champion"], green["newest_verdict"], green["next_month"]) == ("28", "keep", "2023-08")
    assert green["waiting"]["why"] == "the gain is small"
    assert green["champion_since"].endswith("Z")
    champion = printed(capsys, "show MODEL", "show", GREEN)
    assert champion["version"]["override"]["by"] == "anna@laptop"
    listing = printed(capsys, "registry", "registry", "--model", GREEN)
    assert (len(listing["versions"]), len(listing["moves"])) == (31, 34)
    assert listing["versions"][0]["reason"] == WHY
    (tried,) = printed(capsys, "experiments", "experiments")
    assert tried["note"] == EVIL
    past = printed(
        capsys,
        "registry --as-of DATE",
        "registry",
        "--model",
        NAME,
        f"--as-of={listing['moves'][0]['at'][:10]}",
    )
    assert [each["number"] for each in past["champions"]] == ["1"]


@pytest.mark.usefixtures("many")
def test_odd_texts_are_shown_as_they_are_and_obeyed_by_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = said(capsys, "registry", "--model", ODD)
    assert f"{ODD}\n" in text
    assert "         a\\x1b[2J\\u202e b\n" in text
    (only,) = printed(capsys, "registry", "registry", "--model", ODD)["versions"]
    assert (only["reason"], only["is_forced"]) == (EVIL, True)


@pytest.mark.parametrize("words", [["show"], ["show", "--json"], ["registry"], ["registry", "--json"]])
def test_an_empty_registry_is_an_error_with_the_next_act(
    words: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "train one first" in shown.err


def test_no_experiment_is_an_empty_list(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "experiments", "experiments") == []
