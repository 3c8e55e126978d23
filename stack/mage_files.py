"""Mage changes a YAML file of the project only where a user changed something.

Mage itself rewrites a pipeline's file each time a block has run: with the block's status, sorted keys, all
defaults and an absolute path, and without comments. Here the file keeps its text, but for what was changed in the
editor. The status of blocks, and former versions of files, are kept in Mage's data folder.

Source: `save`, `save_async` and `load_config` in mage_ai/data_preparation/models/pipeline.py, mage-ai 0.9.80.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import yaml
from mage_ai.data_preparation.models import file as versions
from mage_ai.data_preparation.models import pipeline as pipelines
from mage_ai.data_preparation.models import triggers
from mage_ai.services.ssh.aws.emr import utils as tunnel
from mage_ai.settings.repo import get_variables_dir

from mlops.files import atomic_write
from stack.yaml_texts import rewritten, without_nothing

KINDS = ("blocks", "callbacks", "conditionals", "widgets")
OF_A_RUN = ("status", "all_upstream_blocks_executed")
OF_THE_PROJECT = ("variables_dir", "remote_variables_dir")  # Mage does not read them in a pipeline's file


def mend() -> None:
    """Let Mage in this process write so. The editor's server and its kernel both write."""
    data = Path(get_variables_dir()).absolute()
    versions.FILE_VERSIONS_DIR = str(data / ".file_versions")
    tunnel.file_path = lambda: str(data / ".ssh_tunnel" / "aws_emr.json")
    pipelines.Pipeline.load_config = _with_status(pipelines.Pipeline.load_config)
    pipelines.safe_write_async = _write_async(pipelines.safe_write_async)
    pipelines.safe_write = triggers.safe_write = _write(pipelines.safe_write)


def load_ipython_extension(_: Any) -> None:
    """Mend Mage in the editor's kernel, which loads this module as an extension when it starts."""
    from stack import mage_charts

    mend()
    mage_charts.mend_kernel()


def _write(write: Callable[[str, str], None]) -> Callable[[str, str], None]:
    def write_changes(path: str, content: str) -> None:
        if (text := text_to_write(Path(path), content)) is not None:
            write(path, text)

    return write_changes


def _write_async(write: Callable[[str, str], Awaitable[None]]) -> Callable[[str, str], Awaitable[None]]:
    async def write_changes(path: str, content: str) -> None:
        if (text := text_to_write(Path(path), content)) is not None:
            await write(path, text)

    return write_changes


def _with_status(load: Callable[..., None]) -> Callable[..., None]:
    def load_config(pipeline: Any, config: Any, catalog: Any = None) -> None:
        kept = _status_file(pipeline.uuid)
        known = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        for block in _blocks(config):
            block["status"] = known.get(block["uuid"], block.get("status"))
        load(pipeline, config, catalog=catalog)

    return load_config


def text_to_write(path: Path, content: str) -> str | None:
    """Return the text to write in place of Mage's content, or None if the file says the same already.

    The status of a pipeline's blocks is put aside.
    """
    if path.name == pipelines.PIPELINE_CONFIG_FILE:
        known = {block["uuid"]: block.get("status") for block in _blocks(yaml.safe_load(content))}
        with atomic_write(_status_file(path.parent.name)) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    if not path.exists():
        return content
    text, read = path.read_text(encoding="utf-8"), functools.partial(_meaning, path)
    return None if read(text) == read(content) else rewritten(text, content, read)


def _meaning(path: Path, text: str) -> Any:
    """What a file says to Mage, with defaults, without what a run wrote."""
    said = yaml.safe_load(text) or {}
    if path.name != pipelines.PIPELINE_CONFIG_FILE:
        said_by_folder = {"pipeline_uuid": None}
        return {**said, "triggers": [without_nothing(t | said_by_folder) for t in said.get("triggers") or []]}
    project, name = str(path.parents[2]), path.parent.name
    pipeline = pipelines.Pipeline(name, repo_path=project, config=said)
    said = pipeline.to_dict(include_execution_framework=True, include_extensions=True)
    for part, names in [(said, OF_THE_PROJECT), *((block, OF_A_RUN) for block in _blocks(said))]:
        for name in names:
            part.pop(name, None)
    return said


def _blocks(config: Any) -> list[Any]:
    return [block for kind in KINDS for block in (config or {}).get(kind) or []]


def _status_file(pipeline: str) -> Path:
    return Path(get_variables_dir()) / "pipelines" / pipeline / "status.json"
