"""Uses of undocumented interfaces of Gradio. Checked against Gradio 6.31.0."""

import os
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING:  # `keep_gradio_offline` must run before Gradio is imported
    import gradio as gr

ROOT = "."  # the address of the page relative to itself: `mount_gradio_app(root_path=ROOT)`


def keep_gradio_offline() -> None:
    """Disable usage statistics, Hugging Face and the run history. Gradio reads these at its import."""
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_RUN_HISTORY": "False"}


def keep_uploads_in(folder: str) -> None:
    """Store uploads in `folder`. Gradio has no option for it and reads this variable for each upload."""
    os.environ["GRADIO_TEMP_DIR"] = folder


def refuse_foreign_files(page: "gr.Blocks") -> None:
    """Accept only uploaded files as input. Gradio checks this only after `launch`, which is not called."""
    page.has_launched = True


def take_any_value(component: "gr.components.Component") -> None:
    """Pass the value from the browser to the function without Gradio's check.

    That check rejects choices added after the page was opened, with a message that has no fix. If the
    component is the output of an event, its update restores the check: update its container instead.
    """
    component.preprocess = lambda payload: payload  # type: ignore[method-assign]


def take_path(image: "gr.Image") -> None:
    """Pass the path of the uploaded file to the function. Gradio would decode it, and fail if damaged."""
    image.preprocess = lambda payload: payload.path if payload else None  # type: ignore[method-assign, union-attr, assignment, return-value]


class RelativeAddresses:
    """ASGI middleware that makes addresses written by Gradio relative, so that any proxy prefix works.

    Gradio builds the addresses from the request, which lacks a prefix that a proxy removed. Without the
    header x-forwarded-host, it takes the address of the page from the header x-gradio-server, which is meant
    for its Node.js server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            replaced = (b"x-forwarded-host", b"x-gradio-server")
            headers: list[Any] = [header for header in scope["headers"] if header[0] not in replaced]
            scope["headers"] = [*headers, (b"x-gradio-server", ROOT.encode())]
        await self.app(scope, receive, send)
