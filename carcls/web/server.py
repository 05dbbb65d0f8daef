"""The server of the page: on this machine only, without network access, and without leftover files."""

import os
import socket
import tempfile
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from carcls.errors import InputError
from carcls.results import folder as files
from carcls.web import app, compare_tab, gradio_private
from carcls.web.jobs import Jobs
from carcls.web.names import shown

HOST = "127.0.0.1"
MAX_UPLOAD = "50mb"
GRACE = 5  # seconds after Ctrl-C in which requests may finish
# the browser loads files only from this server, whatever a page or a report contains
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
FONT, MONOSPACE = ["system-ui", "sans-serif"], ["ui-monospace", "monospace"]


def serve(port: int) -> None:
    """Serve the page until Ctrl-C. A training that is running then stops and keeps the finished epochs.

    Raises InputError if `port` cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="carcls-") as uploads:
        tempfile.tempdir = os.path.realpath(uploads)
        gradio_private.keep_uploads_in(tempfile.tempdir)
        jobs = Jobs()
        server = uvicorn.Server(
            uvicorn.Config(create_server(jobs), log_level="warning", timeout_graceful_shutdown=GRACE)
        )
        listener = _listen(port)
        print(f"carcls is at http://{HOST}:{listener.getsockname()[1]} (stop it with Ctrl-C)", flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            jobs.close()


def create_server(jobs: Jobs) -> FastAPI:
    """The web application with the page and the reports."""
    site = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    site.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    @site.middleware("http")
    async def keep_local(request: Request, call_next) -> Response:
        if any(part in request.url.path for part in ("=http:", "=https:")):  # Gradio would fetch it
            return PlainTextResponse("This page does not fetch files from the network.", 403)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    @site.get("/report")
    def report() -> Response:
        return _report(compare_tab.REPORT, "run `dvc repro` to create it")

    @site.get("/report/{name:path}")
    def report_of(name: str) -> Response:
        folders = {shown(path.parent.relative_to(files.RESULTS)): path.parent for path in files.reports()}
        if name not in folders:
            return PlainTextResponse(f"{files.RESULTS / name} has no report.", 404)
        return _report(folders[name] / files.REPORT, compare_tab.RESTORE)

    page = app.create_page(jobs)
    gradio_private.refuse_foreign_files(page)
    site.add_middleware(gradio_private.RelativeAddresses)
    return gr.mount_gradio_app(
        site,
        page,
        path="/",
        root_path=gradio_private.ROOT,
        server_name=HOST,
        footer_links=[],
        run_history=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        theme=gr.themes.Default(primary_hue="blue", font=FONT, font_mono=MONOSPACE),
        css_paths=Path(__file__).with_name("page.css"),
    )


def _report(path: Path, fix: str) -> Response:
    """The current report `path`."""
    try:
        return HTMLResponse(path.read_bytes())
    except OSError as error:
        return PlainTextResponse(shown(f"{path} cannot be read ({error.strerror}): {fix}."), 404)


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError):
        raise InputError(
            f"Port {port} cannot be used: choose another one with --port, or stop the program that uses it."
        ) from None
    return listener
