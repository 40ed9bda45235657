"""The documentation site builds without a warning, loads nothing from elsewhere, and holds every public name."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("mkdocs", reason="the docs extra is not installed")

ROOT = Path(__file__).parents[1]
PACKAGES = ("tfinv", "tfinv.measures", "tfinv.transformations", "tfinv.datasets", "tfinv.models", "tfinv.tflite")
MODULES = {"datasets", "measures", "models", "plots", "report", "tflite", "transformations", "__version__"}
"""Names of `tfinv.__all__` that have a page instead of an entry, or need none."""
ELSEWHERE = {"tfinv.transformations.AffineAugmentation": "tfinv.AffineAugmentation"}
"""Names with two addresses, by the one that has no entry."""


class Page(HTMLParser):
    """What a page loads, what it links to, and the anchors that it offers."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.anchors |= {attributes[name] for name in ("id", "name") if name in attributes}
        if tag in ("script", "img", "iframe", "source") and "src" in attributes:
            self.loaded.append(attributes["src"])
        if tag == "link" and attributes.get("rel") not in ("prev", "next", "canonical"):
            self.loaded.append(attributes["href"])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}


@pytest.fixture(scope="module")
def index(site):
    return json.loads((site / "search" / "search_index.json").read_text())["docs"]


def test_every_page_of_the_navigation_is_built(pages, site):
    named = re.findall(r": ([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(named) > 20
    assert {site / name.replace(".md", ".html") for name in named} == set(pages)
    assert {ROOT / "docs" / name for name in named} == set((ROOT / "docs").rglob("*.md"))


def test_pages_load_nothing_from_elsewhere(pages, site):
    for path, page in pages.items():
        assert page.loaded, path
        for target in page.loaded:
            assert not urlsplit(target).scheme and not target.startswith("//"), f"{path}: {target}"
            assert (path.parent / unquote(urlsplit(target).path)).exists(), f"{path}: {target}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text()), path


def test_links_inside_the_site_lead_somewhere(pages):
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.exists() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{path.name}: {link}")
    assert not broken


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_stands_on_a_page_and_is_searchable(package, index):
    titles = {re.sub(r"<[^>]+>", " ", entry["title"]) for entry in index}  # with labels such as `dataclass`
    known = {match for title in titles for match in re.findall(r"tfinv(?:\.\w+)+", title)}
    names = set(importlib.import_module(package).__all__) - (MODULES if package == "tfinv" else set())
    public = {ELSEWHERE.get(name, name) for name in (f"{package}.{name}" for name in names)}
    assert public
    assert not public - known


def test_the_search_index_has_text_of_the_guides(index):
    assert any("normalized variance" in entry["text"].lower() for entry in index)
