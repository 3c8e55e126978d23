"""What is mended in Mage's editor: `mend` is called before Mage starts.

- When the page opens, autocompletion imports all of Mage's connectors (mage_ai.io). That takes 200 MB, and where
  `.venv` lies in the project, it fails with 29 tracebacks. No block of this project uses a connector.
- The page shows "The kernel has restarted", and hides the output of the running block, when the kernel does not
  report its process number within 3 seconds. A busy kernel may be slower. The operating system knows the number.
- An opened page replaces `safe.directory` in the user's own ~/.gitconfig, although no project is synchronised.
- The kernel takes its orders from TCP ports of this machine, and Mage lets them be unsigned: every local user can
  run code in it and read what it prints. Here it gets sockets in a folder that only its own user can open.
- Files of the project: see `stack.mage_files`.

Source: autocomplete/utils.py, kernels/default/models.py, server/kernels.py and data_preparation/git/__init__.py in
mage_ai 0.9.80.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import signal
import tempfile
from collections.abc import Callable
from types import FrameType
from typing import Any

import psutil
from mage_ai.autocomplete import utils as autocomplete
from mage_ai.data_preparation.git import Git
from mage_ai.kernels.default.models import KernelWrapper
from mage_ai.server.kernels import DEFAULT_KERNEL_NAME, kernel_managers

from stack import mage_files


def mend() -> None:
    """Mend the editor in this process, the server, and in the kernel that it will start."""
    for places in (autocomplete.PATHS_TO_TRAVERSE, autocomplete.FILES_TO_READ):
        places.clear()
    KernelWrapper.prepare_usage = _prepare_usage
    Git._Git__set_git_config = _only_if_synchronised(Git._Git__set_git_config)
    _keep_kernels_private()
    mage_files.mend()
    kernel_managers[DEFAULT_KERNEL_NAME].kernel_spec.argv += [
        f"--ext={mage_files.__name__}",
        "--log-level=ERROR",
    ]


def _keep_kernels_private() -> None:
    folder = tempfile.mkdtemp(prefix="mage-kernel-")  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _on_sigterm(functools.partial(shutil.rmtree, folder, ignore_errors=True))  # which ends without `atexit`
    for name, kernel in kernel_managers.items():
        kernel.transport, kernel.ip = "ipc", f"{folder}/{name}"


def _on_sigterm(act: Callable[[], None]) -> None:
    """Act before SIGTERM ends this process; processes that it forks end at once, as before."""

    def end(number: int, _: FrameType | None) -> None:
        act()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, end)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))


async def _prepare_usage(self: Any) -> None:
    """Set `usage` to the number, processor share in percent and memory in bytes of the kernel's process."""
    provisioner = self.kernel.provisioner
    self.usage = usage(provisioner.pid) if provisioner and provisioner.pid else None


def _only_if_synchronised(configure: Callable[[Any], None]) -> Callable[[Any], None]:
    def set_git_config(git: Any) -> None:
        if git.remote_repo_link:
            configure(git)

    return set_git_config


def usage(number: int) -> dict[str, Any] | None:
    """Return what the editor shows of a process, or None if there is no such process."""
    try:
        process = _process(number)
        with process.oneshot():
            return {
                "pid": number,
                "kernel_cpu": process.cpu_percent(),
                "kernel_memory": process.memory_info().rss,
            }
    except psutil.NoSuchProcess:
        return None


@functools.lru_cache(maxsize=1)
def _process(number: int) -> psutil.Process:
    return psutil.Process(number)  # the same object, because it computes the share since the last call
