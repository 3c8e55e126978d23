"""Links of pages that come from outside `docs/`, and what the built pages load."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path


def with_links_from_docs(text: str) -> str:
    """Markdown of the project's folder, with its links as seen from `docs/`.

    >>> with_links_from_docs("[a](docs/a.md#b), [new](CHANGELOG.md), [make](Makefile), [web](https://example.org)")
    '[a](a.md#b), [new](changelog.md), [make](../Makefile), [web](https://example.org)'
    """
    text = re.sub(r"\]\((?!https?:|mailto:|#)", "](../", text).replace("](../docs/", "](")
    return re.sub(
        r"\]\(\.\./((?:CHANGELOG|CONTRIBUTING|SECURITY)\.md)",
        lambda link: link[0].lower().replace("../", ""),
        text,
    )


def without_links_outside(text: str, page: str) -> str:
    """Markdown of a page, with links to files that are not on the site shown as paths in the repository.

    >>> without_links_outside("[Makefile](../Makefile), [the numbers](../benchmarks/results.md#a)", "page.md")
    '`Makefile`, the numbers (`benchmarks/results.md`)'
    """
    outside = re.escape("../" * (page.count("/") + 1))
    return re.sub(rf"(?<!!)\[([^\]]+)\]\({outside}([^)#]+)[^)]*\)", _as_path, text)


def _as_path(link: re.Match[str]) -> str:
    text, path = link[1].strip("`"), link[2]
    return f"`{path}`" if path.endswith(text) else f"{link[1]} (`{path}`)"


def loads_from_other_hosts(site: Path) -> list[str]:
    """What a browser would load from other hosts for the built pages, as ``page: address``."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css"):
            text = path.read_text(encoding="utf-8")
            loads = loaded_by_page(text) if path.suffix == ".html" else loaded_by_style(text)
            found += [f"{path.relative_to(site)}: {to}" for to in loads if re.match(r"(https?:)?//", to)]
    return found


def loaded_by_page(html: str) -> list[str]:
    """Addresses that a browser loads by itself; links that a reader follows are not among them.

    >>> loaded_by_page('<a href="https://a.org">a</a> <script src="https://b.org/b.js"></script>')
    ['https://b.org/b.js']
    """
    parser = _Loads()
    parser.feed(html)
    return parser.addresses


def loaded_by_style(css: str) -> list[str]:
    """Addresses that a style sheet loads: fonts, images and other style sheets.

    >>> loaded_by_style('@import "a.css"; b { background: url(https://b.org/b.png) }')
    ['a.css', 'https://b.org/b.png']
    """
    return [match[1] for match in re.finditer(r"""(?:url\(|@import)\s*['"]?([^'"()\s;]+)""", css)]


class _Loads(HTMLParser):
    """Collects the addresses of a page, and those in its styles."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_style = tag == "style"
        is_followed = tag == "a" or dict(attrs).get("rel") in ("canonical", "prev", "next")
        for name, value in attrs:
            if name == "style":
                self.addresses += loaded_by_style(value or "")
            elif name == "srcset":
                self.addresses += [address.split()[0] for address in (value or "").split(",")]
            elif name in ("src", "href", "data", "poster") and not is_followed:
                self.addresses.append(value or "")

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += loaded_by_style(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
