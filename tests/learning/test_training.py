import errno
import io
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DEVICE, ROOT, of_the_cpu, shrunken
from tqdm import tqdm

from carcls.data import augment
from carcls.errors import InputError
from carcls.evaluation import attack
from carcls.evaluation.scores import predict, scores
from carcls.imageset import archive
from carcls.imageset.images import encode
from carcls.learning import training, variant
from carcls.learning.checkpoint import Checkpoint, checkpoint_key
from carcls.learning.loading import ArchiveSet, ImageSet, batches
from carcls.learning.model import (
    IMAGENET,
    PAPER,
    Inference,
    backbone_of,
    build_model,
    inference_of,
    load_model,
    save_backbone,
    save_model,
)
from carcls.params import Adversarial, Attack

ON = torch.device(DEVICE)
RECIPE = training.Recipe(
    frozen_layers=0,
    epochs=2,
    patience=5,
    optimizer="adamw",
    batch_size=16,
    lr=1e-3,
    head_lr_multiplier=1,
    weight_decay=0.01,
    device=ON,
    precision=torch.float32,
    seed=1,
)


ATTACKED = Adversarial(epsilon=0.005, steps=1)


@pytest.fixture(scope="module")
def sets(data):
    return ArchiveSet(data / "images/train.tar"), ArchiveSet(data / "images/val.tar")


def fit(sets, frozen_layers=0, **changes):
    model = build_model("resnet18", 12, seed=1)
    epochs = list(training.fit(model, *sets, replace(RECIPE, frozen_layers=frozen_layers, **changes)))
    return model.cpu(), epochs


def test_originals_are_spread_evenly_over_each_class(sets):
    train, val = sets
    assert len(val.originals()) == 12 * 2 < len(val)
    few = train.originals(2)  # each class has four: the first and the third are chosen
    assert few.labels.tolist() == [label for label in range(12) for _ in range(2)]
    assert torch.equal(few.read(range(24)), train.originals().read(range(0, 48, 2)))


def test_originals_are_in_the_order_of_the_archive_not_of_labels(tmp_path):
    with archive.create(tmp_path / "set.tar", augment.COLUMNS) as writer:
        for name, label, shade in (("A B", 1, 200), ("A", 0, 100)):  # "A B/" is before "A/"
            data = encode(np.full((32, 32, 3), shade, np.uint8), 95)
            row = {"label": label, "class": name, "source": name, "operations": ""}
            writer.add(f"{name}/1.jpg", data, **row)
    originals = ArchiveSet(tmp_path / "set.tar").originals()
    assert originals.labels.tolist() == [1, 0]
    assert originals.read([0, 1]).float().mean((1, 2, 3)).round().tolist() == [200, 100]


@pytest.mark.parametrize("frozen_layers", [6, 8])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_frozen_tensor_is_byte_identical_after_training(sets, frozen_layers, precision):
    before = build_model("resnet18", 12, seed=1).state_dict()
    model, _ = fit(sets, frozen_layers, precision=precision)
    prefixes = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")[: frozen_layers - 2]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith(prefixes), name


@of_the_cpu
def test_computing_features_once_does_not_change_training(sets, monkeypatch):
    once, _ = fit(sets, 6)
    monkeypatch.setattr(training, "MEMORY_LIMIT", 0)
    each_time, _ = fit(sets, 6)
    for name, tensor in once.state_dict().items():
        assert torch.allclose(tensor, each_time.state_dict()[name], atol=1e-5), name


@pytest.mark.parametrize(
    "changes", [{}, {"precision": torch.bfloat16}, {"precision": torch.bfloat16, "adversarial": ATTACKED}]
)
def test_equal_settings_give_equal_bytes_whatever_ran_before(sets, changes):
    few = [images.select(range(0, len(images), 3)) for images in sets]
    first, epochs = fit(few, **changes)
    torch.manual_seed(12345)
    second, again = fit(few, **changes)
    assert epochs == again
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_computing_mirror_images_once_does_not_change_training(sets, monkeypatch):
    once, epochs = fit(sets, 6, flip=True)
    assert epochs != fit(sets, 6)[1]
    monkeypatch.setattr(training, "MEMORY_LIMIT", 0)
    each_time, _ = fit(sets, 6, flip=True)
    for name, tensor in once.state_dict().items():
        assert torch.allclose(tensor, each_time.state_dict()[name], atol=1e-5), name


