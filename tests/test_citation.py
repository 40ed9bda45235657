"""CITATION.cff has what the format requires, and agrees with the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="the docs extra is not installed")

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KNOWN = {
    "cff-version",
    "message",
    "type",
    "title",
    "version",
    "license",
    "abstract",
    "authors",
    "keywords",
    "references",
}


def test_required_fields_are_there_and_no_unknown_ones():
    assert {"cff-version", "message", "title", "authors"} <= set(CITATION) <= KNOWN
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    assert all(
        set(author) == {"name"} or {"family-names", "given-names"} == set(author) for author in CITATION["authors"]
    )


def test_it_agrees_with_the_package():
    assert {key: str(CITATION[key]) for key in ("version", "license")} == {
        key: PROJECT[key] for key in ("version", "license")
    }
    assert CITATION["title"] == PROJECT["name"]


def test_references_have_type_title_and_authors():
    kinds = {reference["type"] for reference in CITATION["references"]}
    assert kinds <= {"thesis", "article", "conference-paper"}
    for reference in CITATION["references"]:
        assert reference["title"] and reference["authors"] and 2000 < reference["year"] < 2030
        assert reference.get("url", "").startswith("https://") or re.fullmatch(
            r"10\.\d{4,}/\S+", reference.get("doi", "")
        )


def test_the_readme_names_it():
    assert "[CITATION.cff](CITATION.cff)" in (ROOT / "README.md").read_text()
