"""The documentation site builds without a warning, loads nothing from elsewhere, and holds every public name.

In a browser, opened from the disk: it fits a phone, the search finds, and the dark scheme follows the system.
"""

from __future__ import annotations

import html
import importlib.util
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
ESCAPED = """[...document.querySelectorAll('.md-content *')].filter(element => {
  const box = element.getBoundingClientRect();
  if (!box.width || box.right <= document.documentElement.clientWidth + 1) return false;
  for (let parent = element.parentElement; parent && parent !== document.body; parent = parent.parentElement)
    if (getComputedStyle(parent).overflowX !== 'visible') return false;
  return true;
}).map(element => element.outerHTML.slice(0, 80))"""
"""Elements of the text that reach over the right edge, and that no box of their own cuts or scrolls."""
FIND = """(async () => {
  const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));
  document.querySelector('#__search').click();
  const input = document.querySelector('.md-search__input');
  for (let attempt = 0; attempt < 60; attempt++) {
    input.focus();
    input.value = QUERY;
    input.dispatchEvent(new Event('keyup', {bubbles: true}));
    await wait(250);
    const links = [...document.querySelectorAll('.md-search-result__link')].map(link => link.getAttribute('href'));
    if (links.length) return links;
  }
  return [];
})()"""
"""Type into the search field, and give the links of what was found."""
_PARTS = ("measures", "transformations", "datasets", "models", "outputs", "tflite")
PACKAGES = ("tfinv", *(f"tfinv.{part}" for part in _PARTS))
MODULES = {"datasets", "measures", "models", "outputs", "plots", "report", "tflite", "transformations", "__version__"}
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


# --- formulas --------------------------------------------------------------------------------------------------------


def test_formulas_of_docstrings_and_of_pages_are_drawn(site, index):
    text = (site / "reference" / "measures.html").read_text()
    assert text.count('<div class="formula"><math') == len(re.findall('<div class="formula">', text)) > 15
    assert "\\frac" not in text and "\\text" not in text
    assert '<div class="formula"><math' in (site / "tutorials" / "first_measurement.html").read_text()
    leftovers = {entry["title"] for entry in index if re.search(r"\\(frac|sum|sqrt|bar|hat|quad)\b", entry["text"])}
    assert leftovers <= {"Examples in Markdown"}, "LaTeX stands in the text"


def test_a_formula_keeps_its_words_and_its_environments():
    build_docs = load_hook()
    words = build_docs.formula(r"NV(a) = 0 \text{ (dead)}, \quad ddof = 1" + "\n" + "b_{sj} = 2")
    assert words.count("<math") == 3
    assert [re.sub("<[^>]+>", "", html.unescape(part)) for part in re.findall("<mtext>.*?</mtext>", words)] == [
        "NV", "\N{NO-BREAK SPACE}(dead)", "ddof"
    ]  # fmt: skip
    cases = build_docs.formula("\\begin{cases} 1 & a \\\\\n0 & b \\end{cases}")
    assert cases.count("<math") == 1 and cases.count("<mtr>") == 2


def test_the_hook_leaves_code_and_examples_alone():
    build_docs = load_hook()
    docstring = 'r"""Text.\n\n    >>> a = "\\n"\n\n    python -m tool\n\n    \\alpha + 1\n\nEnd.\n"""'
    seen = build_docs._with_formulas(docstring)
    assert '    >>> a = "\\n"\n\n    python -m tool\n' in seen and seen.count("<math") == 1 and "\\alpha" not in seen


def load_hook():
    specification = importlib.util.spec_from_file_location("build_docs", ROOT / ".ci" / "build_docs.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_page_fits_a_phone_and_asks_for_nothing_from_elsewhere(browser, pages):
    for path in pages:
        seen = browser.open(path, 390)
        assert seen["scroll"] == seen["client"] == 390, path
        assert browser.evaluate(ESCAPED) == [], path
        assert not browser.complaints, f"{path}: {browser.complaints}"
        assert not [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))], path


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("rotations", "reference/transformations.html#tfinv.transformations.rotations"),
        ("LieDerivative", "reference/measures.html#tfinv.measures.LieDerivative"),
        ("bonferroni", "reference/measures.html#tfinv.measures.Anova"),
    ],
)
def test_the_search_finds_from_the_disk(browser, site, query, wanted):
    browser.open(site / "index.html", 1280)
    links = browser.evaluate(FIND.replace("QUERY", json.dumps(query)))
    assert f"{site.as_uri()}/{wanted}" in [re.sub(r"\?h=[^#]*", "", link) for link in links]


def test_the_dark_scheme_follows_the_system(browser, site):
    shade = "getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    browser.open(site / "index.html", 1280)
    assert min(browser.evaluate(shade)) > 200
    browser.open(site / "index.html", 1280, dark=True)
    assert max(browser.evaluate(shade)) < 80
