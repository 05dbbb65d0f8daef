"""What is to be run once a GPU is there runs here, so that it does not fail there for a trifle."""

import os
import sys

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

from benchmarks.gpu import SECTIONS

MINUTES = 8
WRITING = 30  # seconds for the photographs


@pytest.mark.skipif(
    "CARCLS_TEST_BENCHMARKS" not in os.environ, reason="two minutes: CARCLS_TEST_BENCHMARKS=1 runs it"
)
def test_the_benchmark_of_a_gpu_runs_without_one_at_tiny_sizes(tmp_path, rng):
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


def test_the_sections_of_the_benchmark_of_a_gpu_fit_its_minutes():
    assert sum(budget for _, budget, _ in SECTIONS.values()) + WRITING < MINUTES * 60
