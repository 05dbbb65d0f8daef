from dataclasses import replace

import pytest
import torch
from conftest import shrunken

from carcls import training
from carcls.errors import InputError
from carcls.evaluation import predict, scores
from carcls.loading import ArchiveSet, ImageSet, batches
from carcls.model import backbone_of, build, load_model, save_backbone, save_model

CPU = torch.device("cpu")
SETTINGS = {
    "epochs": 2,
    "patience": 5,
    "batch_size": 16,
    "lr": 1e-3,
    "weight_decay": 0.01,
    "device": CPU,
    "precision": torch.float32,
    "seed": 1,
}


@pytest.fixture(scope="module")
def sets(data):
    return ArchiveSet(data / "images/train.tar"), ArchiveSet(data / "images/val.tar")


def fit(sets, frozen_layers=0, **changes):
    model = build("resnet18", 12, seed=1)
    epochs = list(training.fit(model, *sets, frozen_layers=frozen_layers, **SETTINGS | changes))
    return model, epochs


@pytest.mark.parametrize("frozen_layers", [6, 8])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_frozen_tensor_is_byte_identical_after_training(sets, frozen_layers, precision):
    before = build("resnet18", 12, seed=1).state_dict()
    model, _ = fit(sets, frozen_layers, precision=precision)
    prefixes = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")[: frozen_layers - 2]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith(prefixes), name


def test_features_computed_once_train_as_features_computed_each_time(sets, monkeypatch):
    once, _ = fit(sets, 6)
    monkeypatch.setattr(training, "MEMORY_LIMIT", 0)
    each_time, _ = fit(sets, 6)
    for name, tensor in once.state_dict().items():
        assert torch.allclose(tensor, each_time.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_equal_settings_train_equal_bytes_whatever_ran_before(sets, precision):
    first, epochs = fit(sets, precision=precision)
    torch.manual_seed(12345)
    second, again = fit(sets, precision=precision)
    assert epochs == again
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_a_run_learns_and_the_golden_losses_hold(sets):
    _, epochs = fit(sets, epochs=3)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert [epoch.lr for epoch in epochs] == pytest.approx([1e-3, 7.5e-4, 2.5e-4])
    # processors differ in the last bits of a convolution, and training amplifies them: hence the width
    assert [epoch.train_loss for epoch in epochs] == pytest.approx(GOLDEN, rel=0.05)


def test_the_model_is_left_at_its_best_epoch(sets):
    model, epochs = fit(sets, epochs=3, lr=0.01)
    best = max(epoch.val_f1 for epoch in epochs)
    result = scores(predict(model, sets[1], CPU), sets[1].labels)
    assert result["f1"] == best


def test_training_stops_when_patience_is_out(sets):
    _, epochs = fit(sets, epochs=9, patience=1, lr=1e-12)
    assert len(epochs) < 9
    assert epochs[-1].val_f1 <= max(epoch.val_f1 for epoch in epochs[:-1])


def test_a_loss_that_is_not_finite_is_one_sentence(sets):
    with pytest.raises(InputError, match=r"epoch \d: lower train\.lr"):
        fit(sets, lr=1e30, epochs=3)


def test_a_last_batch_of_one_does_not_stop_batchnorm(sets):
    train = sets[0].select(range(17))
    assert len(fit((train, sets[1]), epochs=1)[1]) == 1


def test_images_read_as_they_come_are_those_kept_in_memory(data, monkeypatch):
    kept = ArchiveSet(data / "images/val.tar")
    monkeypatch.setattr("carcls.loading.MEMORY_LIMIT", 0)
    read = ArchiveSet(data / "images/val.tar")
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))
    pairs = zip(batches(kept, 7, order), batches(read, 7, order), strict=True)
    for (pixels, labels), (other_pixels, other_labels) in pairs:
        assert torch.equal(pixels, other_pixels)
        assert torch.equal(labels, other_labels)
        assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_batches_cover_every_image_once():
    images = ImageSet(torch.zeros(10, 3, 2, 2, dtype=torch.uint8), torch.arange(10))
    assert [labels.tolist() for _, labels in batches(images, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_saved_variant_scores_what_its_training_said(data, tmp_path):
    backbone = backbone_of(build("resnet18", 5, seed=3).state_dict())
    save_backbone(data / "weights/resnet18.safetensors", backbone)
    model, info, history, metrics = training.train_variant(shrunken(), "resnet18", "freeze6", data)
    save_model(tmp_path / "m.safetensors", model, info)
    loaded, loaded_info = load_model(tmp_path / "m.safetensors")
    val = ArchiveSet(data / "images/val.tar")
    result = scores(predict(loaded, val, CPU), val.labels)
    assert (result["f1"], result["loss"]) == (metrics["val_f1"], pytest.approx(metrics["val_loss"], rel=1e-6))
    assert loaded_info == replace(info, val_f1=metrics["val_f1"], epoch=metrics["epoch"])
    assert list(history["epoch"]) == [1, 2]
    assert metrics["trainable_parameters"] < metrics["parameters"]


GOLDEN = [2.6092, 1.2060, 0.3160]
