"""Commands on a registry, typed one after another as in a terminal."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.doors import SAMPLE_MODEL, Ended, Machine, kept_state, with_store

FEW = {"min_test_rows": 500}  # the months are small, but their verdicts must count
APRIL = {"month": "2023-04", **FEW}
WHY = ("--reason", "slow at night")
URI = f"models:/{SAMPLE_MODEL}"
Past = tuple[Machine, Callable[[], Machine]]  # a machine, and what restores its state
pytestmark = pytest.mark.timeout(600)  # the first test waits for three runs


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, months: Path, migrated_store: Path) -> Iterator[Past]:
    """A machine with champion 1, then champion 2, and 3 (2 trained again), and a copy of its state."""
    folder = tmp_path_factory.mktemp("operator")
    machine = with_store(Machine(folder / "machine", months), migrated_store)
    for ended in (machine.train(**FEW), machine.train(**APRIL), machine.train("--force", **APRIL)):
        assert ended.status == 0, ended.output
    with kept_state(machine) as restore:
        yield machine, restore


@pytest.fixture
def machine(past: Past) -> Machine:
    """That machine, restored to its first state."""
    _, restore = past
    return restore()


def said(ended: Ended) -> str:
    """Output of a command that succeeded."""
    assert ended.status == 0, ended.output
    return ended.stdout


def refused(ended: Ended, status: int = 1) -> str:
    """The single error line of a command that failed."""
    assert ended.status == status, ended.output
    assert ended.stdout == ""
    line = ended.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in ended.stderr
    return line


def artefacts(machine: Machine, name: str) -> list[Path]:
    """A file of the model's folder for each version, oldest first."""
    return sorted(machine.state.rglob(f"artifacts/data/model/{name}"), key=lambda path: path.stat().st_mtime)


# --- Looking ------------------------------------------------------------------------------------------------


def test_the_list_of_versions_fits_a_terminal(machine: Machine) -> None:
    text = said(machine.mlops("registry"))
    assert max(map(len, text.splitlines())) <= 200
    assert re.search(
        r"^ +3 +challenger +yes +2023-04 +2023-01 to 2023-03 +\d\.\d{4} +\w+ +passed$", text, re.M
    )
    assert re.search(r"^ +2 +champion +2023-04 +2023-01 to 2023-03 +\d\.\d{4} +promote +passed$", text, re.M)
    assert re.search(r"^ +1 +2023-03 +2023-01 to 2023-02 +\d\.\d{4} +promote +passed$", text, re.M)
    moves = re.findall(r"(champion \w+ -> \d)  (promote) \(run \w{8} by .+@.+\):\s+(.+)", text)
    assert [(move, verdict) for move, verdict, _ in moves] == [
        ("champion none -> 1", "promote"),
        ("champion 1 -> 2", "promote"),
    ]
    assert moves[0][2] == "there was no champion before"
    assert "NOTE" not in text


def test_who_answered_on_a_day(machine: Machine) -> None:
    started = datetime.fromtimestamp(machine.parents()[0].info.start_time / 1000, timezone.utc)
    today = f"{started:%Y-%m-%d}"
    text = said(machine.mlops("registry", f"--as-of={today}"))
    assert re.findall(r"version (\d) \(since .* UTC; until (?:now|.* UTC)\)", text) == ["1", "2"]
    for month in ("2023-01", "2023-02", "2023-03", "2023-04"):
        assert f"{machine.source}/green_tripdata_{month}.parquet" in text

    exact = json.loads(said(machine.mlops("registry", f"--as-of={today}", "--json")))["champions"][0]
    first, until = (datetime.fromisoformat(exact[name]) for name in ("since", "until"))
    between = said(machine.mlops("registry", f"--as-of={(first + (until - first) / 2).isoformat()}"))
    assert re.findall(r"version (\d) \(since", between) == ["1"]
    assert "trained on 2023-01 to 2023-02, tested on 2023-03: RMSE" in between

    before = said(machine.mlops("registry", f"--as-of={first - timedelta(days=1):%Y-%m-%d}"))
    assert "no version was champion on" in before
    assert f"the first champion dates from {first:%Y-%m-%d %H:%M} UTC" in before


def test_show_describes_the_champion(machine: Machine) -> None:
    text = said(machine.mlops("show", SAMPLE_MODEL))
    assert f"champion is {URI}/2, trained on 2023-01 to 2023-03, tested on" in text
    assert "pair median" in text


# --- Moving -------------------------------------------------------------------------------------------------


