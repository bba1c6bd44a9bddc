"""The look of the charts in light and dark: the same colours as those of the pages, the status page included."""

from dataclasses import dataclass
from typing import Any

WIDTH = 720
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"  # the layout of labels depends on their widths
ROOM = {"left": 34, "right": 64, "top": 6, "bottom": 6}  # for browsers that lack these fonts and use a wider one


@dataclass(frozen=True)
class Theme:
    """The colours of a theme; `classes` are those of the classes of delay."""

    name: str
    background: str
    text: str
    soft: str
    line: str
    accent: str
    origins: tuple[str, ...]
    classes: dict[str, str]


LIGHT = Theme(
    name="light",
    background="#ffffff",
    text="#13212b",
    soft="#4b5d69",
    line="#d5dee3",
    accent="#0a6a94",
    origins=("#0a6a94", "#b0562b", "#2f7d57"),
    classes={
        "on time": "#2f8bb5",
        "late": "#b3740f",
        "very late": "#b0231b",
        "diverted": "#7a4fc0",
        "not departed": "#57646d",
    },
)
DARK = Theme(
    name="dark",
    background="#152029",
    text="#e7eff3",
    soft="#a6b6c1",
    line="#2b3a44",
    accent="#59bfec",
    origins=("#59bfec", "#f0976a", "#63d18d"),
    classes={
        "on time": "#59bfec",
        "late": "#f1ba4d",
        "very late": "#ff8b82",
        "diverted": "#b79cf2",
        "not departed": "#9fb0bb",
    },
)
THEMES = (LIGHT, DARK)


def config(theme: Theme) -> dict[str, Any]:
    """Return Vega-Lite's configuration of a theme."""
    text = {
        "labelColor": theme.text,
        "titleColor": theme.soft,
        "labelFont": FONT,
        "titleFont": FONT,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "background": theme.background,
        "padding": ROOM,
        "font": FONT,
        "view": {"stroke": None},
        "axis": text | {"labelPadding": 6, "gridColor": theme.line, "domainColor": theme.line, "tickColor": theme.line},
        "legend": text | {"orient": "top", "symbolSize": 90, "offset": 4},
        "header": text | {"labelFontWeight": "bold"},
        "text": {"font": FONT, "fontSize": 12, "color": theme.soft},
    }
