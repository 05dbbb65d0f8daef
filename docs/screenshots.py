"""Take the README's screenshots of the web page and of the report: `make screenshots`, after `dvc repro`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

NAME = "resnet34-pretrained"
SIZE = {"width": 1200, "height": 1000}


def predict_tab(page: Page, address: str) -> None:
    """docs/web.png: a test image, a heat map and the most probable classes."""
    page.goto(address)
    expect(page.get_by_label("Name of the model, for its folder in results/")).not_to_have_value(
        ""
    )  # the page listens
    page.get_by_role("tab", name="Predict").click()
    model = page.get_by_label("Model, newest first")
    model.fill(NAME)
    page.get_by_role("option", name=re.compile(NAME)).first.click()
    page.locator(".gallery-item, .thumbnail-item").first.click()
    page.get_by_label(re.compile("Grad-CAM")).check()
    page.get_by_text("Grad-CAM of").wait_for()
    page.wait_for_timeout(3000)  # Gradio fades the spinner out
    page.screenshot(path="docs/web.png")


def report(page: Page) -> None:
    """docs/report.png: the first screen of the report."""
    page.goto(Path("report/index.html").resolve().as_uri())
    page.screenshot(path="docs/report.png")


def main() -> None:
    command = [sys.executable, "-m", "carcls.cli", "web", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as driver:
        try:
            [address] = re.findall(r"http://\S+", server.stdout.readline() if server.stdout else "")
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)
            predict_tab(page, address)
            report(page)
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
