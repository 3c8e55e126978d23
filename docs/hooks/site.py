"""MkDocs hooks: pages from outside `docs/`, the list of decisions, and a check of what the pages load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from docs.hooks.pages import loads_from_other_hosts, with_links_from_docs, without_links_outside

DOCUMENTS = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")  # in the project's folder


def on_config(config: Any) -> Any:
    """List every decision in the navigation, in the order of their numbers."""
    docs = Path(config.docs_dir)
    decisions = [path.relative_to(docs).as_posix() for path in sorted(docs.glob("decisions/*.md"))]
    config.nav = [{"Decisions": decisions} if entry == "Decisions" else entry for entry in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the documents of the project's folder as pages."""
    for name in DOCUMENTS:
        text = (Path(config.config_file_path).parent / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name.lower(), content=with_links_from_docs(text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Show links to files that are not on the site as paths in the repository."""
    return without_links_outside(markdown, page.file.src_uri)


def on_post_build(config: Any) -> None:
    """Fail when a page or a style sheet would load something from another host."""
    if found := loads_from_other_hosts(Path(config.site_dir)):
        raise PluginError("the site would load from other hosts:\n" + "\n".join(found))
