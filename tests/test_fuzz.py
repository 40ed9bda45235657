"""Damaged files are read, or refused with an error of tfinv's own; no process dies but where a trial process would."""

from __future__ import annotations

import numpy as np
import pytest
from fuzz_files import BARE, DIED, FINE, HUNG, KINDS, REFUSED, damaged, network, outcomes

COUNT = 1500
"""Files of every kind, in the long test."""


def test_damage_is_the_same_for_the_same_seed_and_another_for_another():
    content = np.random.default_rng(0).bytes(500)
    assert damaged(content, 5) == damaged(content, 5) != content
    assert len({damaged(content, seed) for seed in range(50)}) == 50


@pytest.mark.slow
def test_some_damaged_data_sets_and_checkpoints():
    for kind in ("checkpoint", "inside data"):
        told = outcomes(kind, range(500, 530))
        assert told.counts[FINE] + told.counts[REFUSED] == 30, told.bad


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind):
    told = outcomes(kind, range(COUNT))
    assert not told.counts[BARE] and not told.counts[HUNG], told.bad
    assert kind == "tflite" or not told.counts[DIED], told.bad
    assert told.counts.total() == COUNT


def test_a_tflite_file_without_inputs_is_refused():
    from tfinv.tflite import TFLiteModel, float32
    from tfinv.tflite.files.flatbuffer import editable, pack

    content = editable(float32(network()).content)
    content.subgraphs[0].inputs = []
    with pytest.raises(ValueError, match=r"model must have one input of images .* Received: input shapes \[\]"):
        TFLiteModel(pack(content), probe=False)