def test_flips_are_random_and_do_not_depend_on_the_number_of_processes(sets):
    train, recipe = sets[0], replace(RECIPE, flip=True)
    inputs = training.Inputs(train, lambda batch: batch)
    order = torch.arange(len(train)).split(16)

    def fed(number: int, rank: int, processes: int) -> list[torch.Tensor]:
        shares = [batch[rank::processes] for batch in order]
        return [pixels for pixels, _ in training._loaded(inputs, shares, recipe, number)]

    whole, parts = torch.cat(fed(1, 0, 1)), zip(fed(1, 0, 2), fed(1, 1, 2), strict=True)
    assert torch.equal(whole, torch.cat([torch.stack(pair, 1).flatten(0, 1) for pair in parts]))
    images = train.read(range(len(train)))
    mirrored = (whole == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(whole[~mirrored], images[~mirrored])
    assert 0.3 < mirrored.float().mean() < 0.7
    assert not torch.equal(whole, torch.cat(fed(2, 0, 1)))


def test_the_last_epoch_is_kept_without_a_validation_set(sets, tmp_path):
    train, none = sets[0], ImageSet(sets[1].read([0])[:0], sets[1].labels[:0])
    checkpoint = Checkpoint("last", "x", tmp_path)
    model = build_model("resnet18", 12, seed=1)
    recipe = replace(RECIPE, epochs=3, patience=1, keep="last", flip=True)
    found = []
    for epoch in training.fit(model, train, none, recipe, checkpoint=checkpoint):
        found.append(epoch)
        if epoch.epoch == 2:
            break
    resumed = build_model("resnet18", 12, seed=9)
    again = list(training.fit(resumed, train, none, recipe, checkpoint=checkpoint))
    whole, epochs = fit((train, none), epochs=3, patience=1, keep="last", flip=True)
    assert again == epochs and found == epochs[:2] and len(epochs) == 3
    assert all((epoch.val_loss, epoch.val_loss_std, epoch.val_f1) == (None,) * 3 for epoch in epochs)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.cpu().state_dict()[name]), name
    assert training.kept_epoch(epochs, "last").epoch == 3


def test_a_rare_class_counts_as_much_as_a_frequent_one_at_power_one():
    labels, trained = torch.tensor([0] * 6 + [1] * 2), torch.nn.Linear(4, 2)
    assert training._class_weights(labels, trained, RECIPE) is None
    weights = training._class_weights(labels, trained, replace(RECIPE, class_weights=1.0))
    assert weights.tolist() == pytest.approx([8 / 12, 8 / 4])
    half = training._class_weights(labels, trained, replace(RECIPE, class_weights=0.5))
    assert (half[1] / half[0]).item() == pytest.approx(3**0.5) and half[
        labels
    ].mean().item() == pytest.approx(1)

    rarest = training._class_weights(torch.tensor([0] * 6 + [1]), trained, replace(RECIPE, class_weights=1.0))
    assert (rarest[1] / rarest[0]).item() == pytest.approx(6)
    absent = training._class_weights(torch.tensor([0, 0]), trained, replace(RECIPE, class_weights=1.0))
    assert absent.isfinite().all()


def test_class_weights_move_predictions_to_the_rare_class(sets):
    images = sets[0]
    places = [*(images.labels == 0).nonzero()[:, 0].tolist(), (images.labels == 1).nonzero()[0].item()]
    few = images.select(places)
    rare = few.select([len(few) - 1])
    chances = [
        predict(fit((few, few), epochs=1, lr=1e-4, class_weights=power)[0], rare, ON).softmax(1)[0, 1]
        for power in (0.0, 2.0)
    ]
    assert chances[1] > chances[0]


def test_training_reduces_the_loss(sets):
    _, epochs = fit(sets, epochs=3)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]
    assert [epoch.lr for epoch in epochs] == pytest.approx([1e-3, 7.5e-4, 2.5e-4])
    losses = [epoch.train_loss for epoch in epochs]
    assert losses[2] < losses[1] / 2 < losses[0] / 4


def test_adversarial_training_is_more_robust_than_plain_training(sets):
    train, _ = sets
    settings = Attack(steps=5, step_size=0.008, restarts=1, apgd_steps=0)

    def robust_accuracy(**changes) -> float:
        model, _ = fit((train, train), epochs=6, **changes)
        logits = attack.pgd(model, train, ATTACKED.epsilon, settings, ON, seed=1)
        return scores(logits, train.labels)["accuracy"]

    plain = robust_accuracy()
    assert robust_accuracy(adversarial=ATTACKED) > 2 * plain
    assert robust_accuracy(adversarial=Adversarial(epsilon=ATTACKED.epsilon, steps=3)) > 2 * plain


