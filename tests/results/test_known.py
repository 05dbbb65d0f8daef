"""Photographs keep the split that they had for the model of the starting weights."""

import pandas as pd
import pytest

from carcls import params
from carcls.errors import InputError
from carcls.files import write_csv
from carcls.results import settings
from carcls.results.known import keep_splits, known

PHOTOGRAPHS = [f"p{number}" for number in range(9)]


@pytest.fixture
def model(tmp_path):
    """The path of a model that was trained on the photographs 0 to 5; 6 to 8 are new."""
    splits = ["train", "val", "test", "train", "val", "test"]
    earlier = pd.DataFrame({"sha256": PHOTOGRAPHS[:6], "split": splits})
    copy = pd.DataFrame({"sha256": PHOTOGRAPHS[:1], "split": ["test"]})
    write_csv(tmp_path / "photographs.csv", pd.concat([earlier, copy]))
    return tmp_path / "model.safetensors"


def kept(root, model, drawn: str, classes: str = "aaaaaaaaa", **changes) -> str:
    """The splits of photographs 0, 1, ... after `keep_splits`, with the splits `drawn` before.

    t is train, v is val and e is test.
    """
    words = {"t": "train", "v": "val", "e": "test"}
    rows = {"name": PHOTOGRAPHS, "class": list(classes), "sha256": PHOTOGRAPHS}
    table = pd.DataFrame(rows | {"split": [words[letter] for letter in drawn]})
    write_csv(root / "data/split.csv", table)
    content = settings.preset().model_dump() | {"weights": str(model)}
    content["configs"][content["model"]["config"]]["pretrained"] = changes.get("pretrained", True)
    content["split"]["val"] = changes.get("val")
    keep_splits(params.check(content, "x"), root)
    after = pd.read_csv(root / "data/split.csv", dtype=str)
    pd.testing.assert_frame_equal(after.drop(columns="split"), table.drop(columns="split"))
    return "".join({word: letter for letter, word in words.items()}[split] for split in after["split"])


def test_known_returns_the_first_split_of_a_photograph(model, tmp_path):
    assert known(model).to_dict() == dict(zip(PHOTOGRAPHS[:6], ["train", "val", "test"] * 2, strict=True))
    assert known(tmp_path / "elsewhere/model.safetensors").empty


def test_only_known_photographs_change_their_split(model, tmp_path):
    assert kept(tmp_path, model, "eeettttet") == "ttettetet"
    assert kept(tmp_path, model, "eeettttev", val=0.2) == "tvetvetev"


def test_splits_are_unchanged_without_known_photographs_or_weights(model, tmp_path):
    assert kept(tmp_path, tmp_path / "other/model.safetensors", "ettettett") == "ettettett"
    assert kept(tmp_path / "results/.work", model, "ettettett", pretrained=False) == "ettettett"


def test_class_without_training_images_keeps_its_new_splits(model, tmp_path):
    assert kept(tmp_path, model, "etttttett", "aabaaabaa") == "ttttteett"


def test_missing_test_or_validation_images_raise_an_error(model, tmp_path):
    rows = {"sha256": PHOTOGRAPHS, "split": "train"}
    write_csv(tmp_path / "photographs.csv", pd.DataFrame(rows))
    with pytest.raises(InputError, match="was trained on all images that could be used for testing or"):
        kept(tmp_path, model, "eeeeeeeee")
    rows["split"] = ["test", *["train"] * 8]
    write_csv(tmp_path / "photographs.csv", pd.DataFrame(rows))
    assert kept(tmp_path, model, "ttttttttt") == "etttttttt"
    with pytest.raises(InputError, match="was trained on all images that could be used for testing or"):
        kept(tmp_path, model, "vvvvvvvvv", val=0.2)
