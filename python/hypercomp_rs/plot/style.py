"""What all figures share: colours, sizes of text, and SVG that can stand in a page.

matplotlib draws them: it has been maintained for twenty years, its licence is that of Python, and
it writes SVG without a browser and without scripts.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from .._extras import imported

# Okabe and Ito's colours, which people with any colour vision can tell apart; the first ones have
# the most contrast with white.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#AA4499"
ORANGE, SKY, BLACK = "#E69F00", "#56B4E9", "#000000"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TEXT, MUTED, FAINT = "#1a1a1a", "#4d4d4d", "#c8c8c8"

# What a bit is worth to the best code of a Gaussian source: 10·log10(4) dB of signal to noise.
SHANNON_DB = 6.020599913279624
SHANNON = f"Shannon's bound for a Gaussian source, {SHANNON_DB:.2f} dB a bit"
# From so many points on, they are drawn as one image: an SVG of all of them would be slow to show.
MANY_POINTS = 5000

_SETTINGS = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": TEXT,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": "#e6e6e6",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "savefig.dpi": 144,
    # Text stays text: a reader can select it, and a screen reader can read it.
    "svg.fonttype": "none",
    "text.color": TEXT,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "xtick.labelsize": 9,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
    "ytick.labelsize": 9,
}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """The settings of matplotlib in which figures are made and written.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    mpl = imported("matplotlib", "plot", "hypercomp_rs.plot")
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        # A name may have letters that the font lacks: the browser has them.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches."""
    module = imported("matplotlib.figure", "plot", "hypercomp_rs.plot")
    return module.Figure(figsize=(width, height), layout="constrained")


def say(axes: Any, text: str) -> None:
    """Axes with nothing but a sentence."""
    axes.axis("off")
    axes.text(0.5, 0.5, text, ha="center", va="center", color=TEXT, transform=axes.transAxes)


def printable(name: str, most: int = 48) -> str:
    """A name for a figure: control characters are escaped, a long one loses its middle."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    if len(shown) <= most:
        return shown
    return f"{shown[: most // 3]}…{shown[-(most - most // 3 - 1) :]}"


def inline_svg(figure: Any, title: str, description: str, prefix: str) -> str:
    """A figure as an element ``svg`` of an HTML page.

    It refers to nothing outside of itself and has no script and no style sheet. `title` and
    `description` are for those who do not see it. `prefix` tells its identifiers from those of
    other figures of the page.
    """
    mpl = imported("matplotlib", "plot", "hypercomp_rs.plot")
    written = io.BytesIO()
    with settings():
        # The same figure gives the same bytes.
        mpl.rcParams["svg.hashsalt"] = prefix
        figure.savefig(written, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(written.getvalue())
    width = float(root.attrib["width"].removesuffix("pt"))
    for element in list(root.iter()):
        for child in list(element):
            if child.tag in (f"{_SVG}style", f"{_SVG}metadata"):
                element.remove(child)
        element.tag = element.tag.removeprefix(_SVG)
        _keep_to_itself(element, prefix)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-labelledby": f"{prefix}-title {prefix}-description",
        # What matplotlib's style sheet says; in a page it would hold for every other element too.
        "style": f"stroke-linejoin: round; stroke-linecap: butt; max-width: {width * 4 / 3:.0f}px",
    }
    for number, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(
            tag, {"id": f"{prefix}-{'title' if tag == 'title' else 'description'}"}
        )
        element.text = text
        root.insert(number, element)
    return ElementTree.tostring(root, encoding="unicode")


def _keep_to_itself(element: ElementTree.Element, prefix: str) -> None:
    """Give identifiers, and what refers to them, a prefix."""
    for name, value in list(element.attrib.items()):
        if name == _LINK:
            del element.attrib[name]
            element.attrib["href"] = f"#{prefix}-{value[1:]}" if value.startswith("#") else value
        elif name == "id":
            element.attrib[name] = f"{prefix}-{value}"
        elif "url(#" in value:
            element.attrib[name] = value.replace("url(#", f"url(#{prefix}-")
