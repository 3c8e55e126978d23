"""MkDocs hooks: pages from outside `docs/`, the list of decisions, and a check of what the pages load."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

DOCUMENTS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")  # of the project's folder


def on_config(config: Any) -> Any:
    """List every decision in the navigation, in the order of their numbers."""
    docs = Path(config.docs_dir)
    decisions = [path.relative_to(docs).as_posix() for path in sorted(docs.glob("decisions/*.md"))]
    config.nav = [{"Decisions": decisions} if entry == "Decisions" else entry for entry in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the documents of the project's folder as pages."""
    for name in DOCUMENTS:
        path = Path(config.config_file_path).parent / name
        files.append(File.generated(config, name.lower(), content=with_links_from_docs(path.read_text())))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Show a link to a file that is not on the site, such as `../../Makefile`, as its path in the repository."""
    outside = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\[([^\]]+)\]\({re.escape(outside)}([^)#]+)[^)]*\)", as_path, markdown)


def on_post_build(config: Any) -> None:
    """Fail when a page or a style sheet would load something from another host."""
    site = Path(config.site_dir)
    texts = {path: path.read_text() for path in sorted(site.rglob("*")) if path.suffix in (".html", ".css")}
    found = [
        f"{path.relative_to(site)}: {address}"
        for path, text in texts.items()
        for address in (loaded_by_page(text) if path.suffix == ".html" else loaded_by_style(text))
        if re.match(r"(https?:)?//", address)
    ]
    if found:
        raise PluginError("the site would load from other hosts:\n" + "\n".join(found))


def with_links_from_docs(text: str) -> str:
    """Markdown of the project's folder with its links as seen from `docs/`.

    >>> with_links_from_docs("[a](docs/a.md#b), [make](Makefile), [web](https://example.org)")
    '[a](a.md#b), [make](../Makefile), [web](https://example.org)'
    """
    text = re.sub(r"\]\((?!https?:|#|mailto:|docs/)", "](../", text)
    return text.replace("](docs/", "](").replace("](../CHANGELOG.md", "](changelog.md")


def as_path(link: re.Match[str]) -> str:
    """A link's text and the path it leads to, or the path alone when the text says the same."""
    text, path = link[1].strip("`"), link[2]
    return f"`{path}`" if path.endswith(text) else f"{link[1]} (`{path}`)"


def loaded_by_page(html: str) -> list[str]:
    """Addresses that a browser loads by itself for a page; links that a reader follows are not among them."""
    parser = _Loads()
    parser.feed(html)
    return parser.addresses


def loaded_by_style(css: str) -> list[str]:
    """Addresses that a style sheet loads: fonts, images and other style sheets."""
    return [match[2] for match in re.finditer(r"(url\(|@import)\s*['\"]?([^'\"()]+)", css)]


class _Loads(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = () if tag == "a" else ("src", "href", "data", "poster", "srcset")
        self.addresses += [value for name, value in attrs if name in names and value]
        self.addresses += [
            address for name, value in attrs if name == "style" for address in loaded_by_style(value or "")
        ]
