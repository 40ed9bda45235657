"""Reports hold everything they show, show texts as they are, and fit a phone."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from gallery import KEY, LONG, SHORT, curves, figures, made_up, recipes
from PIL import Image

from tfinv import plots
from tfinv.report import TERMS, Report, explain
from tfinv.report.blocks import paragraphs, plain, slug, spans
from tfinv.report.markdown import escape
from tfinv.report.tables import MISSING, format_value
from tfinv.results import LayerResult, MeasureResult

NASTY = '<script>alert("x")</script> & <b>bold</b> \'"'


class Page(HTMLParser):
    """Elements with their attributes, the text of each, and whether tags are balanced."""

    EMPTY = frozenset({"meta", "link", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, [])
        if tag not in self.EMPTY:
            self.open.append(tag)
            self.texts[tag].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag):
        return [" ".join(text.split()) for text in self.texts.get(tag, [])]


def one_line():
    return plots.profile({"model": pd.DataFrame({"layer": ["a", "b"], "mean": [0.5, 0.25]})})


def write(report: Report, folder: Path) -> Page:
    return Page(report.write_html(folder / "report.html").read_text(encoding="utf-8"))


def whole_report() -> Report:
    """One of everything, with real figures over 17 and 80 layers and tables wider than a phone."""
    plain_, augmented, long = made_up(SHORT, 0.0), made_up(SHORT, 0.6), made_up(LONG, 0.4)
    report = Report("Rotation invariance of SimpleConv", "digits, rotations(16), seed 0")
    report.verdict(["The network is **3 times** more invariant at `logits`.", "Static int8 changed nothing."])
    report.section("Accuracy", "Both read upright digits.\n\n- the plain one fails upside down\n- the other does not")
    report.figure(plots.accuracy_curve(curves(), chance=0.1), "Accuracy against angle.", "Two lines")
    report.section("Layers", "Lower is more invariant.")
    report.figure(plots.profile({"plain": plain_, "augmented": augmented}), "Layer profile.", "Two falling lines")
    report.figure(plots.heatmap(augmented), "Every unit.", "A heat map")
    report.figure(plots.profile({"long": long}), "A network of 80 layers.", "One falling line")
    report.figure(plots.change_heatmap(long, made_up(LONG, 0.1, seed=1)), "What changed.", "A heat map")
    report.figure(figures()["images"](), "Images.", "A grid of noise")
    report.table(augmented.profile(), "Profile", {"mean": ".3f", "std": ".3f"}, {"mean": "min", "left_out": "min"})
    report.table(recipes(), "Recipes", {"accuracy": "{:.1%}"}, {"accuracy": "max", "kib": "min"})
    report.table(long.profile(), "All layers")
    report.section("Quantization")
    report.figure(figures()["before_after-17"](), "What int8 changed.", "Two panels")
    report.figure(plots.pareto(recipes()), "Size and accuracy.", "Nine points")
    report.glossary(TERMS)
    return report.environment({"versions": {"keras": "3.15"}, "seed": 0, "command": "python -m tfinv.run " + "x" * 300})


def test_a_page_holds_its_parts_in_order(tmp_path):
    report = Report("Title", "Sub").verdict(["One **two**.", "Three."]).section("First", "Text `code`.\n\n- a\n- b")
    page = write(
        report.figure(one_line(), "Caption.", "Shown").section("Second").glossary({"word": "meaning"}), tmp_path
    )
    assert page.text("h1") == ["Title"] and page.text("h2") == ["In short", "First", "Second", "How to read this"]
    assert page.text("title") == ["Title"] and page.all("html") == [{"lang": "en"}]
    assert page.text("strong") == ["two"] and page.text("code") == ["code"]
    assert page.text("figcaption") == ["Caption."] and [image["alt"] for image in page.all("img")] == ["Shown"]
    assert page.text("dt") == ["word"] and page.text("dd") == ["meaning"]
    anchors = {element["id"] for _, element in page.elements if "id" in element}
    links = [link["href"] for link in page.all("a")]
    assert links == ["#content", "#first", "#second", "#how-to-read-this"]
    assert all(link[1:] in anchors for link in links)


def test_every_text_is_shown_as_it_is_and_never_run(tmp_path):
    frame = pd.DataFrame({NASTY: [NASTY], "mean": [1.0]})
    layer = MeasureResult(KEY, {NASTY: LayerResult(np.array([0.5]), np.array([0]))})
    report = Report(NASTY, NASTY).verdict([NASTY]).section(NASTY, f"{NASTY}\n\n- {NASTY}\n\n`{NASTY}` **{NASTY}**")
    report.figure(plots.profile({NASTY: layer}, title=NASTY), NASTY, NASTY).table(frame, NASTY).glossary({NASTY: NASTY})
    report.table(pd.concat([frame] * 40), NASTY).environment({NASTY: NASTY})
    page = write(report, tmp_path)
    assert not page.all("script") and not page.all("b")
    shown = " ".join(NASTY.split())
    for tag in ("h1", "title", "li", "dt", "dd", "code", "strong", "figcaption", "caption"):
        assert shown in page.text(tag), tag
    assert page.all("img")[0]["alt"] == NASTY
    assert shown in page.text("td") and shown in page.text("th")


def test_all_figures_are_embedded_and_nothing_is_loaded(page_path):
    page = Page(page_path.read_text(encoding="utf-8"))
    pictures = page.all("img")
    assert len(pictures) == 8
    for picture in pictures:
        head, data = picture["src"].split(",", 1)
        assert head in ("data:image/svg+xml;base64", "data:image/png;base64") and len(base64.b64decode(data)) > 5000
        assert int(picture["width"]) > 300 and picture["alt"]
    loaded = [element.get(key) for _, element in page.elements for key in ("src", "href") if element.get(key)]
    assert all(address.startswith(("data:", "#")) for address in loaded)
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    assert "url(" not in "".join(page.texts["style"]) and "@import" not in "".join(page.texts["style"])
    assert page_path.stat().st_size < 3_000_000


def test_the_same_report_gives_the_same_file(tmp_path):
    def make(name):
        report = Report("T").figure(one_line(), "Line", "a").figure(plots.heatmap(made_up(SHORT, 0.1)), "Map", "b")
        return report.table(recipes(), "Recipes").write_html(tmp_path / name).read_bytes()

    assert make("first.html") == make("second.html")


def test_a_table_has_headers_formats_and_marks_its_best(tmp_path):
    frame = pd.DataFrame(
        {"the_model": ["a", "b", "c"], "share": [0.5, 0.75, np.nan], "n": [1200, 3, 7], "ok": [True, False, None]}
    )
    report = Report("T").table(
        frame, "All", {"share": "{:.0%}", "n": lambda n: f"{n} pcs"}, {"share": "max", "n": "min"}
    )
    page = write(report, tmp_path)
    heads = [cell for cell in page.all("th") if cell["scope"] == "col"]
    assert [head.get("class") for head in heads] == [None, "number", "number", None]
    assert page.text("th") == ["the model", "share", "n", "ok", "a", "b", "c"]
    assert page.text("td") == ["50%", "1200 pcs", "yes", "75% (best)", "3 pcs (best)", "no", MISSING, "7 pcs", MISSING]
    assert [cell.get("class") for cell in page.all("td")][3:5] == ["number best", "number best"]
    assert page.text("caption") == ["All"]


def test_long_tables_are_collapsed_unless_told_otherwise(tmp_path):
    frame = pd.DataFrame({"layer": [str(i) for i in range(31)]})
    assert len(write(Report("T").table(frame, "C"), tmp_path).all("details")) == 1
    assert len(write(Report("T").table(frame, "C", collapsed=False), tmp_path).all("details")) == 0
    assert len(write(Report("T").table(frame[:3], "C"), tmp_path).all("details")) == 0
    assert write(Report("T").table(frame, "C"), tmp_path).text("summary") == ["C (31 rows)"]


def test_values_are_written_for_people():
    given = (np.float32(0.25), np.int64(1234567), 1e-7, -np.inf, np.nan, pd.NA, np.True_, "a_b")
    assert [format_value(value) for value in given] == [
        "0.25",
        "1,234,567",
        "1e-07",
        "-∞",
        MISSING,
        MISSING,
        "yes",
        "a_b",
    ]


def test_environment_is_flat(tmp_path):
    page = write(Report("T").environment({"a": {"b": 1, "c": {"d": None}}, "list": [1, "x"], "big": 1234567}), tmp_path)
    assert list(zip(page.text("th")[2:], page.text("td"), strict=True)) == [
        ("a.b", "1"), ("a.c.d", MISSING), ("list", "1, x"), ("big", "1234567")
    ]  # fmt: skip


def test_titles_that_repeat_get_anchors_of_their_own(tmp_path):
    report = Report("T").section("A b").section("A b").section("A b 2").section("???").section("ü")
    assert [heading["id"] for heading in write(report, tmp_path).all("h2")] == [
        "a-b",
        "a-b-2",
        "a-b-2-2",
        "part",
        "part-2",
    ]


def test_markdown_links_to_figures_that_exist(tmp_path):
    report = Report("T").verdict(["The network is **3 times** more invariant at `logits`."])
    report.figure(one_line(), "Layer profile.", "a").figure(one_line(), "Layer profile!", "b", name="other")
    report.figure(one_line(), "Layer profile?", "c").table(recipes(), "R", {"accuracy": "{:.1%}"}, {"accuracy": "max"})
    path = report.write_markdown(tmp_path / "docs" / "report.md", tmp_path / "pictures of run")
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert links == [f"../pictures%20of%20run/{name}.png" for name in ("layer-profile", "other", "layer-profile-2")]
    for link in links:
        with Image.open(path.parent / unquote(link)) as picture:
            assert picture.format == "PNG"
    beside = report.write_markdown(tmp_path / "report.md").read_text(encoding="utf-8")
    assert "](figures/layer-profile.png)" in beside and (tmp_path / "figures" / "layer-profile-2.png").exists()
    assert "| float32 | 541.2 | 95.1% |" in text and "| qat_int8 (keras) | 141 | **95.2%** |" in text
    assert "|---|---:|---:|" in text
    assert "- The network is **3 times** more invariant at `logits`." in text


def test_markdown_keeps_nasty_texts_harmless(tmp_path):
    report = (
        Report(NASTY)
        .section("A | b", "1. no list *no emphasis* [no](link) _x_ a_b")
        .table(pd.DataFrame({"a|b": ["c|d\ne", "# no"]}), "T")
    )
    text = report.write_markdown(tmp_path / "r.md").read_text(encoding="utf-8")
    assert "<script>" not in text and "# &lt;script&gt;" in text
    assert "1\\. no list \\*no emphasis\\* \\[no\\](link) \\_x\\_ a_b" in text
    assert "| a\\|b |" in text and "| c\\|d e |" in text


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("3.6 times", "3.6 times"),
        ("0.5", "0.5"),
        ("- a", "\\- a"),
        ("-1.5", "-1.5"),
        ("# a", "\\# a"),
        ("2) a", "2\\) a"),
    ],
)
def test_markdown_escapes_only_what_would_begin_a_block(given, expected):
    assert escape(given) == expected


def test_texts_are_split_into_paragraphs_points_and_marks():
    first, second, third = paragraphs("One\nline.\n\n- a\n- `b`\n\n  \nLast - not a list")
    assert [first.points, second.points, third.points] == [False, True, False]
    assert plain(first.spans[0]) == "One line." and second.spans[1] == (("code", "b"),)
    assert spans("a ** b ** c `") == (("text", "a "), ("strong", " b "), ("text", " c `"))
    assert paragraphs("") == ()
    assert slug("Größe: A/B & c!") == "gr-e-a-b-c"


def test_terms_can_be_picked():
    assert list(explain("unit", "SQNR")) == ["unit", "SQNR"]
    with pytest.raises(ValueError, match="Received: nonsense"):
        explain("unit", "nonsense")


BAD = {
    "title": (lambda: Report(" "), ValueError, "title must be a text"),
    "verdict": (lambda: Report("t").verdict([]), ValueError, "at least one"),
    "sentence": (lambda: Report("t").verdict([""]), ValueError, "sentences must be a text"),
    "figure": (lambda: Report("t").figure("picture.png", "c", "a"), TypeError, "Received: str"),
    "caption": (lambda: Report("t").figure(one_line(), "", "a"), ValueError, "caption must be a text"),
    "alt": (lambda: Report("t").figure(one_line(), "c", ""), ValueError, "alt must be a text"),
    "frame": (lambda: Report("t").table([[1]], "c"), TypeError, "Received: list"),
    "format": (lambda: Report("t").table(recipes(), "c", {"x": ".2f"}), ValueError, "formats must name columns"),
    "highlight": (lambda: Report("t").table(recipes(), "c", None, {"kib": "top"}), ValueError, "Received: 'top'"),
    "terms": (lambda: Report("t").glossary({}), ValueError, "at least one"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = Report("old").write_html(tmp_path / "report.html")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        Report("new").write_html(tmp_path / "folder")
    assert "old" in path.read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "report.html"]


@pytest.fixture(scope="module")
def page_path(tmp_path_factory):
    return whole_report().write_html(tmp_path_factory.mktemp("report") / "report.html")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_everything_without_sideways_scrolling(browser, page_path, width, dark):
    seen = browser.open(page_path, width, dark=dark)
    assert browser.complaints == []
    assert [request for request in browser.requests if not request.startswith("data:")] == [page_path.as_uri()]
    assert seen["client"] == width and seen["scroll"] <= width and seen["escaped"] == []
    assert seen["scripts"] == 0 and len(seen["pictures"]) == 8
    for picture in seen["pictures"]:
        assert picture["complete"] and picture["width"] > 300 and picture["shown"] > 300, picture
    assert "The network is 3 times more invariant at logits." in seen["text"]
    ink = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ink == ("rgb(20, 24, 29)" if dark else "rgb(255, 255, 255)")
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('.plate')).backgroundColor") == "rgb(255, 255, 255)"
    )


def test_opened_tables_still_do_not_widen_the_page(browser, page_path):
    browser.open(page_path, 390)
    widths = browser.evaluate(
        "(() => { for (const details of document.querySelectorAll('details')) details.open = true;"
        " return [document.documentElement.scrollWidth, ...[...document.querySelectorAll('.scroll')]"
        ".map(element => element.scrollWidth - element.clientWidth)]; })()"
    )
    assert widths[0] == 390 and max(widths[1:]) > 100


def test_the_browser_test_would_notice(browser, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'>"
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        "<p style='width:2000px'>wide</p><img src='missing.png'><script>alert(1)</script>"
    )
    seen = browser.open(page, 390)
    assert seen["scroll"] > 390 and seen["escaped"] and seen["pictures"][0]["width"] == 0 and seen["scripts"] == 1
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)
