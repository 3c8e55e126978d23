"""Every command in the documents is run by a test or is an exception with a reason; all are parsed here."""

from __future__ import annotations

import functools
import json
import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from support.documents import DOCUMENTS, commands, shown

from benchmarks.__main__ import _parser as benchmarks_parser
from mlops.command_line.parser import parse
from mlops.config import PROJECT, Settings
from mlops.serving.__main__ import parser as serving_parser
from stack.__main__ import _parser as stack_parser

MAKEFILE = (PROJECT / "Makefile").read_text()
COMMANDS = sorted({command for document in DOCUMENTS for command in commands(document)})

# Words of a command, the test file that runs such a command, and how. The first entry that fits counts.
RUN_BY = (
    ("python -m mlops train --help", "pipelines/test_command_line.py", '"mlops", "train", "--help"'),
    ("python -m mlops train --dry-run", "pipelines/test_command_line.py", 'machine.train("--dry-run"'),
    ("python -m mlops train --month next", "pipelines/test_next.py", "machine.train(**NEXT"),
    ("python -m mlops train", "pipelines/test_command_line.py", "ready.train(source="),
    ("python -m mlops backfill", "pipelines/test_next.py", '"backfill",'),
    ("python -m mlops replay", "pipelines/test_replay_command.py", '"mlops", "replay"'),
    ("python -m mlops predict", "unit/serving/test_one_ride.py", 'main(["predict", *options])'),
    ("python -m mlops score", "unit/scoring/test_score_command.py", '"mlops", "score"'),
    ("python -m mlops monitor --before-labels", "pipelines/test_monitor_command.py", '"--before-labels"'),
    ("python -m mlops monitor --report", "pipelines/test_monitor_command.py", '"--report", '),
    ("python -m mlops monitor", "pipelines/test_monitor_command.py", '"monitor", '),
    ("python -m mlops show", "pipelines/test_operator_commands.py", 'machine.mlops("show", '),
    ("python -m mlops experiments", "pipelines/test_experiment_runs.py", '.mlops("experiments")'),
    ("python -m mlops registry --as-of", "pipelines/test_operator_commands.py", '"registry", f"--as-of='),
    ("python -m mlops registry --model", "pipelines/test_operator_commands.py", '"registry", f"--model='),
    ("python -m mlops registry", "pipelines/test_operator_commands.py", 'machine.mlops("registry")'),
    ("python -m mlops promote", "pipelines/test_operator_commands.py", 'machine.mlops("promote", '),
    ("python -m mlops approve", "pipelines/test_operator_commands.py", 'machine.mlops("approve", '),
    ("python -m mlops rollback", "pipelines/test_operator_commands.py", 'machine.mlops("rollback", '),
    ("python -m mlops trust", "pipelines/test_operator_commands.py", 'machine.mlops("trust", '),
    ("python -m mlops reproduce", "pipelines/test_operator_commands.py", 'machine.mlops("reproduce", '),
    ("python -m mlops status", "unit/command_line/test_status_command.py", '"mlops", "status"'),
    ("python -m mlops doctor --resume", "pipelines/test_outage.py", 'machine.mlops("doctor", "--resume")'),
    ("python -m mlops doctor", "pipelines/test_outage.py", 'machine.mlops("doctor")'),
    ("python -m mlops notify --test", "unit/operations/test_trial_message.py", 'main(["notify", "--test"])'),
    ("python -m mlops tidy --dry-run", "pipelines/test_maintenance.py", 'machine.mlops("tidy", "--dry-run")'),
    ("python -m mlops tidy", "pipelines/test_maintenance.py", 'machine.mlops("tidy")'),
    ("python -m mlops.serving key", "system/test_service_documents.py", '"mlops.serving", "key", "planner"'),
    ("curl -s", "system/test_service_documents.py", "subprocess.run(asked"),
    ("mlflow models predict", "support/mlflow_commands.py", 'self.command("predict", uri'),
    ("mlflow models serve", "support/mlflow_commands.py", 'self.command("serve", uri'),
    ("mlflow run", "system/test_mlproject.py", "mlflow run . -e train --env-manager local -P month="),
    ("eval", "system/test_mlproject.py", 'eval "$({SHELL})"'),
    ("python -m flows.with_mlflow run", "system/test_mlproject.py", '"flows.with_mlflow", "run", entry'),
    ("python -m stack.notebook script", "pipelines/test_notebook.py", '"stack.notebook", "script"'),
    (
        "python .state/notebook/trip_duration.py",
        "pipelines/test_notebook.py",
        "sys.executable, str(script), *SMALL",
    ),
    ("mage run", "pipelines/test_next.py", "machine.mage_run("),
    ("python -m stack.mage run", "pipelines/test_odd_paths.py", '"stack.mage", "run"'),
    ("python -m stack.next_steps", "unit/stack/test_next_steps.py", "next_steps.main()"),
    ("python -m stack start", "system/test_stack.py", 'command_line(stack.folder, "start")'),
    ("python -m stack status", "system/test_stack.py", 'command_line(stack.folder, "status")'),
    ("python -m stack stop", "system/test_stack.py", 'command_line(stack.folder, "stop")'),
    ("python -m stack backup", "system/test_stack_backup.py", '"backup", str('),
    ("python -m stack restore", "system/test_stack_backup.py", '"restore", str('),
    ("python -m stack.prefect_server", "support/prefect_site.py", '"stack.prefect_server", str(port)'),
    ("export airflow dags test", "system/test_airflow.py", '"airflow-test", f"SETTINGS='),
    ("python flows/with_kubeflow.py run", "system/test_kubeflow.py", '"kubeflow", f"SETTINGS='),
    ("test -e .venv/installed", "unit/test_makefile.py", '["make", "--no-print-directory", target]'),
    ("python -m benchmarks", "unit/test_benchmarks.py", "command.main([*options"),
)
RUN_BY_CI = (
    "make test",
    "make check",
    "make install",
    "make docs",
    "make test-long",
)  # by .ci/run, see below
RUN_HERE = "make help"
EXCEPTIONS = {
    "make lock": "asks the package index for newer versions",
    "make editor": "runs until it is stopped; tests/system/test_editor.py starts it",
    "make notebook": "runs until it is stopped; tests/pipelines/test_notebook.py starts it",
    "make mlflow": "runs until it is stopped; tests/pipelines/test_odd_paths.py starts it",
    "make serve": "runs until it is stopped; tests/support/service_process.py starts it",
    "python3 -m venv": "needs the package index; tests/support/mlflow_commands.py does the same with uv",
    "pip install --quiet": "needs the package index; tests/support/mlflow_commands.py does the same with uv",
    "make upgrade": "builds environments; tests/system/test_upgrade.py and test_stack_backup.py run its commands",
    "python -m benchmarks ablate": "takes hours on real months",
    "docker compose": "needs a container engine; tests/unit/stack checks docker-compose.yml",
    "cp .env.example .env": "writes into the checkout",
}


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_a_test_runs_the_command_or_it_is_an_exception(command: str) -> None:
    if any(fits(command, words) for words in (*EXCEPTIONS, *RUN_BY_CI, RUN_HERE)):
        return
    lines = steps(command)
    assert lines
    assert [line for line in lines if not any(fits(line, words) for words, _, _ in RUN_BY)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_understood(command: str) -> None:
    for line in steps(command):
        understand(shlex.split(line))


@pytest.mark.parametrize(("words", "file", "code"), RUN_BY)
def test_the_test_is_there(words: str, file: str, code: str) -> None:
    assert code in (PROJECT / "tests" / file).read_text(), words


@pytest.mark.parametrize("words", EXCEPTIONS)
def test_no_exception_is_left_over(words: str) -> None:
    assert any(fits(command, words) for command in COMMANDS)


def test_continuous_integration_makes_what_it_should() -> None:
    run = (PROJECT / ".ci" / "run").read_text().replace("\\\n  ", "")
    *environments, first, second = re.findall(r"^(?:PATH=\S+ )?make (.+)$", run, re.M)
    assert environments == [  # by pip, by pip, by uv
        ".venv-lock/installed",
        ".venv-mlflow/installed &",
        ".venv/dev-installed .venv-docs/installed .venv-browser/installed .venv-serving/installed "
        ".venv-schemathesis/installed .venv-prefect/installed .venv-airflow/installed .venv-kfp/installed",
    ]
    assert (first, second) == ("test", "test-long")
    assert re.search(r"^test: check install ", MAKEFILE, re.M)
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.M)
    assert recipe and re.search(r"^\t@?\$\(MAKE\).* docs$", recipe[1], re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=shown)
