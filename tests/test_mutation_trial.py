"""Every defect of the mutation trial can still be planted: what it changes stands in the code exactly once."""

from __future__ import annotations

import pytest
from mutation_trial import DEFECTS, ROOT, Defect


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_the_text_of_a_defect_stands_in_its_file_once(defect: Defect):
    source = (ROOT / defect.file.replace("tfinv/tflite/", "tflite/")).read_text()
    assert source.count(defect.right) == 1 and defect.wrong != defect.right
    tests = (ROOT / "tests" / defect.tests).read_text()
    assert any(name in tests for name in defect.chosen.split(" or "))
