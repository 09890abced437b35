"""The schema of a study file, made from the models that read one.

A file that extends another has a schema of its own: the same keys and bounds, none of them needed.
"""

from __future__ import annotations

import copy
from typing import Any

from fly64_assets.study.model import NAME_PATTERN, Study

EXTENDS = {
    "type": "string",
    "description": "path, relative to this file, of the study file that this one changes",
}


def study() -> dict[str, Any]:
    """Return a complete study file."""
    content = Study.model_json_schema()
    _name_the_rules(content)
    content["title"] = "study"
    return content


def study_extending() -> dict[str, Any]:
    """Return a study file that says ``extends:`` and lists only what differs."""
    content = copy.deepcopy(study())
    for name, section in content["$defs"].items():
        if name != "ViewSettings":  # a view replaces the one that it is named after
            section.pop("required", None)
    content["properties"] = {"extends": EXTENDS, **content["properties"]}
    content["required"] = ["extends", "name"]
    content["title"] = "study_extending"
    return content


def _name_the_rules(content: dict[str, Any]) -> None:
    """Return what validators of the models check and pydantic does not tell, as far as it goes."""
    name = f"^{NAME_PATTERN.pattern}$"
    properties = content["properties"]
    properties["name"]["pattern"] = name
    properties["views"]["propertyNames"] = {"pattern": name}
    properties["doses"]["uniqueItems"] = True
    properties["patch_size"]["multipleOf"] = 2
    view = content["$defs"]["ViewSettings"]
    view["oneOf"] = [{"required": ["target_overlap"]}, {"required": ["image_fraction"]}]
    view["properties"] = {
        key: {**item["anyOf"][0], "description": item["description"]}
        for key, item in view["properties"].items()
    }
    for section in (content, *content["$defs"].values()):
        section.pop("title", None)
        for item in section["properties"].values():
            item.pop("title", None)