def test_promote_then_roll_back_twice_and_no_further(machine: Machine) -> None:
    verdict = f"{URI}/3 has the verdict keep: {machine.versions()[2].tags['reason']}"
    assert f"{verdict}. Expected a person's consent" in refused(machine.mlops("promote", "3", *WHY), status=2)
    assert machine.alias("champion") == "2"

    moved = said(machine.mlops("promote", "3", "--yes", *WHY))
    assert_moved(moved, "3", "2", f"NOTE: {verdict}")
    assert machine.alias("champion") == "3"
    assert f"{URI}/3 is already champion; nothing was changed" in refused(machine.mlops("promote", "3", *WHY))
    assert_overridden(machine, said(machine.mlops("show")))

    assert_moved(said(machine.mlops("rollback", *WHY)), "2", "3")
    assert_moved(said(machine.mlops("rollback", *WHY)), "1", "2")
    assert "there is no earlier champion to roll back to" in refused(machine.mlops("rollback", *WHY))
    assert machine.alias("champion") == "1"
    text = said(machine.mlops("registry"))
    assert re.search(r"^ +3 +challenger .* keep, overridden +passed$", text, re.M)
    for move in (
        "champion 2 -> 3  by operator, overriding keep",
        "champion 3 -> 2  rollback",
        "champion 2 -> 1  rollback",
    ):
        assert re.search(rf"{move} \(.+@.+\):\s+slow at night", text)


def assert_moved(text: str, version: str, before: str, *notes: str) -> None:
    """What a command prints that moved `champion`: the versions, the page of the new one, and perhaps a note."""
    moved, page, *others = text.splitlines()
    assert moved == f"{URI}/{version} is now champion; previous champion: version {before}"
    assert page.startswith("its page: `make mlflow` shows it at http://127.0.0.1:")
    assert f"/#/models/{SAMPLE_MODEL}/versions/{version}" in page
    assert others == [*notes]


def assert_overridden(machine: Machine, shown: str) -> None:
    """What `show`, the model card and MLflow's pages say of version 3, whose verdict is "keep"."""
    override = (
        r"made champion overriding keep, by \S+@\S+ on [\d-]+( [\d:]+ UTC)? \(by operator\): slow at night"
    )
    assert re.search(f"^NOTE: {override}$", shown, re.M)
    version = machine.versions()[2]
    assert re.fullmatch(override, version.tags["overridden"])
    run = machine.client.get_run(version.run_id)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    markdown, page = ((folder / f"model_card.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))
    plain = markdown.replace("\\", "")
    assert re.match(rf"# {SAMPLE_MODEL}, version 3, .*\n\n> \*\*Note:\*\* {override}\n\n", plain)
    assert re.search(rf"</h1>\n<blockquote>\n<p><strong>Note:</strong> {override}</p>", page)
    assert "**Note:** made champion overriding keep" in run.data.tags["mlflow.note.content"]


def test_roll_back_to_a_version_that_was_champion(machine: Machine) -> None:
    assert "version 3 was never champion, so it cannot be rolled back to; use `promote`" in refused(
        machine.mlops("rollback", "--to=3", *WHY)
    )
    assert_moved(said(machine.mlops("rollback", "--to=1", *WHY)), "1", "2")
    assert machine.alias("champion") == "1"


@pytest.mark.parametrize("command", [("promote", "1"), ("approve", "1"), ("rollback",)])
def test_no_move_without_a_reason(command: tuple[str, ...], machine: Machine) -> None:
    reported = refused(machine.mlops(*command, "--reason", " "), status=2)
    assert reported == "error: reason: expected a text that says why, for the journal; got nothing"
    assert machine.alias("champion") == "2"


def test_an_alias_moved_by_hand_is_noticed_once_and_stays(machine: Machine) -> None:
    machine.client.set_registered_model_alias(SAMPLE_MODEL, "champion", "1")
    assert "NOTE: champion was moved by hand from version 2 to 1" in said(machine.mlops("registry"))
    later = said(machine.mlops("registry"))
    assert "NOTE" not in later
    assert re.search(r"champion 2 -> 1  by hand \(unknown\): moved outside this project; noticed now", later)
    assert machine.alias("champion") == "1"


def test_a_promotion_waits_for_approval_if_the_setting_asks_for_it(machine: Machine) -> None:
    said(machine.mlops("rollback", *WHY))
    ended = machine.train(seed=3, require_approval="always", **APRIL)
    assert "waiting for approval (every promotion needs an approval): RMSE" in said(ended)
    assert (
        f"python -m mlops approve 4 --model {SAMPLE_MODEL} --reason ...; or give it the alias" in ended.stderr
    )
    fourth = machine.versions()[3]
    assert (fourth.tags["outcome"], fourth.tags["verdict"]) == ("waiting for approval", "promote")
    assert (machine.alias("champion"), machine.alias("challenger")) == ("1", "4")

    # The setting is not in the run key: without it the run is the same, and decides nothing again.
    again = machine.train(seed=3, **APRIL)
    assert "already registered as waiting for approval" in said(again)
    assert machine.alias("champion") == "1"
    waits = "NOTE: version 4 waits for approval since"
    assert waits in said(machine.mlops("registry"))

    assert "version 2 does not wait for approval; version 4 waits." in refused(
        machine.mlops("approve", "2", *WHY)
    )
    moved = said(machine.mlops("approve", "4", *WHY))
    assert_moved(moved, "4", "1")
    text = said(machine.mlops("registry"))
    assert re.search(r"champion 1 -> 4  approved \(.+@.+\):\s+slow at night", text)
    assert waits not in text


# --- Damage -------------------------------------------------------------------------------------------------


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "name"),
    [(flip_a_byte, "booster.ubj"), (cut, "encoder.npz"), (Path.unlink, "model.json")],
    ids=["a byte flipped", "a file cut", "a file gone"],
)
def test_a_damaged_version_cannot_become_champion(
    damage: Callable[[Path], None], name: str, machine: Machine
) -> None:
    damage(artefacts(machine, name)[0])
    for command in (("promote", "1"), ("rollback",)):
        reported = refused(machine.mlops(*command, *WHY))
        assert (
            f"{URI}/1 cannot become champion: {URI}/1: since it was signed, data/model/{name} was "
            in reported
        )
        assert "Choose another version, or train it again with --force." in reported
    assert machine.alias("champion") == "2"
    assert re.search(r"^ +1  .* failed$", said(machine.mlops("registry")), re.M)


