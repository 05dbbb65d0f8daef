"""Run the benchmarks in small sizes, so that errors do not first appear on a GPU."""

import os
import sys
import zipfile

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

from benchmarks.defaults import make
from benchmarks.gpu import SECTIONS

MINUTES = 8
WRITING = 30  # seconds to write the photographs


def test_the_images_of_a_task_depend_on_its_seed(tmp_path):
    with zipfile.ZipFile(tmp_path / "cars.zip", "w") as archive:
        for name in ("coupe", "estate", "van"):
            for split, count in (("train", 8), ("test", 3)):
                for number in range(count):
                    archive.writestr(f"cars/{split}/{name}/{number}.jpg", f"{name} {split} {number}")

    def made(options: str, seed: int) -> dict[str, list[str]]:
        folder = tmp_path / f"{options}{seed}"
        make(f"{tmp_path}/cars.zip{options}", folder, seed)
        found = {str(path.parent.relative_to(folder)): [] for path in folder.rglob("*.jpg")}
        for path in sorted(folder.rglob("*.jpg")):
            found[str(path.parent.relative_to(folder))].append(path.read_text())
        return found

    whole, unbalanced = made("", 1), made(",unbalanced", 1)
    assert {name: len(images) for name, images in whole.items() if "train" in name} == {
        f"train/{name}": 8 for name in ("coupe", "estate", "van")
    }
    assert len(unbalanced["train/estate"]) == 2 and len(unbalanced["train/van"]) == 8
    assert all(len(images) == 3 for name, images in unbalanced.items() if "test" in name)
    few = made(",train=4,classes=2", 1)
    assert sorted(map(len, few.values())) == [3, 3, 4, 4]
    other = made(",train=4,classes=2", 2)
    assert few.keys() == other.keys() and few != other


@pytest.mark.skipif(
    "CARCLS_TEST_BENCHMARKS" not in os.environ, reason="two minutes: CARCLS_TEST_BENCHMARKS=1 runs it"
)
def test_the_gpu_benchmark_runs_on_the_cpu_in_tiny_sizes(tmp_path, rng):
    for name in ("coupe", "estate"):
        (tmp_path / name).mkdir()
        for number in range(3):
            image = rng.integers(0, 256, (30, 40, 3), np.uint8)
            Image.fromarray(image).save(tmp_path / name / f"{number}.jpg")
    ended = run(
        ROOT,
        sys.executable,
        "-m",
        "benchmarks.gpu",
        str(tmp_path),
        CUDA_VISIBLE_DEVICES="",
        OMP_NUM_THREADS="1",
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for title, _, _ in SECTIONS.values():
        assert f"### {title}" in ended.stdout
    errors = [line for line in ended.stdout.splitlines() if "Error" in line and "No module named" not in line]
    assert errors == [] and "Cut short" not in ended.stdout and "| NO |" not in ended.stdout


def test_the_sections_of_the_gpu_benchmark_fit_in_its_time_limit():
    assert sum(budget for _, budget, _ in SECTIONS.values()) + WRITING < MINUTES * 60
