import typing

import pytest
import torchvision
import yaml
from conftest import ROOT

from carcls import params
from carcls.errors import InputError
from carcls.pipeline.variants import variants


def keys(content, path=()):
    if not isinstance(content, dict):
        return {path}
    return set().union(*(keys(value, (*path, key)) for key, value in content.items()))


def test_presets_have_the_keys_of_params():
    committed = yaml.safe_load((ROOT / "params.yaml").read_text())
    for preset in ("presets/paper.yaml", "carcls/results/photographs.yaml"):
        assert keys(committed) == keys(yaml.safe_load((ROOT / preset).read_text()))
    assert params.load(ROOT / "presets/paper.yaml").train.epochs == 15


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("image_size: 64", "image_size: 0", "data.image_size is 0"),
        ("image_size: 64", "image_size: 31", "data.image_size is 31"),
        ("image_size: 64", "image_size: 1025", "data.image_size is 1025"),
        ("image_size: 64", "imagesize: 64", "no key data.imagesize"),
        ("image_size: 64 ", "#", "data.image_size is missing"),
        ("seed: 1 ", "seed: true #", "seed is True"),
        ("seed: 1 ", "seed: -1 #", "seed is -1"),
        ("arch: resnet34", "arch: vgg16", "model.arch is 'vgg16'"),
        ("  config: pretrained", "  config: nope", "model.config is 'nope', which is not in configs"),
        ("source: demo", "source: folder", "data.folder"),
        ("val: 0.5", "val: 1.5", "split.val is 1.5; it must be less than 1"),
        ("device: auto", "device: gpu", "train.device is 'gpu'"),
        ("frozen_layers: 6", "frozen_layers: 9", "configs.freeze6.frozen_layers is 9"),
        ("epsilon: 0.01", "epsilon: .nan", "fgsm.epsilon is nan"),
        ("low: 0.8, high: 1.2", "low: 1.8, high: 1.2", "augment.operations.gamma: low"),
        ("seed: 1 ", "seed: [ #", "not valid YAML"),
    ],
)
def test_an_invalid_value_gives_one_message_that_names_its_key(tmp_path, old, new, expected):
    text = (ROOT / "params.yaml").read_text()
    assert old in text
    path = tmp_path / "params.yaml"
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=".") as error:
        params.load(path)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [32, 1024])
def test_the_smallest_and_the_largest_images_are_allowed(tmp_path, size):
    text = (ROOT / "params.yaml").read_text().replace("image_size: 64", f"image_size: {size}")
    (tmp_path / "params.yaml").write_text(text)
    assert params.load(tmp_path / "params.yaml").data.image_size == size


def test_the_message_for_a_number_that_yaml_reads_as_text_has_the_fix(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text().replace("lr: 0.001", "lr: 1e-3"))
    with pytest.raises(InputError, match=r"write 0\.001\.$"):
        params.load(path)


def test_every_arch_is_a_resnet_of_torchvision():
    resnets = set(torchvision.models.list_models(include=["resnet*", "resnext*", "wide_resnet*"]))
    assert set(typing.get_args(params.Arch)) == resnets


def test_a_study_without_validation_images_is_rejected(tmp_path):
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    content["split"]["val"] = None
    with pytest.raises(InputError, match="train.keep is best, which validation images decide"):
        params.check(content, "params.yaml")
    content["train"]["keep"] = "last"
    with pytest.raises(InputError, match="the study compares its variants on validation images"):
        variants(params.check(content, "params.yaml"), tmp_path)
