import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from carcls import params
from carcls.data import augment
from carcls.data.augment import Operation
from carcls.errors import InputError
from carcls.imageset import archive, images, operations

SETTINGS = params.Operations.model_validate(
    {
        "brightness_contrast": {"brightness": 0.2, "contrast": 0.2},
        "gamma": {"low": 0.8, "high": 1.2},
        "rotate": {"degrees": 90.0},
        "rgb_shift": {"limit": 20},
        "gauss_noise": {"std_low": 0.2, "std_high": 0.44},
        "blur": {"kernel": 7},
    }
)
CLASSES = {"Ford GT": 5, "Ram C/V": 3, "Ram C-V": 2}  # two of them share a folder


def settings(train: int | None, val: int | None) -> params.Augment:
    per_class = params.PerClass(train=train, val=val)
    return params.Augment(per_class=per_class, operations=SETTINGS, jpeg_quality=90)


def photograph(key: str) -> bytes:
    rng = np.random.default_rng(int(hashlib.md5(key.encode()).hexdigest(), 16))
    blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
    return images.encode(np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1), 95)


def write_raw(path: Path, classes: dict[str, int], damaged: str | None = None) -> pd.DataFrame:
    """Write an archive with the given photographs per class and split. Returns the rows of split.csv."""
    labels = {name: label for label, name in enumerate(sorted(classes))}
    with archive.create(path, ["label", "class", "split", "sha256"]) as writer:
        for split, name in itertools.product(["test", "train", "val"], sorted(classes)):
            for number in range(classes[name]):
                key = f"{split}/{name}/{number}.jpg"
                data = photograph(key)[: 200 if key == damaged else None]
                writer.add(key, data, label=labels[name], split=split, sha256="", **{"class": name})
    return archive.read_index(path)[["name", "label", "class", "split"]]


@pytest.fixture
def raw(tmp_path) -> Path:
    write_raw(tmp_path / "raw.tar", CLASSES)
    return tmp_path / "raw.tar"


def build(raw: Path, folder: Path, per_class=(14, 4), workers=1, seed=1) -> dict[str, pd.DataFrame]:
    split = archive.read_index(raw)[["name", "label", "class", "split"]]
    augment.write_image_sets(
        raw, split, folder, settings=settings(*per_class), image_size=32, seed=seed, workers=workers
    )
    return {name: archive.read_index(folder / f"{name}.tar") for name in ("train", "val", "test")}


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def contents(folder: Path, split: str, class_name: str) -> list[bytes]:
    rows = archive.read_index(folder / f"{split}.tar")
    rows = rows[rows["class"] == class_name]
    with archive.ArchiveReader(folder / f"{split}.tar") as reader:
        return [reader.read(row.offset, row.size) for row in rows.itertuples()]


# --- The operations


@pytest.fixture
def picture(rng) -> np.ndarray:
    return rng.integers(0, 256, (40, 50, 3), np.uint8)


def test_an_operation_gives_a_new_image_of_the_same_shape(picture, rng):
    before = picture.copy()
    for name in operations.OPERATIONS:
        result = augment.apply(picture, augment.draw(name, SETTINGS, rng))
        assert (result.shape, result.dtype) == (picture.shape, np.uint8), name
        assert (result != picture).any(), name
    assert (picture == before).all()


def test_horizontal_flip_mirrors_columns(picture):
    assert (operations.horizontal_flip(picture) == picture[:, ::-1]).all()


def test_brightness_and_contrast_follow_the_formula(picture):
    result = operations.brightness_contrast(picture, brightness=0.1, contrast=-0.15)
    assert np.abs(result - np.clip(0.85 * picture + 25.5, 0, 255)).max() <= 0.501
    assert (
        operations.brightness_contrast(picture, brightness=0.2, contrast=0.2).max() == 255
    )  # clipped, not wrapped


def test_gamma_is_a_power_of_values_from_0_to_1(picture):
    result = operations.gamma(picture, exponent=0.8)
    assert np.abs(result - 255 * (picture / 255) ** 0.8).max() <= 0.5


