from pathlib import Path

import torch
from conftest import shrunken

from carcls.demo import pretraining


def test_a_backbone_is_the_same_whichever_trained_the_shallow_network_they_share(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = shrunken()
    alone = pretraining.pretrain(settings, Path("."), "resnet34")
    Path(".carcls/shallow.pt").unlink()
    monkeypatch.setattr(pretraining, "_draw", None)  # calling it would fail: the pictures are kept
    pretraining.pretrain(settings, Path("."), "resnet18")
    after = pretraining.pretrain(settings, Path("."), "resnet34")
    assert alone.keys() == after.keys()
    assert all(torch.equal(alone[name], after[name]) for name in alone)
