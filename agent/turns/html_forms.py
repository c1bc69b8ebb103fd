"""HTML forms of what a cell showed, so that a figure of a library opens in any browser.

A notebook draws plotly's and Vega's figures with code of its own; here the same libraries come from
the addresses that their authors publish them at, as in the HTML that they export themselves:
https://plotly.com/javascript/getting-started/ and https://vega.github.io/vega-lite/usage/embed.html
"""

import json
import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

_PLOTLY: Final = "application/vnd.plotly.v1+json"
_VEGA: Final = re.compile(r"application/vnd\.(vega|vegalite)\.v([0-9]+)(?:\.[0-9]+)*\+json")
_WHOLE: Final = re.compile(r"\s*(?:<!doctype|<html)", re.IGNORECASE)
# A fragment on its own would be read in the encoding of the reader's country.
_HEAD: Final = '<!doctype html>\n<meta charset="utf-8">\n'
_PLOTLY_SCRIPT: Final = '<script src="https://cdn.plot.ly/plotly-3.1.0.min.js"></script>\n'
_VEGA_SCRIPTS: Final = (
    '<script src="https://cdn.jsdelivr.net/npm/vega@{vega}"></script>\n'
    '<script src="https://cdn.jsdelivr.net/npm/vega-lite@{lite}"></script>\n'
    '<script src="https://cdn.jsdelivr.net/npm/vega-embed@6"></script>\n'
)


def html_of(formats: Mapping[str, JsonValue]) -> str | None:
    """A page that shows it; None if none of its formats is for a browser."""
    figure = formats.get(_PLOTLY)
    if isinstance(figure, dict):
        arguments = ", ".join(
            _script(figure.get(name, empty)) for name, empty in (("data", []), ("layout", {}))
        )
        draw = f"Plotly.newPlot('figure', {arguments}, {{responsive: true}});"
        return f'{_HEAD}{_PLOTLY_SCRIPT}<div id="figure"></div>\n<script>{draw}</script>\n'
    for media_type, specification in formats.items():
        if (match := _VEGA.fullmatch(media_type)) and isinstance(specification, dict):
            major = int(match[2])
            lite = major if match[1] == "vegalite" else 5
            # Vega-Lite 6 is drawn by Vega 6, all before by Vega 5.
            vega = 6 if lite >= 6 else 5
            scripts = _VEGA_SCRIPTS.format(vega=vega, lite=lite)
            draw = f"vegaEmbed('#figure', {_script(specification)});"
            return f'{_HEAD}{scripts}<div id="figure"></div>\n<script>{draw}</script>\n'
    html = formats.get("text/html")
    if not isinstance(html, str) or not html.strip():
        return None
    return html if _WHOLE.match(html) else _HEAD + html


def _script(value: JsonValue) -> str:
    """JSON inside a script: no text in it ends the element."""
    text = json.dumps(value)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
