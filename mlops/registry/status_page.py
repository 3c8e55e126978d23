"""A status as one HTML page: no script, no other file. The command line shows the same on a screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mlops.registry import attention, monitoring_page, status_words
from mlops.registry.status_records import Attention, Status
from mlops.registry.status_words import Line
from mlops.registry.svg import escaped

STYLE: Final = f"""
{monitoring_page.COLOURS}
{monitoring_page.TEXTS}
.state{{font-size:1.1rem}}
ol.acts{{list-style:none;margin:1rem 0;padding:0;display:grid;gap:.75rem}}
ol.acts li{{border:1px solid var(--line);border-left:5px solid var(--alarm);border-radius:4px;padding:.6rem 1rem}}
ol.acts li.unknown{{border-left-color:var(--soft)}}
ol.acts p{{margin:0}}
ol.acts code{{display:block;margin-top:.5rem;padding:.45rem .7rem;background:var(--shade);border-radius:4px}}
.about{{font-weight:600}}
dl{{display:grid;grid-template-columns:9rem 1fr;margin:.5rem 0 0}}
dt,dd{{margin:0;padding:.35rem 0;border-bottom:1px solid var(--line)}}
dt{{color:var(--soft)}}
dd.good{{color:var(--good)}}dd.bad{{color:var(--alarm);font-weight:600}}dd.soft{{color:var(--soft)}}
@media (max-width:36rem){{main{{padding:1.25rem 1rem 3rem}}dl{{grid-template-columns:1fr}}
dt{{border:0;padding:.5rem 0 0;font-size:.9rem}}dd{{padding-top:0}}}}
""".strip()
POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # without an HTTP header


def page(status: Status, notes: Sequence[str] = ()) -> str:
    """HTML of a status.

    Parameters
    ----------
    status : Status
    notes : sequence of str
        What a reader must know of the whole page, as that the registry is away.
    """
    now = status.read_at or status.at
    kind = "" if status.is_well else " alarm"
    models = "".join(_section(model.name, status_words.model_lines(model, now)) for model in status.models)
    servers = [*map(status_words.server_line, status.servers), status_words.disk_line(status.disk)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{_title(status)}</title>"
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head><body><main>'
        f'<h1>Status</h1><p class="lead">{_read(status)} <a href="/monitoring">Compared months</a>, '
        '<a href="?format=json">this page as JSON</a>.</p>'
        f'<p class="state{kind}" role="status">{escaped(attention.headline(status))}</p>'
        f"{''.join(_note(each) for each in notes)}{_acts(status.attention)}{models}"
        f"{_section('Servers and disk', servers)}</main></body></html>\n"
    )


def _title(status: Status) -> str:
    count = len(status.attention)
    return "Status: all is well" if status.is_well else f"({count}) Status"


def _read(status: Status) -> str:
    if status.read_at is None:
        return "The registry was not read yet."
    return f"The registry was read on {status_words.time(status.read_at)}."


def _note(text: str) -> str:
    return f'<p class="state none">{escaped(text)}</p>'


def _acts(found: Sequence[Attention]) -> str:
    """What needs attention, worst first, each with the command that comes next."""
    if not found:
        return ""
    return f'<ol class="acts">{"".join(map(_act, found))}</ol>'


def _act(found: Attention) -> str:
    kind, mark = ("", "") if found.is_checked else (' class="unknown"', "not checked: ")
    act = f"<code>{escaped(found.act)}</code>" if found.act else ""
    about = f'<span class="about">{escaped(found.about)}</span>'
    return f"<li{kind}><p>{about}: {mark}{escaped(found.text)}</p>{act}</li>"


def _section(name: str, lines: Iterable[Line]) -> str:
    rows = "".join(
        f'<dt>{escaped(line.label)}</dt><dd class="{line.tone}">{escaped(line.text)}</dd>'
        for line in lines
        if not line.is_empty
    )
    return f"<section><h2>{escaped(name)}</h2><dl>{rows}</dl></section>"