def test_rotation_is_counter_clockwise_about_the_centre(rng):
    square = rng.integers(0, 256, (33, 33, 3), np.uint8)
    assert (operations.rotate(square, degrees=0) == square).all()
    assert (operations.rotate(square, degrees=90) == np.rot90(square)).all()
    assert (operations.rotate(square, degrees=-90) == np.rot90(square, -1)).all()


def test_rotation_fills_the_corners_with_image_content():
    grey = np.full((40, 40, 3), 90, np.uint8)
    assert (operations.rotate(grey, degrees=31) == 90).all()


def test_rgb_shift_adds_to_each_channel_and_clips(picture):
    result = operations.rgb_shift(picture, red=20, green=-7, blue=0)
    assert (result == np.clip(picture.astype(int) + [20, -7, 0], 0, 255)).all()


def test_gauss_noise_has_the_given_std_in_every_channel():
    grey = np.full((256, 256, 3), 128, np.uint8)
    noise = operations.gauss_noise(grey, std=0.1, seed=3).astype(float) - 128
    assert np.allclose(noise.mean(axis=(0, 1)), 0, atol=0.4)
    assert np.allclose(noise.std(axis=(0, 1)), 25.5, rtol=0.02)
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]).max() < 0.02
    # 68.3 % of a normal distribution are within 1 std
    assert abs(np.mean(np.abs(noise) < 25.5) - 0.683) < 0.01
    assert (operations.gauss_noise(grey, std=0.1, seed=4) != noise + 128).any()


def test_channel_shuffle_gives_the_named_channel_order(picture):
    for order in operations.ORDERS:
        expected = picture[..., ["RGB".index(channel) for channel in order]]
        assert (operations.channel_shuffle(picture, order=order) == expected).all()
    assert set(operations.ORDERS) == set(map("".join, itertools.permutations("RGB"))) - {"RGB"}


def test_grayscale_is_a_weighted_sum_of_the_channels(picture):
    result = operations.grayscale(picture)
    assert np.abs(result - (picture @ [0.299, 0.587, 0.114])[..., None]).max() <= 0.51


def test_blur_is_the_mean_of_a_box(picture):
    result = operations.blur(picture, kernel=5)
    windows = np.lib.stride_tricks.sliding_window_view(picture, (5, 5), axis=(0, 1))
    assert np.abs(result[2:-2, 2:-2] - windows.mean(axis=(-2, -1))).max() <= 0.5


# --- Strengths


def test_strengths_cover_their_ranges(rng):
    drawn = {
        name: [augment.draw(name, SETTINGS, rng).strengths for _ in range(300)]
        for name in operations.OPERATIONS
    }

    def extent(operation: str, key: str) -> tuple[float, float]:
        values = [strengths[key] for strengths in drawn[operation]]
        return min(values), max(values)

    for operation, key, low, high in [
        ("brightness_contrast", "brightness", -0.2, 0.2),
        ("brightness_contrast", "contrast", -0.2, 0.2),
        ("gamma", "exponent", 0.8, 1.2),
        ("rotate", "degrees", -90, 90),
        ("rgb_shift", "green", -20, 20),
        ("gauss_noise", "std", 0.2, 0.44),
    ]:
        least, most = extent(operation, key)
        slack = (high - low) / 20
        assert low <= least < low + slack and high - slack < most <= high, (operation, key)
    assert {strengths["kernel"] for strengths in drawn["blur"]} == {3, 5, 7}
    assert {strengths["order"] for strengths in drawn["channel_shuffle"]} == set(operations.ORDERS)


def test_a_strength_without_effect_is_not_drawn(rng):
    weak = SETTINGS.model_copy(
        update={
            "gamma": params.Gamma(low=0.99, high=1.01),
            "rgb_shift": params.RGBShift(limit=1),
            "brightness_contrast": params.BrightnessContrast(brightness=0.004, contrast=0.004),
        }
    )
    greys = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    for name in ("gamma", "rgb_shift", "brightness_contrast"):
        for _ in range(200):
            assert (augment.apply(greys, augment.draw(name, weak, rng)) != greys).any(), name


