"""The look of the charts in light and dark: the same colours as those of the pages, the status page included."""

from dataclasses import dataclass
from typing import Any

WIDTH, NARROW = 800, 340  # of a whole picture, on a desk and on a phone
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"  # the layout of labels depends on their widths
ROOM = {"left": 14, "right": 10, "top": 6, "bottom": 6}
LETTER = 7.2  # the width of a letter in pixels, in browsers that lack these fonts and use a wider one


PALETTE = ("blue", "orange", "green", "violet", "red", "amber", "grey", "teal")


@dataclass(frozen=True)
class Theme:
    """The colours of a theme; `palette` has a colour for each name of `PALETTE`."""

    name: str
    background: str
    text: str
    soft: str
    line: str
    palette: dict[str, str]


LIGHT = Theme(
    name="light",
    background="#ffffff",
    text="#13212b",
    soft="#4b5d69",
    line="#d5dee3",
    palette=dict(
        zip(
            PALETTE,
            ("#0a6a94", "#b0562b", "#2f7d57", "#7a4fc0", "#b0231b", "#b3740f", "#76848d", "#167f86"),
            strict=True,
        )
    ),
)
DARK = Theme(
    name="dark",
    background="#152029",
    text="#e7eff3",
    soft="#a6b6c1",
    line="#2b3a44",
    palette=dict(
        zip(
            PALETTE,
            ("#59bfec", "#f0976a", "#63d18d", "#b79cf2", "#ff8b82", "#f1ba4d", "#8496a2", "#5fd0cf"),
            strict=True,
        )
    ),
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
        "range": {"category": list(theme.palette.values())},
        "mark": {"color": theme.palette["blue"]},
        "view": {"stroke": None},
        "axis": text | {"labelPadding": 6, "gridColor": theme.line, "domainColor": theme.line, "tickColor": theme.line},
        "axisY": {"titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleX": 0, "titleY": -8},
        "legend": text | {"orient": "top", "symbolSize": 90, "offset": 26, "columnPadding": 28},
        "header": text | {"labelFontWeight": "bold"},
        "text": {"font": FONT, "fontSize": 12, "color": theme.soft},
    }