# The last bits of a convolution depend on the processor and the number of threads, and training amplifies
# them. Largest relative deviation of a loss, measured with SSE4.1, AVX2 and AVX-512 at these learning rates:
# 1e-4 if all layers are trained (AVX2, one thread), 3e-7 if only the classifier is. The tolerances still
# detect another schedule, image order or learning rate of the head, and label smoothing of 0.01, in both
# cases. The second case also detects a missing weight decay, or that of Adam instead of AdamW.
@of_the_cpu
@pytest.mark.parametrize(("frozen_layers", "lr", "rounding"), [(0, 1e-5, 3e-4), (8, 1e-2, 1e-5)])
def test_losses_equal_the_golden_run(sets, frozen_layers, lr, rounding):
    _, epochs = fit(sets, frozen_layers, epochs=3, lr=lr)
    losses = [(epoch.train_loss, epoch.val_loss) for epoch in epochs]
    for found, golden in zip(losses, GOLDEN[frozen_layers], strict=True):
        assert found == pytest.approx(golden, rel=rounding)


def test_the_model_has_the_weights_of_its_best_epoch(sets):
    model, epochs = fit(sets, epochs=3, lr=0.01)
    best = max(epoch.val_f1 for epoch in epochs)
    result = scores(predict(model, sets[1], ON), sets[1].labels)
    assert result["f1"] == best


def test_training_stops_after_patience_epochs(sets):
    _, epochs = fit(sets, epochs=9, patience=1, lr=1e-12)
    assert len(epochs) < 9
    assert epochs[-1].val_f1 <= max(epoch.val_f1 for epoch in epochs[:-1])


def test_a_loss_that_is_not_finite_gives_one_message(sets):
    with pytest.raises(InputError, match=r"epoch \d: lower lr \(now 1e\+30\)"):
        fit(sets, lr=1e30, epochs=3)


def test_an_epoch_whose_validation_loss_is_not_finite_is_neither_yielded_nor_saved(
    sets, tmp_path, monkeypatch
):
    def diverge(*arguments):
        loss, std, f1 = validate(*arguments)
        return (loss, std, f1) if len(epochs) < 1 else (float("nan"), std, 1.0)

    validate, epochs = training.validate, []
    monkeypatch.setattr(training, "validate", diverge)
    model, checkpoint = build_model("resnet18", 12, seed=1), Checkpoint("a", "f", tmp_path)
    with pytest.raises(InputError, match="The validation loss was nan in epoch 2: lower lr"):
        for epoch in training.fit(model, *sets, replace(RECIPE, epochs=3), checkpoint=checkpoint):
            epochs.append(epoch)
    state = checkpoint.load()
    assert [epoch["epoch"] for epoch in state["history"]] == [epoch.epoch for epoch in epochs] == [1]
    for tensor, kept in zip(model.cpu().state_dict().values(), state["weights"].values(), strict=True):
        assert torch.equal(tensor, kept)


def test_a_last_batch_of_one_does_not_stop_batchnorm(sets):
    train = sets[0].select(range(17))
    assert len(fit((train, sets[1]), epochs=1)[1]) == 1


@pytest.mark.parametrize(
    ("images", "batch_size", "sizes"),
    [(17, 16, [16]), (18, 16, [16, 2]), (32, 16, [16, 16]), (1, 16, [1]), (5, 2, [2, 2])],
)
def test_a_last_batch_of_one_is_skipped_unless_it_is_the_only_batch(images, batch_size, sizes):
    recipe = replace(RECIPE, batch_size=batch_size)
    order = training._order(images, recipe, 1)
    assert [len(batch) for batch in order] == sizes
    assert len(set(torch.cat(order).tolist())) == sum(sizes)
    again, other = (training._order(images, changed, 1) for changed in (recipe, replace(recipe, seed=2)))
    assert torch.equal(torch.cat(order), torch.cat(again))
    if images > 2:
        assert not torch.equal(torch.cat(order), torch.cat(other))
        assert not torch.equal(torch.cat(order), torch.cat(training._order(images, recipe, 2)))


def test_a_last_batch_smaller_than_the_number_of_processes_is_skipped(monkeypatch):
    monkeypatch.setattr(training.distributed, "size", lambda: 3)
    assert [len(batch) for batch in training._order(18, RECIPE, 1)] == [16]
    assert [len(batch) for batch in training._order(19, RECIPE, 1)] == [16, 3]


def test_batches_of_several_processes_are_interleaved():
    first, second = ([torch.tensor([number]) for number in numbers] for numbers in ((0, 2, 4), (1, 3)))
    assert torch.cat(training._in_turn([first, second])).tolist() == [0, 1, 2, 3, 4]


