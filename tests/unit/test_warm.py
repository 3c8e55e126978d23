"""A process forked from a warm Python looks from outside like any other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.doors import Machine, heed_ctrl_c
from support.warm import run_warm, warm_python

SHOW = """
import json, os, signal, sys
print(json.dumps({
    "arguments": sys.argv, "path": sys.path[0], "folder": os.getcwd(), "given": sys.stdin.read(),
    "environment": sorted(os.environ), "name": __name__,
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
}))
"""
AT_END = "import atexit; atexit.register(print, 'last'); print('first')"


@pytest.mark.parametrize("options", [(), ("-P",)], ids=["", "-P"])
@pytest.mark.parametrize("kind", ["code", "script", "module"])
def test_it_gets_what_a_cold_one_gets(kind: str, options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(SHOW)
    program = {"code": ["-c", SHOW], "script": [str(tmp_path / "shown.py")], "module": ["-m", "shown"]}[kind]
    command = [sys.executable, *options, *program, "one", "--two"]
    environment = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8", "PYTHONPATH": str(tmp_path)}
    cold: Any = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        input="given",
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=heed_ctrl_c,
    )
    warm = run_warm(command, cwd=tmp_path, env=environment, given="given")

    assert warm.returncode == 0, warm.stderr
    assert json.loads(warm.stdout) == json.loads(cold.stdout)


@pytest.mark.parametrize(
    ("code", "status", "stderr"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    ],
)
def test_it_ends_as_a_cold_one_ends(code: str, status: int, stderr: str) -> None:
    ended = run_warm([sys.executable, "-c", code])

    assert (ended.returncode, (ended.stderr.splitlines() or [""])[-1]) == (status, stderr)


def test_what_is_to_run_at_the_end_runs() -> None:
    assert run_warm([sys.executable, "-c", AT_END]).stdout.split() == ["first", "last"]


def test_one_that_takes_too_long_is_ended() -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_warm([sys.executable, "-c", "import time; time.sleep(100)"], timeout=0.5)

    assert warm_python().alive() == []


def test_nothing_of_the_project_is_imported_beforehand() -> None:
    imported = (
        "import sys; print({name.partition('.')[0] for name in sys.modules} & {'mlops', 'mage_ai', 'stack'})"
    )

    assert run_warm([sys.executable, "-P", "-c", imported]).stdout.strip() == "set()"


STARTS = """
import json, os, subprocess, sys
shows = "import os, sys; print(os.getppid(), sys.stdin.read(), os.environ['TWO']); sys.exit(5)"
child = [sys.executable, "-P", "-c", shows]
for _ in range(2):
    ended = subprocess.run(child, input="given", capture_output=True, text=True, env={"TWO": "2"})
    print(ended.returncode, ended.stdout.split() == [str(os.getpid()), "given", "2"], ended.stderr)
try:
    subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"], capture_output=True, timeout=0.3)
except subprocess.TimeoutExpired as late:
    print("late")
"""


@pytest.mark.parametrize("spares", [0, 1, 3], ids=lambda count: f"{count} of them warm")
def test_what_it_starts_itself_are_its_children(spares: int, tmp_path: Path) -> None:
    ended = Machine(tmp_path / "machine", tmp_path, spares=spares).run(sys.executable, "-c", STARTS)

    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["5", "True", "5", "True", "late"]


def test_a_spare_ends_with_its_parent(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", tmp_path)
    with machine.start(
        sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"
    ) as process:
        process.wait_for("begun")
        spares = psutil.Process(process.popen.pid).children()
        process.send(signal.SIGKILL)
        process.end()

    assert len(spares) == machine.spares
    assert psutil.wait_procs(spares, timeout=10)[1] == []
