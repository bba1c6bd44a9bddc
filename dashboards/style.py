"""How the charts look, in light and in dark: the colours of the page that they stand on."""

from dataclasses import dataclass
from typing import Any

WIDTH = 720
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"  # by whose widths the labels are laid out
ROOM = {"left": 34, "right": 64, "top": 6, "bottom": 6}  # for browsers that have none of them, and use a wider one


@dataclass(frozen=True)
class Theme:
    """Colours; `scale` are those of the classes of a flight, from early to not known."""

    name: str
    background: str
    text: str
    soft: str
    line: str
    accent: str
    origins: tuple[str, ...]
    classes: dict[str, str]


LIGHT = Theme(
    name="light", background="#ffffff", text="#1c2024", soft="#5c6570", line="#dfe3e8", accent="#2f6fb3",
    origins=("#2f6fb3", "#c4622d", "#3d8a5f"),
    classes={"on time": "#4f8fcb", "late": "#d98a1f", "very late": "#c02626", "diverted": "#8250c4",
             "not departed": "#a7b0ba"},
)  # fmt: skip
DARK = Theme(
    name="dark", background="#14171a", text="#e4e7ea", soft="#a2acb6", line="#32383e", accent="#5b9fe0",
    origins=("#5b9fe0", "#e58d5a", "#5cb885"),
    classes={"on time": "#5b9fe0", "late": "#e3b341", "very late": "#ff7b72", "diverted": "#b794f4",
             "not departed": "#6b757f"},
)  # fmt: skip
THEMES = (LIGHT, DARK)


def config(theme: Theme) -> dict[str, Any]:
    """Vega-Lite's configuration of a theme."""
    words = {"labelColor": theme.text, "titleColor": theme.soft, "labelFont": FONT, "titleFont": FONT,
             "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal"}  # fmt: skip
    return {
        "background": theme.background,
        "padding": ROOM,
        "font": FONT,
        "view": {"stroke": None},
        "axis": words
        | {"labelPadding": 6, "gridColor": theme.line, "domainColor": theme.line, "tickColor": theme.line},
        "legend": words | {"orient": "top", "symbolSize": 90, "offset": 4},
        "header": words | {"labelFontWeight": "bold"},
        "text": {"font": FONT, "fontSize": 12, "color": theme.soft},
    }