def test_a_changed_champion_that_was_set_by_hand_runs_nothing_and_loses_to_the_next_challenger(
    machine: Machine,
) -> None:
    machine.client.set_registered_model_alias(SAMPLE_MODEL, "champion", "1")
    ran = machine.folder / "ran"
    code = min(machine.state.rglob("code/*/model/__init__.py"), key=lambda path: path.stat().st_mtime)
    code.write_text(f"{code.read_text()}\n__import__('pathlib').Path({str(ran)!r}).touch()\n")
    ended = machine.train(seed=7, **APRIL)
    assert f"{URI}/4" in said(ended)
    assert "champion was moved by hand from version 2 to 1" in ended.stderr
    assert machine.alias("champion") == "4"
    reason = machine.versions()[3].tags["reason"]
    assert "champion (version 1)" in reason
    changed = "/".join(code.parts[-4:])
    assert (
        f"could not be scored: {URI}/1: since it was signed, {changed} was changed; nothing of it was"
        in reason
    )
    assert not ran.exists()


def test_versions_of_before_are_loaded_when_a_person_trusts_them(machine: Machine) -> None:
    for number in ("1", "2", "3"):
        machine.client.delete_model_version_tag(SAMPLE_MODEL, number, "signature")
    act = rf"If you trust it: .*python -m mlops trust 1 --model {SAMPLE_MODEL}$"
    assert re.search(act, refused(machine.mlops("rollback", *WHY)))
    line = next(line for line in machine.mlops("doctor").stdout.splitlines() if ": champion: " in line)
    assert line.startswith(f"OPEN\t{SAMPLE_MODEL}: champion: {URI}/2: it is not signed")
    asked = machine.mlops("trust", "all")
    assert asked.status == 2
    assert f"error: {SAMPLE_MODEL}, not signed with {machine.state / 'registry.key'}:" in asked.stderr
    assert "give --yes to sign them" in asked.stderr
    signed = [f"{URI}/{number} is signed; its code can run on this machine now" for number in "123"]
    assert said(machine.mlops("trust", "all", "--yes")).splitlines() == signed
    assert said(machine.mlops("trust", "1")) == f"{SAMPLE_MODEL}: nothing to do; signed already: 1\n"
    assert_moved(said(machine.mlops("rollback", *WHY)), "1", "2")


# --- Again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("door", ["train", "mage run"])
def test_the_same_settings_again_give_the_version_there_is(door: str, machine: Machine) -> None:
    ended = (machine.train if door == "train" else machine.mage_run)(**FEW)
    assert f"{URI}/1" in said(ended)
    assert (
        f"{URI}/1 is already registered with this run key: nothing to do; set force to train again"
        in ended.output
    )
    assert "already registered" in ended.stdout
    assert "trial 1 of" not in ended.output
    assert machine.numbers() == ["1", "2", "3"]


