"""The Python interface works as in the documentation."""

import ast
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, draw_shapes

import carcls


def test_example_of_the_docs_trains_and_predicts(tmp_path, monkeypatch, capsys):
    _, code = re.findall(r"```python\n(.*?)```", (ROOT / "docs/web.md").read_text(), re.DOTALL)
    draw_shapes(tmp_path / "photos", 16)
    (tmp_path / "car.jpg").write_bytes((tmp_path / "photos/disc/03.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    small = "image_size=32, batch_size=8, pretrained=False, device='cpu', **{'fgsm.sweep': [0.0]}"
    names: dict = {}
    exec(code.replace("epochs=5", f"epochs=5, {small}"), names)
    answer = ast.literal_eval(capsys.readouterr().out.splitlines()[-1])
    assert [name for name, _ in answer] and {name for name, _ in answer} == {"bar", "disc", "square"}
    assert sum(probability for _, probability in answer) == pytest.approx(1)
    left = {path.name for path in (tmp_path / "results/my-photos").iterdir()}
    assert {"model.safetensors", "report.html", "metrics.json", "train.log"} <= left
    assert "epoch 5" in (tmp_path / "results/my-photos/train.log").read_text()
    with pytest.raises(carcls.InputError, match="uint8 RGB"):
        names["model"].predict(np.zeros((3, 40, 40), np.uint8))
    with pytest.raises(carcls.InputError, match="no key train.epoch"):
        carcls.train("photos", **{"train.epoch": 5})
    with pytest.raises(carcls.InputError, match="my-photos already exists"):
        carcls.train("photos", name="my-photos")


def test_import_does_not_import_torch_and_lists_public_names():
    code = "import sys, carcls; print('torch' in sys.modules, *carcls.__all__); carcls.nothing"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == ["False", "InputError", "load", "train"]
    assert "has no attribute 'nothing'" in result.stderr
