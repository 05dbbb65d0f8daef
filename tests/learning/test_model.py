import json
import urllib.request
from dataclasses import asdict, replace

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from carcls.errors import InputError
from carcls.evaluation.scores import predict
from carcls.learning import weights
from carcls.learning.loading import ImageSet
from carcls.learning.model import (
    IMAGENET,
    MEAN,
    STD,
    Inference,
    ModelInfo,
    backbone_of,
    build_model,
    check_classes,
    infer,
    inference_of,
    load_backbone,
    load_model,
    normalise,
    read_normalisation,
    save_backbone,
    save_model,
    set_inference,
    split_frozen,
)

INFO = ModelInfo("resnet18", "scratch", ["a", "b", "c"], 32, MEAN, STD, 0.25, 3)


@pytest.fixture(scope="module")
def model():
    return build_model("resnet18", 3, seed=5).eval()


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_weights_depend_only_on_the_seed(model):
    torch.manual_seed(99)
    again, other = build_model("resnet18", 3, seed=5), build_model("resnet18", 3, seed=6)
    assert torch.equal(model.fc.weight, again.fc.weight)
    assert not torch.equal(model.fc.weight, other.fc.weight)


def test_normalise_maps_the_value_range_to_minus_one_and_one():
    assert normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
    assert normalise(torch.tensor([0.0, 0.5])).tolist() == [-1, 0]


@pytest.mark.parametrize("frozen_layers", range(9))
def test_the_frozen_and_the_trained_part_compose_to_the_model(model, pixels, frozen_layers):
    frozen, trained = split_frozen(model, frozen_layers)
    with torch.no_grad():
        assert torch.equal(trained(frozen(normalise(pixels))), model(normalise(pixels)))


def test_the_composed_parts_have_the_gradients_of_the_model(pixels):
    found = []
    for in_parts in (False, True):
        model = build_model("resnet18", 3, seed=5)
        frozen, trained = split_frozen(model, 0)
        network = trained if in_parts else model
        network(frozen(normalise(pixels))).square().sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
    for whole, parts in zip(*found, strict=True):
        assert torch.equal(whole, parts)


@pytest.mark.parametrize(
    ("frozen_layers", "trainable"),
    [
        (0, {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc"}),
        (6, {"layer3", "layer4", "fc"}),
        (8, {"fc"}),
    ],
)
def test_trainable_layers_of_each_configuration(frozen_layers, trainable):
    model = build_model("resnet18", 3, seed=5)
    split_frozen(model, frozen_layers)
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad} == trainable


def test_a_saved_model_loads_unchanged_and_saves_to_equal_bytes(tmp_path, model, pixels):
    save_model(tmp_path / "m.safetensors", model, INFO)
    loaded, info = load_model(tmp_path / "m.safetensors")
    assert info == INFO
    with torch.no_grad():
        assert torch.equal(loaded(normalise(pixels)), model(normalise(pixels)))
    save_model(tmp_path / "n.safetensors", loaded, info)
    assert (tmp_path / "m.safetensors").read_bytes() == (tmp_path / "n.safetensors").read_bytes()


def test_a_model_file_with_one_mean_for_all_channels_loads(tmp_path, model):
    about = {**asdict(INFO), "mean": 0.4, "std": 0.2}
    del about["tta"]
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, tmp_path / "old.safetensors", metadata={"carcls": json.dumps(about)})
    loaded, info = load_model(tmp_path / "old.safetensors")
    assert info == replace(INFO, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2))
    assert inference_of(loaded) == Inference(info.mean, info.std, "none")


def test_predictions_depend_on_the_mean_and_std_of_the_model_file(tmp_path, model, pixels):
    def answers(inference: Inference) -> torch.Tensor:
        info = replace(INFO, mean=inference.mean, std=inference.std)
        save_model(tmp_path / "m.safetensors", model, info)
        images = ImageSet(pixels, torch.zeros(2, dtype=torch.int64))
        return predict(load_model(tmp_path / "m.safetensors")[0], images, torch.device("cpu"))

    imagenet = answers(IMAGENET)
    scaled = (pixels / 255 - torch.tensor(IMAGENET.mean).view(3, 1, 1)) / torch.tensor(IMAGENET.std).view(
        3, 1, 1
    )
    with torch.no_grad():
        assert torch.allclose(imagenet, model(scaled), atol=1e-5)
    assert not torch.allclose(imagenet, answers(Inference()), atol=1e-3)


def test_with_tta_the_softmax_of_an_image_and_of_its_mirror_image_are_averaged(model, pixels):
    mirrored = build_model("resnet18", 3, seed=5).eval()
    set_inference(mirrored, IMAGENET._replace(tta="flip"))
    with torch.no_grad():
        both = [model(normalise(images, mirrored)).softmax(1) for images in (pixels, pixels.flip(-1))]
        found = infer(mirrored, pixels)
    assert torch.allclose(found.exp(), sum(both) / 2, atol=1e-6)
    assert torch.allclose(found, infer(mirrored, pixels.flip(-1)), atol=1e-5)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, Inference()),
        ({"format": "pt"}, Inference()),
        ({"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"}, IMAGENET),
        (
            {"carcls": json.dumps({"mean": [0.1, 0.2, 0.3], "std": 0.25})},
            Inference((0.1, 0.2, 0.3), (0.25,) * 3),
        ),
    ],
)
def test_mean_and_std_are_read_from_a_weights_file(tmp_path, metadata, expected):
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", metadata=metadata)
    assert read_normalisation(tmp_path / "w.safetensors") == expected
    model, backbone = (
        build_model("resnet18", 3, seed=1),
        backbone_of(build_model("resnet18", 3, seed=2).state_dict()),
    )
    save_backbone(tmp_path / "b.safetensors", backbone, expected)
    load_backbone(model, tmp_path / "b.safetensors")
    assert inference_of(model) == expected
    assert all(inference_of(part) == expected for part in split_frozen(model, 6))


