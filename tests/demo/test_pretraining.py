from pathlib import Path

import pytest
import torch
from conftest import shrunken

from carcls.demo import pretraining
from carcls.learning.model import build_model


def test_a_backbone_does_not_depend_on_the_order_of_architectures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = shrunken()
    alone = pretraining.pretrain(settings, Path("."), "resnet34")
    Path(".carcls/shallow.pt").unlink()
    monkeypatch.setattr(pretraining, "_draw", None)  # fails if it is called: the pictures are stored
    pretraining.pretrain(settings, Path("."), "resnet18")
    after = pretraining.pretrain(settings, Path("."), "resnet34")
    assert alone.keys() == after.keys()
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_the_added_blocks_of_each_architecture_learn(tmp_path, monkeypatch):
    """Their scale is not zero, so that they affect predictions, and training changes their weights."""
    monkeypatch.chdir(tmp_path)
    settings = shrunken()
    for arch, blocks in (("resnet18", 2), ("resnet34", 3)):
        drawn = build_model(arch, 24, seed=settings.pretrain.seed).state_dict()
        found = pretraining.pretrain(settings, Path("."), arch)
        scale = pretraining.SCALE / (blocks - 1) ** 0.5
        assert found["layer1.1.bn2.weight"].mean() == pytest.approx(scale, abs=0.05)
        moved = (found["layer1.1.conv1.weight"] - drawn["layer1.1.conv1.weight"]).abs().max()
        assert 0 < moved < 0.1
