"""Options for the events of the page."""

from typing import Any

# No queue: each event is its own HTTP request. Gradio's queue answers over a stream, which the server closes
# when it has nothing to send. An event that arrives at that moment would wait forever.
EVENT: dict[str, Any] = {"api_visibility": "private", "queue": False}
QUIET = EVENT | {"show_progress": "hidden"}
