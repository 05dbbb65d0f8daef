"""Params made from a folder of photographs and the user's options."""

import re

import pytest
from conftest import draw_shapes

from carcls.errors import InputError
from carcls.results import settings

ROBUST = {"epsilon": 0.01, "steps": 1}


@pytest.fixture
def shapes(tmp_path):
    draw_shapes(tmp_path / "shapes", 2)
    return tmp_path / "shapes"


def counted(folder: str) -> tuple[list[str], int, str]:
    found = settings.count(folder)
    return found.classes(), len(found.rows), found.left_out


def test_count_returns_classes_images_and_skipped_files(shapes):
    assert counted(str(shapes)) == (["bar", "disc", "square"], 6, "")
    (shapes / "disc/.hidden.png").touch()
    (shapes / "disc/notes.txt").touch()
    assert counted(f" {shapes} ") == (["bar", "disc", "square"], 6, "1 .txt, 1 hidden")


def test_class_with_one_image_needs_a_test_set(shapes):
    (shapes / "disc/00.png").unlink()
    with pytest.raises(InputError, match="'disc' has 1 image, but 2 are needed, one of them for testing"):
        settings.count(str(shapes))
    for split in ("train", "test"):
        draw_shapes(shapes.parent / "divided" / split, 1)
    assert counted(str(shapes.parent / "divided")) == (["bar", "disc", "square"], 6, "")


def test_missing_folder_is_reported_without_the_params_key(tmp_path):
    with pytest.raises(InputError, match=f"^{re.escape(str(tmp_path / 'gone'))} does not exist"):
        settings.count(str(tmp_path / "gone"))
    with pytest.raises(InputError, match="^Name a folder"):
        settings.count(" ")


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ({}, "pretrained"),
        ({"pretrained": False}, "scratch"),
        ({"frozen_layers": 6}, "freeze6"),
        ({"pretrained": False, "frozen_layers": 6}, "scratch_freeze6"),
        ({"adversarial": ROBUST}, "robust"),
    ],
)
def test_configuration_has_its_name_in_the_study(shapes, options, config):
    found = settings.with_overrides(str(shapes), options | {"train.epochs": 7, "train.repeats": 1}, "x")
    assert (found.model.config, list(found.configs), found.train.epochs) == (config, [config], 7)
    wanted = {"pretrained": True, "frozen_layers": 0, "adversarial": None} | options
    assert found.configs[config].model_dump() == wanted
    assert (found.data.source, found.data.folder) == ("folder", str(shapes))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"train.epoch": 3}, "Options: there is no key train.epoch; "),
        ({"seed.x": 3}, "Options: there is no key seed.x; "),
        ({"seed.x.y": 3}, "Options: there is no key seed.x.y; "),
        ({"trainer.epochs": 3}, "Options: there is no key trainer.epochs; "),
        ({"train.epochs": 0}, "Options: train.epochs is 0"),
        ({"train.repeats": 2}, "Options: train.repeats is 2, but a results folder contains one model"),
    ],
)
def test_invalid_option_is_reported(shapes, options, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        settings.with_overrides(str(shapes), options, "Options")
    with pytest.raises(InputError, match="does not exist"):
        settings.with_overrides("nowhere", options, "Options")
