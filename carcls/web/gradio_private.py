"""What the page needs of Gradio beyond its documented interface. Checked against Gradio 6.31.0."""

import os
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:  # `keep_gradio_offline` has to run before Gradio is imported
    import gradio as gr

ROOT = "."  # where the page is, seen from the page itself: `mount_gradio_app(root_path=ROOT)`


def keep_gradio_offline() -> None:
    """Turn off usage statistics, Hugging Face and the run history. Gradio reads these when it is imported."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_RUN_HISTORY": "False"}


def keep_uploads_in(folder: str) -> None:
    """Store uploads in `folder`. Gradio has only this variable for it and reads it when it stores a file."""
    os.environ["GRADIO_TEMP_DIR"] = folder


def refuse_foreign_files(page: "gr.Blocks") -> None:
    """Accept only uploaded files as input. Gradio checks this only after `launch`, not called here."""
    page.has_launched = True


def take_any_value(component: "gr.components.Component") -> None:
    """Pass what the browser sends to the function unchecked.

    Gradio's own check rejects choices that were added after the page was opened, and its message has no fix.
    An update of the component itself restores that check where it is an output: hide its container instead.
    """
    component.preprocess = lambda payload: payload  # type: ignore[method-assign]


def take_path(image: "gr.Image") -> None:
    """Pass the path of the uploaded file to the function. Gradio would decode it and fail if damaged."""
    image.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign, union-attr, assignment, return-value]


class RelativeAddresses:
    """ASGI middleware: addresses that Gradio writes are relative to the page, for any proxy prefix.

    Gradio builds them from the request, which does not contain a prefix that a proxy removed. It takes the
    header x-gradio-server, which its Node.js server sends, as the address of the page, unless there is an
    x-forwarded-host.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            replaced = (b"x-forwarded-host", b"x-gradio-server")
            headers: list[Any] = [header for header in scope["headers"] if header[0] not in replaced]
            scope["headers"] = [*headers, (b"x-gradio-server", ROOT.encode())]
        await self.app(scope, receive, send)