def test_images_read_from_disk_equal_those_in_memory(data, monkeypatch):
    kept = ArchiveSet(data / "images/val.tar")
    monkeypatch.setattr("carcls.learning.loading.MEMORY_LIMIT", 0)
    read = ArchiveSet(data / "images/val.tar")
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0))
    pairs = zip(batches(kept, order.split(7)), batches(read, order.split(7)), strict=True)
    for (pixels, labels), (other_pixels, other_labels) in pairs:
        assert torch.equal(pixels, other_pixels)
        assert torch.equal(labels, other_labels)
        assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_batches_cover_every_image_once():
    images = ImageSet(torch.zeros(10, 3, 2, 2, dtype=torch.uint8), torch.arange(10))
    read = [labels.tolist() for _, labels in batches(images, images.in_turn(4))]
    assert read == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


class Killed(Exception):
    pass


@pytest.mark.parametrize("frozen_layers", [0, 6])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_killed_training_resumes_to_the_same_bytes(sets, frozen_layers, epoch, tmp_path, monkeypatch):
    checkpoint = Checkpoint("a", "f", tmp_path)
    recipe = replace(RECIPE, frozen_layers=frozen_layers, epochs=3)
    whole, epochs = fit(sets, frozen_layers, epochs=3)

    class Bar(tqdm):
        def __init__(self, *, desc, **settings):
            super().__init__(desc=desc, **settings)
            self.last = desc == f"epoch {epoch + 1}/3"

        def update(self, n=1):
            if self.last:
                raise Killed

    with pytest.raises(Killed):
        list(training.fit(build_model("resnet18", 12, seed=1), *sets, recipe, checkpoint=checkpoint, bar=Bar))
    trained = []
    monkeypatch.setattr(training, "train_epoch", counted(training.train_epoch, trained))
    model = build_model("resnet18", 12, seed=1)
    assert list(training.fit(model, *sets, recipe, checkpoint=checkpoint)) == epochs
    assert len(trained) == 3 - epoch
    for name, tensor in model.cpu().state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name]), name


def counted(function, calls):
    def call(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return call


def test_an_interruption_while_a_checkpoint_is_written_stays_one(tmp_path, monkeypatch):
    checkpoint = Checkpoint("a", "f", tmp_path)
    checkpoint.save({"epoch": 1})

    class Interrupted(io.BytesIO):
        def write(self, data) -> int:
            if b"tensor" in bytes(data):
                raise KeyboardInterrupt
            return super().write(data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: Interrupted())
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save({"tensor": torch.zeros(9)})
    assert checkpoint.load() == {"epoch": 1} and len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_with_another_key_or_a_damaged_one_is_ignored(tmp_path):
    Checkpoint("a", "first", tmp_path).save({"history": []})
    assert Checkpoint("a", "first", tmp_path).load() == {"history": []}
    assert Checkpoint("a", "second", tmp_path).load() is None
    (tmp_path / "a.pt").write_bytes(b"PK torn")
    assert Checkpoint("a", "first", tmp_path).load() is None
    for _ in range(2):
        Checkpoint("a", "first", tmp_path).remove()
    assert not (tmp_path / "a.pt").exists()


@pytest.mark.parametrize("full", [True, False])
def test_a_failed_checkpoint_has_a_reason_and_keeps_the_last_one(tmp_path, monkeypatch, full):
    def fail(*_):
        if not full:
            raise RuntimeError("a defect")
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            raise RuntimeError("unexpected pos 64 vs 0")  # noqa: B904 - like PyTorch

    checkpoint = Checkpoint("a", "first", tmp_path)
    checkpoint.save({"history": [1]})
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError if full else RuntimeError) as error:
        checkpoint.save({"history": [1, 2]})
    assert not full or error.value.filename == str(checkpoint.path)
    assert checkpoint.load() == {"history": [1]}


def test_the_checkpoint_key_depends_on_settings_data_and_code(tmp_path, monkeypatch):
    data = tmp_path / "train.csv"
    data.write_text("a")
    before = checkpoint_key(RECIPE, [data])
    assert checkpoint_key(RECIPE, [data]) == before
    assert checkpoint_key(replace(RECIPE, lr=0.1), [data]) != before
    data.write_text("b")
    assert checkpoint_key(RECIPE, [data]) != before
    data.write_text("a")
    package = Path(shutil.copytree(ROOT / "carcls", tmp_path / "carcls"))
    monkeypatch.setattr("carcls.__file__", str(package / "__init__.py"))
    assert checkpoint_key(RECIPE, [data]) == before
    for module, decides in (
        ("study/report.py", False),
        ("base/seeds.py", True),
        ("learning/training.py", True),
    ):
        with (package / module).open("a") as code:
            code.write("# changed")
        assert (checkpoint_key(RECIPE, [data]) != before) == decides


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_other_optimizers_reduce_the_loss(sets, optimizer):
    _, epochs = fit(sets, optimizer=optimizer, epochs=3, lr=1e-3)
    assert epochs[-1].train_loss < epochs[0].train_loss


