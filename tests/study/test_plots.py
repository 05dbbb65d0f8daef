"""DVC's page of the committed plots, opened by a browser that has no network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import BROWSER, ROOT

from carcls.study import plots_page

PLOTS = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
CHARTS = [name for plot in PLOTS if isinstance(plot, dict) for name in plot]
PICTURES = [plot for plot in PLOTS if isinstance(plot, str)]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("plots")
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".dvc/config"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for name in ("plots", ".dvc/plots"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "page.html").write_text(plots_page.page())
    git = {"GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "init", "--quiet"], cwd=folder, env=os.environ | git, check=True)
    show = [sys.executable, "-m", "dvc", "plots", "show", "--html-template", "page.html"]
    subprocess.run(show, cwd=folder, env=os.environ | git, check=True, capture_output=True)
    return folder / "dvc_plots/index.html"


def test_the_page_names_no_script_of_the_network(page):
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page.read_text())


def test_every_picture_lies_beside_the_page(page):
    sources = re.findall(r'<img src="(static/[^"]+)"', page.read_text())
    assert len(sources) == len(PICTURES)
    assert all((page.parent / source).is_file() for source in sources)


@pytest.mark.skipif(BROWSER is None, reason="needs chromium to draw the page")
def test_every_chart_is_drawn_without_network(page, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=20000"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}", "--dump-dom"]
    opened = subprocess.run([BROWSER, *options, page.as_uri()], capture_output=True, text=True, timeout=120)
    body = re.sub(r"<script.*?</script>", "", opened.stdout, flags=re.DOTALL).partition("<body>")[2]
    drawn = dict(re.findall(r'<div id="([^"]+)" class="vega-embed.*?(<svg.*?</svg>)', body, re.DOTALL))
    assert list(drawn) == [re.sub(r"\W", "_", name) for name in CHARTS]
    for name, chart in drawn.items():
        marks = re.findall(r'aria-roledescription="(?:point|bar|rect mark|line mark|area mark)', chart)
        assert marks, f"{name} is empty"
        assert "NaN" not in chart and "undefined" not in chart
