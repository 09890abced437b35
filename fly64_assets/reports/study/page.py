"""The page from its templates: HTML escaped by default, style and behaviour written into it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("fly64_assets.reports.study"),  # its folder templates
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_page(content: Mapping[str, Any]) -> str:
    """Return the page that `content.report_content` describes.

    Raises:
        jinja2.UndefinedError: a template uses a name that the content does not hold.
    """
    return _environment().get_template("study_report.html.j2").render(**content)
