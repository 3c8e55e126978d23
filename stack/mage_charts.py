"""The charts beside the blocks show what their block showed last; `mend` is called before Mage starts.

Mage itself draws a chart only after its own button was pressed, and not again after a reload:

- The button of a block does not run the block's charts. Here they run after it. ("Execute then run downstream
  blocks" would run them without the block's output: Mage leaves a placeholder in place of the block's name.)
- A chart whose code has a decorator, as Mage's templates have, ends in "module has no attribute 'chart'".
- What a chart has drawn is not stored, and an opened page reads stored charts in another form than the server
  sends: it draws nothing, or stops with "replaceAll is not a function". Here the kernel stores it, and the server
  sends what the page reads.
- A chart that was never run opens its form in place of a picture. One that was run before its block's last run
  shows old numbers. Here both say which block to run.

Source: `__execute_block` in server/websocket_server.py, `execute_custom_code` in server/utils,
`__initialize_decorator_modules` in models/block, and ChartBlock in the page of mage-ai 0.9.80.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from mage_ai.data_preparation import decorators
from mage_ai.data_preparation.models.constants import BlockType
from mage_ai.data_preparation.models.pipeline import Pipeline
from mage_ai.data_preparation.models.variable import VARIABLE_DIR
from mage_ai.data_preparation.models.widget import Widget
from mage_ai.data_preparation.models.widget.constants import ChartType
from mage_ai.settings.repo import get_repo_path
from mage_ai.shared.parsers import encode_complex

from mlops.files import atomic_write

AXES = ("x", "y")


def mend() -> None:
    """Let the editor's server in this process do so."""
    from mage_ai.server.websocket_server import WebSocketServer  # the kernel does not need it

    WebSocketServer.on_message = _then_charts(WebSocketServer.on_message)
    Widget.to_dict_async = _with_picture(Widget.to_dict_async)


def mend_kernel() -> None:
    """Let the editor's kernel run charts with decorators, and store what they draw."""
    decorators.chart = lambda function: function
    Widget._execute_block = _storing(Widget._execute_block)


def _storing(execute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(execute)
    def execute_and_store(chart: Any, *inputs: Any, **asked: Any) -> Any:
        drawn = execute(chart, *inputs, **asked)
        text = json.dumps({name: drawn.get(name) for name in AXES}, default=encode_complex)
        with atomic_write(_file(chart)) as temporary:
            temporary.write_text(text, encoding="utf-8")
        return drawn

    return execute_and_store


def _then_charts(on_message: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(on_message)
    async def run(handler: Any, raw: str) -> None:
        await on_message(handler, raw)
        for message in messages_for_charts(json.loads(raw)):
            await on_message(handler, json.dumps(message))

    return run


def messages_for_charts(asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Messages that run the charts of a block, after a message of the page that runs the block."""
    names = asked.get("pipeline_uuid"), asked.get("uuid")
    if not all(names) or not asked.get("code") or asked.get("type") == BlockType.CHART:
        return
    pipeline = Pipeline.get(names[0], repo_path=get_repo_path())
    for chart in pipeline.widgets_by_uuid.values():
        if names[1] in chart.upstream_block_uuids:
            yield {
                **{key: asked.get(key) for key in ("api_key", "token", "pipeline_uuid")},
                "type": BlockType.CHART, "uuid": chart.uuid, "code": chart.content,
                "upstream_blocks": chart.upstream_block_uuids,
            }  # fmt: skip


def _with_picture(to_dict: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(to_dict)
    async def chart_to_dict(chart: Any, **asked: Any) -> Any:
        shown = await to_dict(chart, **asked)
        if "outputs" in shown:
            drawn = stored(chart) if is_fresh(chart) else not_drawn(chart)
            shown["outputs"] = [{"type": "text/plain", "text_data": [as_printed(drawn)]}]
        return shown

    return chart_to_dict


def as_printed(drawn: dict[str, Any]) -> str:
    """A chart's data as the kernel prints them and as the page reads them."""
    return repr(json.dumps(drawn))


def stored(chart: Any) -> dict[str, Any]:
    """The data of a chart's last run."""
    drawn: dict[str, Any] = json.loads(_file(chart).read_text(encoding="utf-8"))
    return drawn


def not_drawn(chart: Any) -> dict[str, Any]:
    """Data of a chart that say which block to run."""
    kind, words = (
        (chart.configuration or {}).get("chart_type"),
        f"run {' and '.join(chart.upstream_block_uuids)}",
    )
    if kind == ChartType.TABLE:
        return {"x": ["not drawn yet"], "y": [[words]]}
    if kind == ChartType.LINE_CHART:
        return {"x": [0, 1], "y": [[0, 0]]}  # a line has no room for words
    return {"x": [words], "y": [[0]]}


def is_fresh(chart: Any) -> bool:
    """Whether a chart was run after the last run of its block."""
    outputs = [path for name in chart.upstream_block_uuids for path in _folder(chart, name).glob("*/data.*")]
    written = max((path.stat().st_mtime for path in outputs), default=math.inf)
    return _file(chart).exists() and _file(chart).stat().st_mtime > written


def _file(chart: Any) -> Path:
    return _folder(chart, chart.uuid) / "drawn.json"


def _folder(chart: Any, block: str) -> Path:
    return Path(chart.pipeline.variable_manager.pipeline_path(chart.pipeline.uuid), VARIABLE_DIR, block)