def test_an_invalid_mean_gives_one_message(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", metadata={"mean": "0.5 or so"})
    with pytest.raises(InputError, match="w.safetensors: mean and std in its metadata are not three numbers"):
        read_normalisation(tmp_path / "w.safetensors")


def test_a_file_that_is_not_a_model_gives_one_message(tmp_path, model):
    with pytest.raises(InputError, match="gone.safetensors is missing"):
        load_model(tmp_path / "gone.safetensors")
    torch.save(model.state_dict(), tmp_path / "pickle.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    info = {"carcls": json.dumps({"arch": "resnet18"})}
    save_file({"x": torch.zeros(1)}, tmp_path / "partial.safetensors", metadata=info)
    for name in ("pickle", "foreign", "partial"):
        with pytest.raises(InputError, match=f"{name}.safetensors is not a model"):
            load_model(tmp_path / f"{name}.safetensors")


def test_a_model_of_other_classes_is_rejected(tmp_path):
    check_classes(tmp_path, INFO, ["a", "b", "c"])
    with pytest.raises(InputError, match="'d' is only among the data's classes"):
        check_classes(tmp_path, INFO, ["a", "b", "c", "d"])
    with pytest.raises(InputError, match="'c' is only among the model's classes"):
        check_classes(tmp_path, replace(INFO), ["a", "b"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_weights_file_of_any_number_of_classes_becomes_the_backbone(tmp_path, suffix, dtype):
    source = torchvision.models.resnet18(num_classes=7)
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in source.state_dict().items()}
    path = tmp_path / f"resnet18{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    backbone = weights.read_weights(path, "resnet18")
    save_backbone(tmp_path / "backbone.safetensors", backbone)
    model = build_model("resnet18", 3, seed=1)
    load_backbone(model, tmp_path / "backbone.safetensors")
    assert not model.fc.weight.any() and not model.fc.bias.any()
    assert model.conv1.weight.dtype == torch.float32
    for name, tensor in backbone_of(state).items():
        assert torch.equal(model.state_dict()[name], tensor.to(model.state_dict()[name].dtype))


def test_weights_that_do_not_fit_give_one_message(tmp_path, model):
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "resnet18.safetensors")
    with pytest.raises(
        InputError, match="does not contain the weights of resnet34: its tensor layer1.2.bn1.bias is"
    ):
        weights.read_weights(tmp_path / "resnet18.safetensors", "resnet34")
    with pytest.raises(InputError, match="gone.pth are missing"):
        weights.read_weights(tmp_path / "gone.pth", "resnet18")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(InputError, match="text.pth is neither"):
        weights.read_weights(tmp_path / "text.pth", "resnet18")


@pytest.mark.parametrize("keys", [[], ["state_dict"], ["model"], ["state_dict", "model"]])
@pytest.mark.parametrize(
    "prefix",
    ["", "module.", "model.", "backbone.", "encoder.", "_orig_mod.", "module._orig_mod.model.backbone."],
)
def test_weights_are_found_in_the_checkpoints_of_common_trainers(tmp_path, keys, prefix):
    source = build_model("resnet18", 7, seed=3)
    content = {f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}
    content["head.weight" if prefix else "projector.weight"] = torch.zeros(2)
    for key in keys:
        content = {key: content, "epoch": 3, "optimizer": {"lr": 0.1}}
    torch.save(content, tmp_path / "checkpoint.ckpt")
    backbone = weights.read_weights(tmp_path / "checkpoint.ckpt", "resnet18")
    assert backbone.keys() == backbone_of(source.state_dict()).keys()
    assert torch.equal(backbone["layer4.1.conv2.weight"], source.layer4[1].conv2.weight)


def test_a_file_with_two_backbones_is_rejected(tmp_path):
    state = build_model("resnet18", 7, seed=3).state_dict()
    pair = {
        f"{prefix}.{name}": tensor for prefix in ("encoder_q", "encoder_k") for name, tensor in state.items()
    }
    torch.save(pair, tmp_path / "moco.pth")
    with pytest.raises(
        InputError, match="contains the backbones encoder_k., encoder_q.: save the tensors of only one"
    ):
        weights.read_weights(tmp_path / "moco.pth", "resnet18")


def test_a_pickle_with_code_is_rejected_without_running_it(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(InputError, match="trap.pth contains more than tensors"):
        weights.read_weights(tmp_path / "trap.pth", "resnet18")
    assert not (tmp_path / "sprung").exists()


def test_imagenet_weights_are_loaded_by_torchvision(tmp_path, monkeypatch, model):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints/resnet18-f37072fd.pth"  # torchvision's name for IMAGENET1K_V1
    path.parent.mkdir(parents=True)
    source = build_model("resnet18", 1000, seed=2)
    torch.save(source.state_dict(), path)
    backbone = weights.imagenet("resnet18")
    assert torch.equal(backbone["conv1.weight"], source.conv1.weight)
    assert "fc.weight" not in backbone


def test_imagenet_weights_without_a_network_give_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens on the discard port
    monkeypatch.setattr(urllib.request, "_opener", None)  # urlopen keeps its first opener, proxies and all
    with pytest.raises(InputError, match="ImageNet weights of resnet18 could not be downloaded"):
        weights.imagenet("resnet18")