def test_help_lists_every_target_that_a_document_names(document: Path) -> None:
    listed = {line.split()[0] for line in make("help").splitlines()}
    named = re.findall(r"(?:`|^\$ )make ([a-z-]+)", document.read_text(), re.M)
    assert set(named) - listed == set()


# --- How a command is read ------------------------------------------------------------------------------------


def fits(command: str, words: str) -> bool:
    """Whether a command begins with the first of these words and has the others after it, in this order."""
    given = iter(plain(command))
    first, *others = words.split()
    return next(given) == first and all(word in given for word in others)


def plain(command: str) -> list[str]:
    """Words of a command, without variables before it and the folder of its program."""
    words = shlex.split(command)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    return [re.sub(r"^\.venv(-[a-z]+)?/bin/", "", words[0]), *words[1:]]


def steps(command: str) -> list[str]:
    """The command itself, or what make would run for it; what make only prints is left out."""
    if not command.startswith("make "):
        return [command]
    lines = make("--dry-run", *shlex.split(command)[1:]).replace("\\\n", "").splitlines()
    return [line for line in lines if not re.match(r"\s*(echo\b|make\[\d+\]|$)", line)]


@functools.cache
def make(*arguments: str) -> str:
    """Output of make, for which every environment is there."""
    built = [f"--old-file={name}" for name in re.findall(r"\.venv[\w-]*/[\w-]*installed", MAKEFILE)]
    done = subprocess.run(["make", *built, *arguments], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def understand(words: Sequence[str]) -> None:
    """Parse a command as its program does; the test fails when the program would refuse it."""
    command = plain(shlex.join(words))
    if command[:3] == ["python", "-m", "mlops"]:
        if "--help" not in command:
            assert callable(parse(command[3:]).act)
    elif command[:3] == ["python", "-m", "mlops.serving"]:
        serving_parser().parse_args(command[3:])
    elif command[:3] == ["python", "-m", "stack"]:
        stack_parser().parse_args(command[3:])
    elif command[:3] == ["python", "-m", "benchmarks"]:
        benchmarks_parser().parse_args(command[3:])
    elif command[:2] == ["mage", "run"] or command[:4] == ["python", "-m", "stack.mage", "run"]:
        command = command[command.index("run") - 1 :]
        assert (PROJECT / "pipelines" / command[3] / "metadata.yaml").is_file()
        if "--runtime-vars" in command:
            given = json.loads(command[command.index("--runtime-vars") + 1])
            assert Settings.parse(given).model_dump().items() >= given.items()
    elif command[:3] == ["docker", "compose", "exec"]:
        assert command[3] in yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
        understand(command[4:])
    elif command[0] == "pytest":
        assert all((PROJECT / word).exists() for word in command if word.startswith("tests/"))
    elif command[0] == "cp":
        assert (PROJECT / command[1]).is_file()