def test_a_forced_run_is_another_version_of_the_same_run(machine: Machine) -> None:
    _, second, third = machine.versions()
    assert "forced" not in second.tags
    assert third.tags["forced"] == "true"
    assert second.tags["run_key"] == third.tags["run_key"]
    assert second.tags["artefact_sha256"] == third.tags["artefact_sha256"]
    assert second.run_id != third.run_id
    assert machine.alias("champion") == "2"


def test_reproduce_gives_the_same_predictions(machine: Machine) -> None:
    text = said(machine.mlops("reproduce", "2"))
    assert re.match(rf"{URI}/2 reproduced: the predictions for all [\d,]+ test trips are the same\n", text)
    assert machine.numbers() == ["1", "2", "3"]


def test_reproduce_refuses_a_month_that_was_replaced(machine: Machine, tmp_path: Path) -> None:
    source = shutil.copytree(machine.source, tmp_path / "source")
    replaced = source / "green_tripdata_2023-02.parquet"
    pq.write_table(pq.read_table(replaced).slice(1), replaced)
    reported = refused(machine.mlops("reproduce", "2", f"--source={source}"))
    assert re.search(
        r"/2: the source holds other months than those it was trained on "
        r"\(sha256 of 2023-02: expected \w{12}, got \w{12}\)\.",
        reported,
    )


# --- Wrong input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "status", "reported"),
    [
        ("promote 99 --reason x", 1, "there is no version 99; existing versions: 1, 2, 3"),
        ("promote abc --reason x", 2, "version: expected the number of a version, got 'abc'; `registry` lists"),
        ("approve 99 --reason x", 1, "there is no version 99; existing versions: 1, 2, 3"),
        ("approve 3 --reason x", 1, "version 3 does not wait for approval; no version waits."),
        ("rollback --to 99 --reason x", 1, "version 99 was never champion"),
        ("rollback --to abc --reason x", 2, "version: expected the number of a version, got 'abc'"),
        ("reproduce 99", 1, "there is no version 99; existing versions: 1, 2, 3"),
        ("reproduce abc", 2, "version: expected the number of a version, got 'abc'"),
        (
            "registry --model trip-duration-blue", 2,
            "got 'trip-duration-blue'. Registered models: trip-duration-sample",
        ),
        ("promote 1 --model blue --reason x", 2, "model: expected the name of a registered model; got 'blue'"),
        ("reproduce 1 --model blue", 2, "model: expected the name of a registered model; got 'blue'"),
        ("show trip-duration-blue", 2, "got 'trip-duration-blue'. Registered models: trip-duration-sample"),
        (
            "registry --as-of yesterday", 2,
            "as-of: expected a date such as 2026-10-03, or a time such as 2026-10-03T08:30; got 'yesterday'",
        ),
        ("registry --as-of 2023-02-30", 2, "as-of: expected a date such as 2026-10-03, or a time"),
        ("registry --as-of 9999-01-01", 2, "as-of: expected a day or a time in the past, UTC; got 9999-01-01"),
    ],
)  # fmt: skip
def test_wrong_input(command: str, status: int, reported: str, past: Past) -> None:
    machine, _ = past  # unchanged
    assert reported in refused(machine.mlops(*command.split()), status)


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        *((command, "model: expected exactly one registered model; got 0: ") for command in (
            "registry", "registry --json", "promote 1 --reason x", "rollback --reason x", "reproduce 1",
        )),
        *((command, "there is no registered model; ") for command in ("show", "show --json")),
    ],
)  # fmt: skip
def test_nothing_is_registered_yet(
    command: str, problem: str, tmp_path: Path, months: Path, migrated_store: Path
) -> None:
    empty = with_store(Machine(tmp_path / "empty", months), migrated_store)
    assert refused(empty.mlops(*command.split()), status=2) == f"error: {problem}train one first"


def test_of_two_models_one_must_be_chosen_and_show_lists_both(machine: Machine) -> None:
    machine.client.create_registered_model("trip-duration-green")
    both = "trip-duration-green, trip-duration-sample"
    reported = refused(machine.mlops("registry"), status=2)
    assert reported.endswith(f"got 2: choose one with --model: {both}")
    header, green, sample, *hint = said(machine.mlops("show")).splitlines()
    assert header.split() == ["model", "champion", "tested", "on", "rmse", "newest", "next", "month"]
    assert green.split() == ["trip-duration-green", "none"]
    assert re.fullmatch(rf"{SAMPLE_MODEL} +2 \(\d days?\) +2023-04 +\d\.\d{{4}} +3: \w+ +2023-05", sample)
    assert re.fullmatch(r"more about one of them: \S+ -m mlops show MODEL", "\n".join(hint))
    assert said(machine.mlops("registry", f"--model={SAMPLE_MODEL}")).startswith(f"{SAMPLE_MODEL}\n")