def test_a_range_of_one_value_without_effect_is_allowed(rng):
    still = SETTINGS.model_copy(update={"gamma": params.Gamma(low=1.0, high=1.0)})
    assert augment.draw("gamma", still, rng) == Operation("gamma", {"exponent": 1.0})


# --- The plan


def plan(originals=4, wanted=60, seed=1, split="train", class_name="Ford GT") -> list[list[tuple]]:
    """The copies of each original."""
    of = augment.Class(seed, split, class_name, originals, wanted)
    return [augment.plan(of, original, SETTINGS) for original in range(originals)]


def names(copy: tuple[Operation, ...]) -> tuple[str, ...]:
    return tuple(operation.name for operation in copy)


def test_missing_copies_are_spread_evenly_over_the_originals_of_a_class():
    for wanted, copies in [(None, [0] * 4), (1, [0] * 4), (4, [0] * 4), (6, [1, 1, 0, 0]), (60, [14] * 4)]:
        assert [len(of_one) for of_one in plan(4, wanted)] == copies


def test_every_original_has_all_operations_before_any_pair():
    for of_one in plan(4, 4 + 4 * 10):
        assert sorted(map(names, of_one[:9])) == sorted((name,) for name in operations.OPERATIONS)
        assert len(of_one[9]) == 2
    first_round = [names(of_one[0]) for of_one in plan(4)]
    assert len(set(first_round)) == 4  # neighbours differ


def test_no_two_copies_of_an_original_have_the_same_operations():
    order = list(operations.OPERATIONS)
    for of_one in plan(1, 1 + 73) + plan(5, 5 + 5 * 73):
        assert len(set(map(names, of_one))) == len(of_one) == 73
        for copy in of_one:
            assert list(names(copy)) == sorted(names(copy), key=order.index)
    assert len(plan(1, 200)[0][-1]) == 9  # continues with new strengths


def test_the_plan_depends_on_seed_split_and_class():
    assert plan() == plan()
    assert plan(wanted=24) == [of_one[:5] for of_one in plan(wanted=60)]
    for change in ({"seed": 2}, {"split": "val"}, {"class_name": "Ford Edge"}):
        assert plan(**change) != plan()


def test_operations_are_written_as_text():
    assert str(Operation("rotate", {"degrees": -7.31})) == "rotate(degrees=-7.31)"
    assert (
        str(Operation("rgb_shift", {"red": 3, "green": 0, "blue": -9})) == "rgb_shift(red=3,green=0,blue=-9)"
    )
    assert str(Operation("grayscale")) == "grayscale"


# --- The sets


def test_classes_reach_the_requested_size_and_keep_all_originals(raw, tmp_path):
    sets = build(raw, tmp_path / "out", per_class=(14, 4))
    assert list(sets["train"].columns) == [
        "name", "label", "class", "source", "operations", "offset", "size"
    ]  # fmt: skip
    assert sets["train"]["class"].value_counts().to_dict() == dict.fromkeys(CLASSES, 14)
    assert sets["val"]["class"].value_counts().to_dict() == {"Ford GT": 5, "Ram C/V": 4, "Ram C-V": 4}
    assert sets["test"]["class"].value_counts().to_dict() == CLASSES
    for name, rows in sets.items():
        originals = rows[rows["operations"] == ""]
        assert len(originals) == originals["source"].nunique() == sum(CLASSES.values())
        assert rows["source"].str.startswith(f"{name}/").all()  # no image of another split


def test_per_class_null_adds_no_copies(raw, tmp_path):
    sets = build(raw, tmp_path / "out", per_class=(None, 4))
    assert (sets["train"]["operations"] == "").all() and len(sets["train"]) == sum(CLASSES.values())
    assert (sets["val"]["operations"] != "").any()


