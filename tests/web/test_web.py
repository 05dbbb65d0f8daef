"""The web page: the server of `carcls web`, and the page in a browser without network access."""

import json
import os
import pickle
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import BROWSER, ROOT, draw_shapes, shrunken
from PIL import Image
from safetensors.torch import save_file

pytest.importorskip("gradio", reason="the extra web is not installed")

from carcls import params
from carcls.errors import InputError
from carcls.learning.model import MEAN, STD, ModelInfo, build_model, load_model, save_model
from carcls.results import review
from carcls.web import jobs

STUDY_MODEL = "models/resnet18-scratch.safetensors"
FORM = jobs.Form(
    folder="shapes",
    labels="",
    skip_unreadable=False,
    drop_duplicates=True,
    classes=3,
    arch="resnet18",
    pretrained=False,
    weights="imagenet",
    frozen_layers=0,
    optimizer="adamw",
    lr=0.001,
    batch_size=8,
    epochs=2,
    patience=5,
    val=0.2,
    keep="best",
    flip=False,
    tta="none",
    normalise="weights",
    class_weights=0.0,
    image_size=32,
    device="cpu",
    results="by-hand",
)


def huge_png() -> bytes:
    """A small PNG file with a header for 50,000 x 50,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def project(tmp_path_factory, data) -> Path:
    """A project folder with a model, its test set, images and invalid files."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_text(yaml.safe_dump(shrunken().model_dump()))
    shutil.copytree(data / "images", folder / "data/images")
    draw_shapes(folder / "shapes", 16)
    (folder / "models").mkdir()
    classes = sorted(pd.read_csv(data / "images/test.csv")["class"].unique())
    info = ModelInfo("resnet18", "scratch", classes, 32, MEAN, STD, 0.5, 3)
    save_model(folder / STUDY_MODEL, build_model("resnet18", 12, seed=1), info)
    (folder / "models/pickle.safetensors").write_bytes(pickle.dumps({"weights": [1, 2]}))
    save_file({"x": load_model(folder / STUDY_MODEL)[0].fc.weight}, folder / "models/foreign.safetensors")
    os.utime(folder / STUDY_MODEL, (2e9, 2e9))  # newest
    (folder / "photo.png").write_bytes((folder / "shapes/disc/03.png").read_bytes())
    (folder / "text.png").write_text("no image")
    (folder / "huge.png").write_bytes(huge_png())
    with open(folder / "big.png", "wb") as file:
        file.truncate(200 << 20)
    return folder


@pytest.fixture(autouse=True)
def here(project, monkeypatch):
    monkeypatch.chdir(project)


