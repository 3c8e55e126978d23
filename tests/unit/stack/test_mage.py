"""`stack.mage_queue`: Mage's queue of runs loses no run and starts none twice, where Mage's own does both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[3]
OURS, MAGES = "stack.mage_queue.SafeQueue", "mage_ai.orchestration.queue.process_queue.ProcessQueue"

# Runs in a process of its own, because importing Mage opens its database.
SITUATIONS = """
import importlib, json, multiprocessing, os, sys, time
from pathlib import Path
from mage_ai.orchestration.queue import process_queue
from mage_ai.orchestration.queue.config import QueueConfig
from mage_ai.orchestration.queue.process_queue import JobStatus
from stack import mage_queue

module, _, name = sys.argv[1].rpartition(".")
kind = getattr(importlib.import_module(module), name)

def note(text):
    with ran.open("a") as file:
        file.write(text + "\\n")

def pool_of(seconds):
    poll, process_queue.poll_job_and_execute = process_queue.poll_job_and_execute, lambda *_: time.sleep(seconds)
    queue.start_worker_pool()
    process_queue.poll_job_and_execute = poll

def until_run(lines, seconds=8):
    end = time.monotonic() + seconds
    while time.monotonic() < end and len(ran.read_text().splitlines() if ran.exists() else []) < lines:
        [queue.has_job(f"run_{number}") for number in range(lines)]  # as the scheduler asks in each round
        time.sleep(0.05)
    return sorted(ran.read_text().splitlines()) if ran.exists() else []

def put_while_the_pool_ends():
    pool_of(0.5)
    queue.enqueue("run_0", note, "0")
    return until_run(1, 3)

def known_when_it_is_put():
    class Recorder:
        def put(self, job):
            self.status = queue.job_dict.get(job[0])
    queue.queue = recorder = Recorder()
    pool_of(0.1)
    queue.enqueue("run_0", note, "0")
    return recorder.status

def just_taken():
    pool_of(3)
    queue.job_dict["run_0"] = JobStatus.QUEUED
    return queue.has_job("run_0")

def taken_by_a_worker_that_was_killed():
    queue.job_dict["run_0"] = JobStatus.QUEUED
    return queue.has_job("run_0")

def twenty_runs():
    for number in range(20):
        for _ in range(3):
            queue.enqueue(f"run_{number}", note, str(number))
    return until_run(20, 30)

def used_by_a_process_that_inherits_it():
    def schedule():
        queue.enqueue("run_0", note, "0")
        until_run(1)
    scheduler = multiprocessing.Process(target=schedule)
    scheduler.start()
    scheduler.join(10)
    return until_run(1, 0)

def ask(other):
    note(str(queue.has_job(other)))

def asked_by_another_run():
    queue.job_dict["other"] = JobStatus.QUEUED
    queue.enqueue("run_0", ask, "other")
    return until_run(1)

def end_slowly():
    time.sleep(1)
    note("message sent")

def kill_when_started():
    queue.enqueue("pipeline_run_0", end_slowly)
    end = time.monotonic() + 5
    while time.monotonic() < end and not isinstance(queue.job_dict.get("pipeline_run_0"), int):
        time.sleep(0.05)
    queue.kill_job("pipeline_run_0")
    return until_run(1, 0)

def killed_because_a_block_failed():
    mage_queue.has_failed_block = lambda job_id: job_id == "pipeline_run_0"
    return kill_when_started()

def killed_by_a_person():
    mage_queue.has_failed_block = lambda job_id: False
    return kill_when_started()

for situation in sys.argv[3:]:
    queue, ran = kind(QueueConfig.load(config={})), Path(sys.argv[2]) / situation
    queue.start()
    print("answer", json.dumps([situation, globals()[situation]()]), flush=True)
os.killpg(0, 9)  # Mage's pools and their workers, too: a worker may wait for a next job for ever
"""


RIGHT_AND_MAGES = {
    "put_while_the_pool_ends": (["0"], []),
    "known_when_it_is_put": ("queued", None),
    "just_taken": (True, False),
    "taken_by_a_worker_that_was_killed": (False, False),
    "used_by_a_process_that_inherits_it": (["0"], ["0"]),  # Mage's scheduler inherits the server's
    "asked_by_another_run": (["True"], ["False"]),
    "killed_because_a_block_failed": (["message sent"], []),
    "killed_by_a_person": ([], []),
}


def answers(queue: str, situations: Iterable[str], folder: Path) -> dict[str, Any]:
    own = {
        "MAGE_DATABASE_CONNECTION_URL": f"sqlite:///{folder}/mage.db",
        "MAGE_DATA_DIR": str(folder / "mage"),
        "PYTHONPATH": str(PROJECT),
    }
    ended = subprocess.run(
        [sys.executable, "-c", SITUATIONS, queue, str(folder), *situations],
        env={**os.environ, **own}, cwd=folder, start_new_session=True,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    lines = [line for line in ended.stdout.splitlines() if line.startswith("answer ")]
    assert len(lines) == len(list(situations)), ended.stdout + ended.stderr
    return dict(json.loads(line.removeprefix("answer ")) for line in lines)


def test_a_run_is_neither_lost_nor_started_twice(tmp_path: Path) -> None:
    right = {situation: answer for situation, (answer, _) in RIGHT_AND_MAGES.items()}
    assert answers(OURS, right, tmp_path) == right


def test_mages_own_queue_loses_runs_and_starts_them_twice(tmp_path: Path) -> None:
    # If this fails with a new Mage, `stack.mage_queue` may be needless.
    own = {situation: answer for situation, (_, answer) in RIGHT_AND_MAGES.items()}
    assert answers(MAGES, own, tmp_path) == own


def test_each_of_many_runs_is_run_once(tmp_path: Path) -> None:
    expected = sorted(str(number) for number in range(20))
    assert answers(OURS, ["twenty_runs"], tmp_path) == {"twenty_runs": expected}