def test_running_out_of_memory_gives_one_message(sets, monkeypatch):
    def exhausted(*_):
        torch.empty(1 << 50, device=ON)

    monkeypatch.setattr(training, "train_epoch", exhausted)
    with pytest.raises(InputError, match="batches of 16: free memory or lower batch_size"):
        fit(sets)


def test_a_saved_variant_has_the_scores_of_its_training(data, tmp_path):
    backbone = backbone_of(build_model("resnet18", 5, seed=3).state_dict())
    save_backbone(data / "weights/resnet18.safetensors", backbone)
    cell = variant.prepare(shrunken(), data.parent, "resnet18", "freeze6", ON)
    history = list(cell.fit())
    metrics = cell.metrics(history)
    save_model(tmp_path / "m.safetensors", cell.model, cell.info(history))
    loaded, info = load_model(tmp_path / "m.safetensors")
    result = scores(predict(loaded, cell.val, ON), cell.val.labels)
    assert (result["f1"], result["loss"]) == (metrics["val_f1"], pytest.approx(metrics["val_loss"], rel=1e-5))
    assert (info.val_f1, info.epoch, info.config) == (metrics["val_f1"], metrics["epoch"], "freeze6")
    assert metrics["trainable_parameters"] < metrics["parameters"]


def test_a_model_starts_with_the_requested_normalisation(data):
    path = data / "weights/own.safetensors"
    own = Inference((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    save_backbone(path, backbone_of(build_model("resnet18", 5, seed=3).state_dict()), own)
    for name, expected in (("half", PAPER), ("imagenet", IMAGENET), ("weights", own)):
        settings = shrunken({("train", "normalise"): name, ("train", "tta"): "flip"}).train
        model = variant.start("resnet18", 12, path, settings, seed=1)
        assert inference_of(model) == expected._replace(tta="flip")
    with pytest.raises(
        InputError, match="configs has no nope: choose one of scratch, pretrained, freeze6, freeze8"
    ):
        variant.prepare(shrunken(), data.parent, "resnet18", "nope", ON)


@pytest.mark.parametrize("config", ["scratch", "pretrained"])
def test_a_repeat_uses_another_seed_on_the_same_images(data, config):
    backbone = backbone_of(build_model("resnet18", 5, seed=3).state_dict())
    save_backbone(data / "weights/resnet18.safetensors", backbone)
    cell = variant.prepare(shrunken(), data.parent, "resnet18", config, ON)
    first, second, third = cell.repeats(3)
    assert first is cell
    assert {repeat.train for repeat in (second, third)} == {cell.train}
    assert len({repeat.recipe.seed for repeat in (first, second, third)}) == 3
    assert replace(second.recipe, seed=1) == replace(cell.recipe, seed=1)
    weights, others = first.model.state_dict(), second.model.state_dict()
    assert torch.equal(weights["conv1.weight"], others["conv1.weight"]) == (config == "pretrained")
    first.checkpoint.save({"history": []})
    assert second.checkpoint.load() is None and third.checkpoint.path != second.checkpoint.path
    again = list(cell.repeats(3))[1]
    assert again.recipe == second.recipe and again.checkpoint.key == second.checkpoint.key


def test_a_single_training_has_no_standard_deviation():
    histories = [[training.Epoch(1, 0.1, 1, 0.5, 1, 0, f1)] for f1 in (0.5, 0.6, 0.7)]
    assert variant.spread(histories[:1]) == {}
    spread = variant.spread(histories)
    assert spread.pop("val_f1_repeats") == [0.5, 0.6, 0.7]
    assert spread == pytest.approx({"val_f1_mean": 0.6, "val_f1_std": 0.1})
    assert [row["repeat"] for row in variant.history_rows(histories)] == [1, 2, 3]


GOLDEN = {  # by frozen layers: training and validation loss of each epoch
    0: [(2.816582, 2.504391), (2.614385, 2.517255), (2.615770, 2.538804)],
    8: [(2.628176, 2.496840), (2.489088, 2.604657), (2.385536, 2.554075)],
}
