"""Plots inside a page: matplotlib's SVG, made to share an HTML page and its light or dark theme."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping

from fly64_assets.reports.figures import style
from fly64_assets.reports.figures.panels import Curve, frc
from fly64_assets.reports.pyplot import pyplot

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
REFERENCE = re.compile(r"url\(#([^)]+)\)")
NUMBER = re.compile(r"-?\d+\.\d{3,}")
DECIMALS = 2
"""Of coordinates, in points: finer than any screen."""


def inline_svg(source: str, name: str, description: str) -> str:
    """Return an SVG file of matplotlib as an element of an HTML page.

    Its names become the page's own (two plots use the same ones), its ink the page's, its paper
    none, an arm's colour a variable that a dark theme may lighten; metadata and size go.

    Args:
        source: the file's text.
        name: prefix of its element names, unique in the page.
        description: what a reader hears who does not see it.

    Raises:
        xml.etree.ElementTree.ParseError: it is no SVG.
    """
    root = ElementTree.fromstring(source)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    root.attrib.pop("height", None)
    width = root.attrib.pop("width", "").removesuffix("pt")
    # As large as it was drawn, smaller where the page is.
    root.attrib |= {"role": "img", "aria-label": description, "style": f"max-width: {width}pt"}
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.attrib[key] = _attribute(key, value, name)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key in ("href", f"{{{XLINK}}}href") and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    if key in ("d", "points", "transform", "x", "y"):
        return NUMBER.sub(lambda found: f"{float(found[0]):.{DECIMALS}f}", value)
    value = REFERENCE.sub(rf"url(#{name}-\1)", value)
    value = value.replace("#000000", "currentColor").replace("#ffffff", "none")
    for number, (colour, _) in enumerate(style.ARMS):
        value = value.replace(colour.lower(), f"var(--arm-{number})")
    return value


def frc_svg(curves: Mapping[str, Curve], threshold: float) -> str:
    """FRC of every arm, phase and amplitude, as the text of an SVG file.

    Args:
        curves: by arm, in report order.
        threshold: at which the resolution is read off.
    """
    plt = pyplot()
    with plt.rc_context(style.PRINT):
        figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.4), layout="constrained", sharey=True)
        frc(axes, curves, threshold)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, names, loc="outside upper center", ncols=len(names), frameon=False, fontsize=8
        )
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata=style.NO_TIME)
        plt.close(figure)
    return written.getvalue()
