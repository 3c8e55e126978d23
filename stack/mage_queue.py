"""A queue for Mage's runs that loses no run and starts none twice.

Mage's scheduler puts each pipeline run into a queue; a pool process takes it out and ends as soon as the queue is
empty. In Mage's own queue

- a run that is put in while the pool ends stays there and counts as waiting for ever: the schedule is silent until
  Mage starts again;
- a run that a worker has just taken counts as absent until the worker says that it has it, so the scheduler may
  start it once more;
- a run is killed as soon as the scheduler sees that one of its blocks failed, even while the callback sends the
  message about it.

Source: mage_ai/orchestration/queue/process_queue.py, mage-ai 0.9.80; mage-ai #5007 and #5619.
"""

from __future__ import annotations

import os
import time
from typing import Any

from mage_ai.orchestration.queue.process_queue import JobStatus, ProcessQueue, QueueStatus

SECONDS_TO_END = 60.0  # for a failed run: it ends by itself when its message is sent


class SafeQueue(ProcessQueue):  # type: ignore[misc]
    """Mage's queue of runs. The server creates it; its scheduler and the processes of the runs inherit it."""

    def __init__(self, queue_config: Any) -> None:
        super().__init__(queue_config)
        self._pool_parent = 0  # the process that started the pool

    def enqueue(self, job_id: str, target: Any, *args: Any, **kwargs: Any) -> None:
        """Put a job into the queue, unless it is there or a worker has it."""
        if self.status != QueueStatus.ACTIVE or self.has_job(job_id):
            return
        self.job_dict[job_id] = JobStatus.QUEUED  # first: a worker looks it up as soon as it takes the job
        self.queue.put([job_id, target, args, kwargs])
        self._ensure_pool()

    def has_job(self, job_id: str, logger: Any = None, logging_tags: dict[str, Any] | None = None) -> bool:
        """Return whether the job waits in the queue, or a worker has it; start a pool for a job that waits."""
        if self.job_dict.get(job_id) != JobStatus.QUEUED:
            return bool(super().has_job(job_id, logger, logging_tags))
        if self.queue.empty():
            return self._has_pool()  # a worker of the pool has just taken it; without a pool it is lost
        self._ensure_pool()
        return True

    def kill_job(self, job_id: str) -> None:
        """Kill a job; a run with a failed block is first given time to end by itself."""
        deadline = time.monotonic() + SECONDS_TO_END * has_failed_block(job_id)
        while super().has_job(job_id) and time.monotonic() < deadline:
            time.sleep(0.1)
        super().kill_job(job_id)

    def _ensure_pool(self) -> None:
        if not self._has_pool():
            self.start_worker_pool()

    def start_worker_pool(self) -> None:
        """Start a pool, a process that takes the jobs out of the queue."""
        self._pool_parent = os.getpid()
        super().start_worker_pool()

    def _has_pool(self) -> bool:
        """Whether a pool runs. A run's own process is one of the pool's, and cannot ask it."""
        inherited = self.worker_pool_proc is not None and self._pool_parent != os.getpid()
        return inherited or bool(self.is_worker_pool_alive())


def has_failed_block(job_id: str) -> bool:
    """Whether a block of the pipeline run failed; ``job_id`` is for example ``pipeline_run_7``."""
    kind, _, number = job_id.rpartition("_")
    if kind != "pipeline_run":
        return False
    from mage_ai.orchestration.db.models.schedules import BlockRun  # it imports most of Mage

    failed = {"pipeline_run_id": int(number), "status": BlockRun.BlockRunStatus.FAILED}
    return BlockRun.query.filter_by(**failed).first() is not None