@pytest.fixture(scope="module")
def server(project):
    """The address of a running `carcls web`. Fails if the server does not end after the tests."""
    command = [sys.executable, "-m", "carcls.cli", "web", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()  # otherwise, Popen would wait forever
                raise


# --- Validation of the form.


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"folder": " "}, "Name a folder"),
        ({"folder": "nowhere"}, "nowhere does not exist"),
        ({"folder": "models"}, "contains no images"),
        ({"classes": 4}, "has 3 classes, not 4"),
        ({"lr": 0.0}, "train.lr is 0.0"),
        ({"epochs": None}, "train.epochs is None"),
        ({"image_size": 8}, "data.image_size is 8"),
        ({"results": "../models/new"}, "not inside"),
        ({"results": "/tmp/new"}, "not inside"),
        ({"results": ""}, "not inside"),
        ({"results": ".hidden"}, "hidden"),
    ],
)
def test_invalid_form_raises_an_error_before_training(changes, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        jobs.Jobs().start(replace(FORM, **changes))
    assert not Path("results").exists() or not list(Path("results").glob("*new*"))


# --- The training process.


def wait(run: jobs.Job, until=lambda run: not run.running, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until(run):
        assert time.monotonic() < end, run.log()
        time.sleep(0.05)


def test_failed_training_is_reported_and_leaves_no_model():
    several = jobs.Jobs()
    run = several.start(replace(FORM, lr=1e30, results="crash"))
    with pytest.raises(InputError, match="running in results/crash"):
        several.start(replace(FORM, results="second"))
    wait(run)
    assert "lower lr" in run.fault()
    assert not Path("results/crash/model.safetensors").exists() and not Path("results/crash/.work").exists()


def test_damaged_image_stops_training_without_skip_unreadable(project):
    shutil.copytree(project / "shapes", "damaged")
    Path("damaged/disc/00.png").write_bytes(Path("damaged/disc/01.png").read_bytes()[:90])
    run = jobs.Jobs().start(replace(FORM, folder="damaged", results="stopped-by-one"))
    wait(run)
    assert "disc/00.png: the image is damaged" in run.fault() and "data.skip_unreadable" in run.fault()
    run = jobs.Jobs().start(
        replace(FORM, folder="damaged", results="without-it", epochs=1, skip_unreadable=True)
    )
    wait(run)
    assert run.fault() is None and "skipped: 1 unreadable" in run.log()


def test_killed_server_stops_the_training_which_keeps_its_best_epoch():
    code = (
        "import sys, time; from carcls.web.jobs import *; "
        f"run = Jobs().start({replace(FORM, epochs=500, patience=500, results='orphan')!r}); "
        "print(run._process.pid, flush=True); time.sleep(100)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    owner = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    worker = int(owner.stdout.readline())
    history = Path("results/orphan/history.csv")
    end = time.monotonic() + 60
    while not history.exists() and time.monotonic() < end:
        time.sleep(0.1)
    owner.kill()
    owner.wait()
    while Path(f"/proc/{worker}").exists() and "(zombie)" not in Path(f"/proc/{worker}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert history.exists() and not Path("results/orphan/.work").exists()
    _, info = load_model(Path("results/orphan/model.safetensors"))
    assert info.epoch == pd.read_csv(history).val_f1.idxmax() + 1


def test_output_of_libraries_goes_to_the_log_and_not_to_progress(tmp_path, monkeypatch):
    # Python imports sitecustomize before the worker
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'carcls.web.worker' in sys.orig_argv:\n"
        "    print('at import', flush=True)\n"
        "    print(17, flush=True)\n"
        "    import json; dumps = json.dumps\n"
        "    def talk(*values, **options):\n"
        "        print('{\"during\": \"training\"}'); os.write(1, b'by C code\\n')\n"
        "        return dumps(*values, **options)\n"
        "    json.dumps = talk\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    run = jobs.Jobs().start(replace(FORM, results="talkative"))
    wait(run)
    assert run.fault() is None and run.progress["doing"] == "Writing the report"
    log = (run.folder / "train.log").read_text()
    for line in ("at import", "17", '{"during": "training"}', "by C code", "resnet18-scratch, epoch 2"):
        assert re.search(f"^{line}", log, re.MULTILINE), log


def test_killed_training_is_reported_in_one_line_with_a_fix():
    run = jobs.Jobs().start(replace(FORM, epochs=500, patience=500, results="killed it"))
    wait(run, lambda run: "epoch" in run.progress)
    run._process.kill()
    wait(run)
    assert "memory" in run.fault() and "`carcls train --resume 'killed it'`" in run.fault()
    assert "\n" not in run.fault()
    shutil.rmtree(run.folder)
    assert "was deleted" in run.log() and run.fault()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("MemoryError()", "Memory ran out"),
        ("RuntimeError('DefaultCPUAllocator: can\\'t allocate memory:\\n you tried')", "Memory ran out"),
        ("KeyError('first\\nsecond')", "Training failed (KeyError: 'first"),
    ],
)
def test_unexpected_error_is_reported_in_one_line_with_a_fix(tmp_path, monkeypatch, error, expected):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'carcls.web.worker' in sys.orig_argv:\n"
        "    import carcls.results.train as module\n"
        f"    def train(*_): print('unflushed'); raise {error}\n"
        "    module.train = train\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    run = jobs.Jobs().start(replace(FORM, results=f"unexpected-{os.urandom(4).hex()}"))
    wait(run)
    assert run.fault().startswith(expected) and "\n" not in run.fault()
    assert ("Traceback" in run.log()) == expected.startswith("Training failed")


# --- The server.


def ask(server: str, name: str, data: list) -> httpx.Response:
    """The response of the function `name` of the page for `data`, requested like the page does."""
    with httpx.Client(base_url=server, timeout=60) as client:
        functions = client.get("/config").json()["dependencies"]
        [number] = {function["id"] for function in functions if function["api_name"] == name}
        body = {"data": data, "fn_index": number, "session_hash": os.urandom(8).hex(), "event_data": None}
        return client.post("/gradio_api/run/predict", json=body)


def upload(server: str, path: Path) -> dict:
    answer = httpx.post(f"{server}/gradio_api/upload", files={"files": (path.name, path.read_bytes())})
    answer.raise_for_status()
    return {"path": answer.json()[0], "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}


def test_twenty_simultaneous_predictions_succeed(server):
    photo = upload(server, Path("photo.png"))
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: ask(server, "_predict", [STUDY_MODEL, photo, False, False]), range(20))
        )
    tables = {answer.raise_for_status().json()["data"][1] for answer in answers}
    assert len(tables) == 1 and "<table" in tables.pop()


def attack(server: str, kind: str, epsilon: float | None, steps: int | None = 10, target: str = "") -> list:
    """The five images of the Attack tab as files, and its message."""
    photo = upload(server, Path("photo.png"))
    answer = ask(server, "attack", [STUDY_MODEL, photo, kind, epsilon, steps, target])
    *pictures, message = answer.raise_for_status().json()["data"]
    return [picture and Path(picture["path"]) for picture in pictures] + [message]


@pytest.mark.parametrize("epsilon", [0.0015, 0.01])
@pytest.mark.parametrize(("kind", "target"), [("fgsm", ""), ("pgd", "{last}"), ("noise", "")])
def test_displayed_attacked_image_is_the_classified_image(server, kind, target, epsilon):
    target = target.format(last=load_model(Path(STUDY_MODEL))[1].classes[-1])
    original, _, attacked, *_, message = attack(server, kind, epsilon, 5, target)
    rows = re.findall(r"<tr><td>.*?</tr>", message)
    for column, shown in ((0, original), (1, attacked)):
        top = ask(server, "_predict", [STUDY_MODEL, upload(server, shown), False, False]).json()["data"][1]
        answers = re.findall(r"<td>([^<]+)<div class=\"bar\">.*?<td>([\d.]+)</td></tr>", top)
        in_table = [re.findall(r"<td>([^<]+)<div class=\"probability\">([\d.]+)</div>", row) for row in rows]
        assert [row[column] for row in in_table] == answers[:3]
    before, after = (np.asarray(Image.open(path)).astype(int) for path in (original, attacked))
    assert f"is {255 * epsilon:.2f} steps" in message and ("Target: " in message) == bool(target)
    if epsilon < 0.5 / 255:
        assert (before == after).all() and "no value changed" in message
    else:
        assert np.abs(before - after).max() == 3 and "changed by up to 3 steps." in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("fgsm", 2), "Epsilon must be a number from 0 to 1, not 2."),
        (("fgsm", None), "from 0 to 1, not None."),
        (("pgd", 0.01, 0), "The number of PGD steps must be a positive integer, not 0."),
        (("pgd", 0.01, 2.5), "integer, not 2.5."),
        (("pgd", 0.01, None), "integer, not None."),
        (("fgsm", 0.01, 10, "<b>"), "The model does not know the class &#39;&lt;b&gt;&#39;: the nearest"),
    ],
)
def test_invalid_attack_shows_an_error(server, options, expected):
    *pictures, message = attack(server, *options)
    assert pictures == [None] * 5 and expected in message and 'class="problem"' in message


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "{0}/params.yaml", "{0}/models/../params.yaml", "params.yaml"]
)
def test_files_that_were_not_uploaded_cannot_be_read(server, project, path):
    path = path.format(project)
    assert httpx.get(f"{server}/gradio_api/file={path}").status_code in (403, 404)
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    for function, data in (("_predict", [file, False, False]), ("_predict_all", [[file], False])):
        answer = ask(server, function, [STUDY_MODEL, *data])
        assert answer.is_error, answer.text
    assert (
        "is not a model of the study"
        in ask(server, "_predict", [path, upload(server, Path("photo.png")), False, False]).text
    )


