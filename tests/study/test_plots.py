"""DVC and Vega draw the plots of dvc.yaml without network access."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pandas as pd
import pytest
import vl_convert
import yaml
from conftest import BROWSER, ROOT

from carcls.study import plots_page

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
CHARTS = {name: chart for plot in PIPELINE["plots"] if isinstance(plot, dict) for name, chart in plot.items()}
CURVES = {name: chart for name, chart in CHARTS.items() if chart.get("template") == "curves"}
IMAGES = [plot for plot in PIPELINE["plots"] if isinstance(plot, str)]


@pytest.fixture
def project(tmp_path) -> Path:
    return copy_project(tmp_path / "project")


def copy_project(folder: Path) -> Path:
    """Copy the files that DVC needs for the committed plots to a new Git repository."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("plots", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name)
    run(folder, "git", "init", "--quiet")
    return folder


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull}
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


def dvc_plots(folder: Path, *arguments: str) -> str:
    return run(folder, sys.executable, "-m", "dvc", "plots", *arguments)


def drawn(folder: Path) -> dict[str, str]:
    """The charts of `dvc plots show` by name, as SVG."""
    shown = json.loads(dvc_plots(folder, "show", "--json"))["data"]
    specs = {name: shown[name][0]["content"] for name in CHARTS}
    version = plots_page.VEGA_LITE
    return {name: vl_convert.vegalite_to_svg(spec, vl_version=version) for name, spec in specs.items()}


def labels(svg: str) -> set[str]:
    return set(re.findall(r"<text[^>]*>([^<]+)</text>", svg))


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = copy_project(tmp_path_factory.mktemp("plots"))
    (folder / "page.html").write_text(plots_page.page())
    dvc_plots(folder, "show", "--html-template", "page.html")
    return folder / "dvc_plots/index.html"


def test_page_loads_no_script_from_the_network(page):
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page.read_text())


def test_page_shows_every_image_from_a_local_file(page):
    sources = re.findall(r'<img src="(static/[^"]+)"', page.read_text())
    assert len(sources) == len(IMAGES)
    assert all((page.parent / source).is_file() for source in sources)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium to draw the page")
def test_browser_draws_every_chart_without_network(page, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=20000"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}", "--dump-dom"]
    opened = subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, text=True, timeout=120)
    body = re.sub(r"<script.*?</script>", "", opened.stdout, flags=re.DOTALL).partition("<body>")[2]
    charts = dict(re.findall(r'<div id="([^"]+)" class="vega-embed.*?(<svg.*?</svg>)', body, re.DOTALL))
    assert list(charts) == [re.sub(r"\W", "_", name) for name in CHARTS]
    for name, chart in charts.items():
        marks = re.findall(r'aria-roledescription="(?:point|bar|rect mark|line mark|area mark)', chart)
        assert marks, f"{name} is empty"
        assert "NaN" not in chart and not any("undefined" in label for label in labels(chart))


@pytest.mark.parametrize("name", CURVES)
def test_curves_include_every_variant_of_the_matrix(name):
    matrix = PIPELINE["stages"]["train"]["matrix"]
    variants = product(matrix["arch"], matrix["config"])
    expected = {f"plots/history/{arch}-{config}.csv" for arch, config in variants}
    assert set(CURVES[name]["y"]) == expected


def test_curves_draw_the_columns_of_their_label(project):
    charts = drawn(project)
    columns = {name: labels(charts[name]) & {"train_f1", "val_f1", "val_loss"} for name in CURVES}
    assert columns == {
        "Validation loss (Figure 3)": {"val_loss"},
        "Validation F1 (Figure 4)": {"val_f1"},
        "Training against validation F1": {"train_f1", "val_f1"},
    }
    bands = {name: charts[name].count('aria-roledescription="area mark"') for name in CURVES}
    assert bands.pop("Validation loss (Figure 3)") == 8
    assert set(bands.values()) == {0}


def test_curves_include_the_variants_of_another_model(project):
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["model"] = {"arch": "resnet50", "config": "freeze4"}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    archs = ("resnet18", "resnet34", "resnet50")
    configs = ("scratch", "pretrained", "freeze6", "freeze8", "freeze4")
    history = (project / "plots/history/resnet18-freeze6.csv").read_bytes()
    for arch, config in product(archs, configs):
        (project / f"plots/history/{arch}-{config}.csv").write_bytes(history)
    chart = drawn(project)["Validation F1 (Figure 4)"]
    assert {*archs, *configs} <= labels(chart)
    assert chart.count('aria-roledescription="line mark"') == 15


def test_class_bars_and_confusion_show_at_most_200_classes(project):
    names = [f"class {place:03}" for place in range(250)]
    scores = pd.DataFrame({"class": names, "f1": [place / 250 for place in range(250)]})
    scores.to_csv(project / "plots/test/per_class.csv", index=False)
    right = pd.DataFrame({"actual": names, "predicted": names, "count": 9})
    wrong = pd.DataFrame({"actual": names[:200], "predicted": names[50:], "count": 2})
    pd.concat([right, wrong]).to_csv(project / "plots/test/confusion.csv", index=False)
    charts = drawn(project)
    bars = re.findall(r'aria-label="F1: [^;]+; class: ([^;"]+)', charts["F1 of each class"])
    assert sorted(bars) == names[:100] + names[-100:]
    cell = r'aria-label="predicted class: ([^;]+); actual class: ([^;]+); images'
    predicted, actual = (set(column) for column in zip(*re.findall(cell, charts["Confusion"]), strict=True))
    assert (actual, predicted) == (set(names[:200]), set(names[50:]))