def test_the_csv_records_how_each_image_was_made(raw, tmp_path):
    rows = build(raw, tmp_path / "out")["train"]
    originals = archive.read_index(raw).set_index("name")
    copies = {
        (name, str(operation)): operation
        for name, originals in CLASSES.items()
        for of_one in plan(originals, 14, class_name=name)
        for (operation,) in of_one
    }
    with archive.ArchiveReader(raw) as source, archive.ArchiveReader(tmp_path / "out/train.tar") as made:
        for row in rows.itertuples():
            place = originals.loc[row.source]
            image = images.resize(images.decode(source.read(place["offset"], place["size"]), row.source), 32)
            class_name = row.source.removeprefix("train/").rpartition("/")[0]
            if row.operations:
                image = augment.apply(image, copies[class_name, row.operations])
            assert made.read(row.offset, row.size) == images.encode(image, 90), row.name


def test_an_image_set_is_a_standard_tar_file(raw, tmp_path):
    rows = build(raw, tmp_path / "out")["train"]
    with tarfile.open(tmp_path / "out/train.tar") as tar:
        assert tar.getnames() == list(rows["name"]) == sorted(rows["name"])
        member = tar.getmembers()[7]
        assert (member.offset_data, member.size) == (rows["offset"][7], rows["size"][7])
    assert "Ram C-V/00001_00001.jpg" in set(rows["name"])


def test_the_bytes_do_not_depend_on_the_number_of_processes(raw, tmp_path):
    for workers in (1, 2):
        build(raw, tmp_path / str(workers), workers=workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


def test_the_seed_changes_copies_but_not_originals(raw, tmp_path):
    one, other = (build(raw, tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert (one["train"]["operations"] != other["train"]["operations"]).any()
    assert digests(tmp_path / "1")["test.tar"] == digests(tmp_path / "2")["test.tar"]


def test_adding_a_class_does_not_change_other_classes(raw, tmp_path):
    build(raw, tmp_path / "before")
    write_raw(tmp_path / "more.tar", CLASSES | {"Acura TL": 4})
    build(tmp_path / "more.tar", tmp_path / "after")
    for split, name in itertools.product(("train", "val", "test"), CLASSES):
        assert contents(tmp_path / "before", split, name) == contents(tmp_path / "after", split, name)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_damaged_image_gives_one_message_and_no_output(tmp_path, workers):
    write_raw(tmp_path / "raw.tar", CLASSES, damaged="val/Ford GT/2.jpg")
    with pytest.raises(InputError, match=r"^val/Ford GT/2\.jpg: [^\n]*damaged[^\n]*$"):
        build(tmp_path / "raw.tar", tmp_path / "out", workers=workers)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_image_missing_from_raw_is_named(raw, tmp_path):
    split = archive.read_index(raw)[["name", "label", "class", "split"]]
    split.loc[3, "name"] = "train/Ford GT/lost.jpg"
    with pytest.raises(InputError, match=r"does not contain train/Ford GT/lost\.jpg"):
        augment.write_image_sets(
            raw, split, tmp_path / "out", settings=settings(None, None), image_size=32, seed=1, workers=1
        )


KILLED = """
import signal
import sys
from pathlib import Path
from carcls import params
from carcls.imageset import archive
from carcls.data import augment

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    raw, folder, settings = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    split = archive.read_index(raw)[["name", "label", "class", "split"]]
    settings = params.Augment.model_validate_json(settings)
    augment.write_image_sets(raw, split, folder, settings=settings, image_size=256, seed=1, workers=2)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_build_leaves_no_archive_and_no_process(raw, tmp_path, stop):
    script, out = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(KILLED)
    process = subprocess.Popen(
        [sys.executable, script, raw, out, settings(1000, 1000).model_dump_json()],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    part = out / ".train.tar.tmp"
    wait_until(lambda: part.exists() and part.stat().st_size > 100_000)
    process.send_signal(stop)
    process.wait(timeout=10)
    wait_until(lambda: not session(process.pid))
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]
    build(raw, out)
    assert len(digests(out)) == 6


def wait_until(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def session(leader: int) -> list[int]:
    """The running processes of the session of `leader`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == leader and state != "Z":
            found.append(int(stat.parent.name))
    return found
