"""The HTML template of `dvc plots`, with Vega embedded, so that the page needs no network.

`python -m carcls.study.plots_page PATH` writes it to PATH, to which DVC's option plots.html_template points.
"""

import sys
from pathlib import Path

import vl_convert

from carcls.files import write_text

VEGA_LITE = "5.21"  # draws .dvc/plots/*.json and DVC's built-in templates
# SVG is sharp on paper, and its text can be searched
EMBED = "window.vegaEmbed = (element, spec) => vegaEmbed(element, spec, {renderer: 'svg'});"
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>DVC plots</title>
<style>
body { margin: 24px; font-family: Helvetica, Arial, sans-serif; }
body > div { margin: 0 0 32px; overflow-x: auto; }
/* DVC places images side by side and clips them at the window's edge */
div:has(> img) { display: block !important; border: 0 !important; margin: 0 !important; }
div:has(> div > img) { border: 0 !important; }
img { width: 1100px; max-width: none; height: auto; }
</style>
<script>
{bundle}
</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def page() -> str:
    """The template as HTML text; DVC replaces {plot_divs} and {refresh_tag}."""
    bundle = vl_convert.javascript_bundle(EMBED, vl_version=VEGA_LITE)
    return PAGE.replace("{bundle}", bundle.replace("</script", "<\\/script"))


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
