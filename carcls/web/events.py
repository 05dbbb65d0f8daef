"""How the page's events reach their functions."""

from typing import Any

# Each is an HTTP request of its own. Gradio's queue answers over a stream that the server closes once it has
# nothing to send: an event that comes in that moment waits for its answer for ever.
EVENT: dict[str, Any] = {"api_visibility": "private", "queue": False}
QUIET = EVENT | {"show_progress": "hidden"}