@pytest.mark.parametrize(
    "way", ["file=http://127.0.0.1:1/x", "proxy=https://example.org/x", "file=https:/example.org"]
)
def test_server_loads_no_address(server, way):
    answer = httpx.get(f"{server}/gradio_api/{way}")
    assert answer.status_code == 403 and "network" in answer.text


def test_server_loads_no_image_from_an_address(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        file = {"path": address, "meta": {"_type": "gradio.FileData"}}
        assert ask(server, "_predict", [STUDY_MODEL, file, False, False]).is_error
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has connected
            listener.accept()


def test_unknown_host_name_is_rejected(server):
    assert httpx.get(server, headers={"Host": "rebound.example.org"}).status_code == 400


PREFIX = "/user/x/proxy/7860"


@pytest.fixture
def proxy(server):
    """The address of a reverse proxy that removes PREFIX, and the requests that lacked PREFIX."""
    outside: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                outside.append(self.path)
                return self.send_error(404)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {
                name: self.headers[name] for name in ("Content-Type", "Cookie") if name in self.headers
            }
            forwarded = {"X-Forwarded-Host": "hub.example.org", "X-Forwarded-Proto": "http"}
            path = self.path.removeprefix(PREFIX)
            answer = httpx.request(
                self.command, server + path, content=body, headers=headers | forwarded, timeout=60
            )
            self.send_response(answer.status_code)
            for name in ("Content-Type", "Location", "Content-Disposition"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}{PREFIX}/", outside
        proxy.shutdown()


def test_upload_over_the_limit_is_rejected(server):
    answer = httpx.post(f"{server}/gradio_api/upload", files={"files": ("big.png", bytes(60 << 20))})
    assert answer.status_code == 413


# --- The page in a browser.


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium without name resolution."""
    if BROWSER is None:
        pytest.skip("needs chromium to open the page")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        offline = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", offline])
        yield browser.new_context()  # all pages share its cache
        browser.close()


@pytest.fixture
def page(browser, server):
    """The opened page. Fails if it sends a request to another server."""
    page = browser.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.set_default_timeout(30_000)
    open_page(page, server)
    yield page
    page.close()
    local = (server, f"ws{server[4:]}", "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []


def open_page(page, server: str) -> None:
    from playwright.sync_api import expect

    page.goto(server)
    # the page fills in this name when it is ready; earlier input would be lost
    expect(page.get_by_label("Name of the model, for its folder in results/")).not_to_have_value(
        "", timeout=30_000
    )


def open_tab(page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def fill_form(page, epochs: int, results: str) -> None:
    folder = page.get_by_label("Folder with class folders")
    folder.fill("shapes")
    folder.press("Enter")
    page.get_by_text("3 classes, 48 images. The smallest class is bar: 16 images.").wait_for()
    page.get_by_text("More options").click()
    values = {"Epochs": epochs, "Image size (pixels)": 32, "Batch size": 8}
    for label, value in (values | {"Name of the model, for its folder in results/": results}).items():
        page.get_by_label(label, exact=True).fill(str(value))
    page.get_by_label("Pretrained", exact=True).uncheck()
    page.get_by_label(re.compile("data.skip_unreadable")).check()
    page.get_by_label(re.compile("split.drop_duplicates")).uncheck()
    page.get_by_label("Architecture").click()
    page.get_by_role("option", name="resnet18", exact=True).click()


def test_folder_shows_its_classes_warnings_and_an_estimate(page, project):
    for folder, images in (("Ram CV", 3), ("Ram C-V", 3), ("tulip", 5)):
        (project / "beginner" / folder).mkdir(parents=True)
        for number in range(images):
            photo = project / f"shapes/disc/{number:02}.png"
            shutil.copy(photo, project / f"beginner/{folder}/{folder}-{number}.png")
    assert page.get_by_label("Epochs", exact=True).is_hidden()
    folder = page.get_by_label("Folder with class folders")
    folder.fill("beginner")
    folder.press("Enter")
    page.get_by_text("2 classes, 11 images. The smallest class is tulip: 5 images.").wait_for()
    page.get_by_text("The folders 'Ram C-V' and 'Ram CV' are read as one class").wait_for()
    duration = page.get_by_text(re.compile(r"Training takes about \d+ (min|h) on this machine"))
    duration.wait_for()
    before = duration.inner_text()
    page.get_by_text("More options").click()
    page.get_by_label("Epochs", exact=True).fill("200000")
    page.wait_for_function("before => !document.body.innerText.includes(before)", arg=before)
    duration.wait_for()
    assert re.search(r"\d\d+ h", duration.inner_text())


def test_progress_is_shown_to_all_visitors_and_after_a_reload(page, server, browser, project):
    fill_form(page, 8, "watched")
    page.get_by_role("button", name="Train").click()
    page.get_by_text(re.compile(r"results/watched: epoch \d+ of 8, batch \d of \d")).wait_for()
    bar = page.get_by_role("progressbar")
    first = int(bar.get_attribute("aria-valuenow"))
    curve = page.get_by_alt_text("Macro F1 by epoch").get_attribute("src")
    page.reload()
    second_visitor = browser.new_page()
    open_page(second_visitor, server)
    for visitor in (page, second_visitor):
        visitor.get_by_text(re.compile(r"results/watched: epoch|Finished")).wait_for()
        visitor.get_by_alt_text("Loss by epoch").wait_for()
    done = page.get_by_text("Finished: results/watched/model.safetensors has epoch")
    done.wait_for(timeout=300_000)
    second_visitor.close()
    assert first < 100
    history = pd.read_csv(project / "results/watched/history.csv")
    assert len(history) == 8
    assert page.get_by_label("Log").input_value().count("epoch ") >= 8
    assert page.get_by_alt_text("Macro F1 by epoch").get_attribute("src") != curve
    _, info = load_model(project / "results/watched/model.safetensors")
    assert info.classes == ["bar", "disc", "square"] and (info.val_f1, info.epoch) == (None, 8)
    used = params.load(project / "results/watched/params.yaml")
    assert used.train.epochs == 8 and used.model.config == "scratch"
    assert used.data.skip_unreadable and not used.split.drop_duplicates
    left = {path.name for path in (project / "results/watched").iterdir()}
    assert left == {
        *("history.csv", "model.safetensors", "params.yaml", "test.csv", "test.tar", "train.log"),
        *("report.html", "metrics.json", "photographs.csv", "predictions.csv", "unusual.csv"),
        *("train.tar", "train.csv", "features.safetensors", "copies.csv", "review.csv", "review.tar"),
    }
    with page.expect_popup() as popup:
        page.get_by_text("Open its report").click()
    popup.value.get_by_text("Report of watched").wait_for()
    popup.value.close()
    open_tab(page, "Compare")
    page.get_by_role("link", name="watched").wait_for()


def test_stop_keeps_the_last_epoch(page, project):
    fill_form(page, 400, "stopped")
    page.get_by_role("button", name="Train").click()
    page.get_by_text(re.compile(r"results/stopped: epoch [2-9] of 400")).wait_for()
    assert page.get_by_role("button", name="Train").is_disabled()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped: results/stopped/model.safetensors has epoch").wait_for()
    history = pd.read_csv(project / "results/stopped/history.csv")
    _, info = load_model(project / "results/stopped/model.safetensors")
    assert info.epoch == len(history) < 400


def load_picture(page, path: Path) -> None:
    page.locator(".thumbnail-item").first.wait_for()  # a model is selected
    page.locator("input[type=file]").first.set_input_files(path)


def test_predict_tab_agrees_with_the_command_line_and_attack_tab_uses_its_image(page, project):
    open_tab(page, "Predict")
    load_picture(page, project / "photo.png")
    rows = page.locator("table.top tbody tr")
    rows.first.wait_for()
    shown = [re.split(r"\s*\n?\t", row.inner_text().strip()) for row in rows.all()]
    command = [sys.executable, "-m", "carcls.cli", "predict", STUDY_MODEL, "photo.png"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    expected = [line.split(maxsplit=2) for line in output.splitlines()[1:]]
    assert [(row[0], row[-1], row[1].strip()) for row in shown] == [tuple(row) for row in expected]

    seen = page.get_by_alt_text("As the model sees it")
    plain = seen.get_attribute("src")
    page.get_by_label(re.compile("Grad-CAM")).check()
    page.wait_for_function("plain => document.querySelector('figure.seen img').src != plain", arg=plain)

    open_tab(page, "Attack")
    table = page.locator("table.attacked")
    table.wait_for()
    before = table.inner_text()
    page.get_by_label(re.compile("number input for Epsilon")).fill("0")
    page.wait_for_function(
        "before => document.querySelector('table.attacked').innerText != before", arg=before
    )
    assert "1 → 1 =" in table.inner_text() and "▼" not in table.inner_text()

    assert page.get_by_label(re.compile("number input for Steps")).is_hidden()
    page.get_by_label(re.compile("number input for Epsilon")).fill("0.05")
    page.get_by_label("PGD").check()
    page.get_by_label(re.compile("number input for Steps")).fill("3")
    wanted = expected[-1][2]  # the least probable class
    page.get_by_label("Target class").click()
    page.get_by_role("option", name=wanted, exact=True).click()
    result = page.get_by_text(f"Target: {wanted}")
    result.wait_for()
    before, after = re.findall(r"0\.\d{4}", result.inner_text())
    assert float(before) < float(after)
    page.get_by_label(re.compile("number input for Steps")).fill("0")
    page.get_by_text("The number of PGD steps must be a positive integer").wait_for()
    page.get_by_label("Noise").check()
    table.wait_for()
    result.wait_for(state="detached")
    assert page.get_by_label("Target class").is_hidden()


def test_unknown_image_is_rejected_and_shows_its_nearest_training_images(page, server, project):
    run = jobs.Jobs().start(replace(FORM, results="limited"))
    wait(run)
    path = project / "results/limited/model.safetensors"
    model, info = load_model(path)
    save_model(path, model, replace(info, novelty_threshold=-1.0))  # every image is unknown
    open_page(page, server)
    open_tab(page, "Predict")
    page.get_by_label("Model, newest first").click()
    page.get_by_role("option", name=re.compile("limited · ")).click()
    load_picture(page, project / "photo.png")
    nearest = page.locator("figure.nearest img")
    nearest.nth(4).wait_for()
    assert nearest.count() == 5
    assert re.fullmatch("Training image of the class (bar|disc|square)", nearest.first.get_attribute("alt"))
    assert nearest.first.evaluate("image => image.complete && image.naturalWidth") == 32
    rows = page.locator("table.top tbody tr")
    assert rows.count() == 3
    page.get_by_label("Answer “none of these” to unknown images").check()
    page.get_by_role("cell", name="none of these").wait_for()
    assert rows.count() == 1 and nearest.count() == 5
    page.get_by_label("Model, newest first").click()
    page.get_by_role("option", name=re.compile("^resnet18-scratch · ")).click()
    page.get_by_text("cannot recognise unknown images").wait_for()


def test_label_decisions_are_saved_and_used_in_training(page, project):
    shutil.copytree("shapes", "doubtful")
    Path("doubtful/disc/05.png").rename("doubtful/bar/moved.png")
    with Image.open("doubtful/square/01.png") as image:
        image.resize((36, 30)).save("doubtful/bar/twin.png")
    form = replace(FORM, folder="doubtful", pretrained=True, weights=STUDY_MODEL, epochs=1, results="doubted")
    run = jobs.Jobs().start(form)
    wait(run, seconds=300)
    assert run.fault() is None and not Path("results/doubted/labels.csv").exists()
    before = {path: path.read_bytes() for path in Path("doubtful").rglob("*.png")}
    [first, *others] = review.suspects(run.folder, review.NEAR)
    assert first.class_name != first.suggestion  # pairs with different classes come first
    assert "bar/twin.png" in [suspect.other for suspect in (first, *others)]
    open_tab(page, "Labels")
    page.get_by_label(review.NEAR).check()
    pair = page.get_by_text(f"Class {first.class_name}: looks like {first.other}")
    pair.wait_for()
    page.get_by_role("button", name="Exclude").click()
    page.get_by_text("carcls train FOLDER --labels results/doubted/labels.csv").wait_for()
    pair.wait_for(state="detached")
    page.get_by_label("Show reviewed images too").check()
    page.get_by_text(f"{first.name} is excluded").wait_for()
    page.get_by_label("Right image").check()
    page.get_by_label("New class").click()
    page.get_by_role("option", name="disc").click()
    page.get_by_role("button", name="Change class").click()
    page.get_by_label("Left image").and_(page.locator(":checked")).wait_for()
    made = {first.name: "exclude", first.other: "disc"}
    assert {label.image: label.class_name for label in review.decisions(run.folder)} == made
    page.get_by_label("Show reviewed images too").uncheck()
    page.get_by_label(review.ERRORS).check()
    errors = (suspect.name for suspect in review.suspects(run.folder, review.ERRORS))
    kept = next(name for name in errors if name not in made)
    page.get_by_text(kept).first.wait_for()
    page.get_by_role("button", name="Keep").click()
    page.get_by_text("carcls train FOLDER --labels results/doubted/labels.csv").wait_for()
    made |= {kept: ""}
    assert {label.image: label.class_name for label in review.decisions(run.folder)} == made
    assert {path: path.read_bytes() for path in before} == before

    again = jobs.Jobs().start(replace(form, labels="results/doubted/labels.csv", results="corrected"))
    wait(again, seconds=300)
    assert again.fault() is None and "1 excluded by data.labels" in again.log()
    classes = pd.read_csv("results/corrected/photographs.csv").set_index("name")["class"]
    assert classes[first.other] == "disc" and first.name not in classes
    assert {label.image for label in review.decisions(again.folder)} == made.keys()


def test_all_tabs_work_behind_a_proxy_prefix(browser, proxy, project):
    address, outside = proxy
    folder = project / "results/50% #1?"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("the report of fifty")
    scores = {"test_f1": 0.5, "test_accuracy": 0.5}
    (folder / "metrics.json").write_text(json.dumps(scores))
    page = browser.new_page()
    page.set_default_timeout(30_000)
    open_page(page, address)
    open_tab(page, "Predict")
    load_picture(page, project / "photo.png")
    page.locator("table.top").wait_for()
    thumbnail = page.locator(".thumbnail-item img").first
    assert thumbnail.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    open_tab(page, "Attack")
    page.locator("table.attacked").wait_for()
    attacked = page.locator(".pixels .image-frame img:visible").first
    assert attacked.evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    open_tab(page, "Predict")
    page.get_by_text("Several images at once").click()
    page.locator("input[type=file][multiple]").set_input_files([project / "photo.png"])
    with page.expect_download() as download:
        page.get_by_text("Download the table (CSV)").click()
    assert len(pd.read_csv(download.value.path())) == 12
    open_tab(page, "Compare")
    with page.expect_popup() as popup:
        page.get_by_role("link", name="50% #1?").click()
    popup.value.get_by_text("the report of fifty").wait_for()
    popup.value.close()
    page.close()
    shutil.rmtree(folder)
    assert set(outside) <= {"/favicon.ico", "/manifest.json"}  # browsers request these by themselves


def test_several_images_give_a_table_to_download(page, project):
    open_tab(page, "Predict")
    page.get_by_text("Several images at once").click()
    files = [project / "photo.png", project / "text.png"]
    page.locator("input[type=file][multiple]").set_input_files(files)
    page.get_by_text("text.png: not a supported image").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download the table (CSV)").click()
    table = pd.read_csv(download.value.path())
    assert len(table) == 13 and table["problem"].notna().sum() == 1


def test_a_test_image_can_be_clicked(page):
    open_tab(page, "Predict")
    page.locator(".thumbnail-item").nth(2).click()
    page.locator("table.top").wait_for()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text.png", "not a supported image"),
        ("huge.png", "more than 250,000,000 pixels"),
        ("big.png", "exceed the maximum allowed size"),
    ],
)
def test_invalid_image_shows_an_error(page, server, project, name, expected):
    open_tab(page, "Predict")
    load_picture(page, project / name)
    page.get_by_text(re.compile(expected)).first.wait_for()
    open_page(page, server)
    open_tab(page, "Compare")
    page.get_by_text(f"There is no study in {project}: run dvc repro in the project folder.").wait_for()


@pytest.mark.parametrize("name", ["pickle", "foreign"])
def test_foreign_model_file_shows_an_error(page, project, name):
    open_tab(page, "Predict")
    load_picture(page, project / "photo.png")
    page.locator("table.top").wait_for()
    page.get_by_label("Model, newest first").click()
    page.get_by_role("option", name=name).click()
    page.get_by_text(f"models/{name}.safetensors is not a model that this project trained.").wait_for()


def test_results_folder_outside_of_results_shows_an_error(page):
    fill_form(page, 1, "../models/mine")
    page.get_by_role("button", name="Train").click()
    page.get_by_text("'../models/mine' is not inside").wait_for()


def test_sigterm_ends_the_server(project):
    command = [sys.executable, "-m", "carcls.cli", "web", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.wait(15)
