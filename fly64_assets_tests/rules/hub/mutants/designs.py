"""Edits of what a bundle says of its network, the weights left as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fly64_assets_tests.rules.hub.forging import Forgery
from fly64_assets_tests.rules.hub.mutants import add
from fly64_assets_tests.rules.hub.mutants.solvers import BASELINE, PINN, edit_members

Layers = dict[str, dict[str, Any]]


def _bundle(edit: Callable[[dict[str, Any]], object]) -> Callable[[Forgery], None]:
    return lambda f: f.json(f"{PINN}/bundle.json", edit)


def _member(name: str, edit: Callable[[dict[str, Any]], None]) -> Callable[[Forgery], None]:
    def change(members: dict[str, bytes]) -> None:
        content = json.loads(members[name])
        edit(content)
        members[name] = json.dumps(content).encode()

    return lambda f: edit_members(f, f"{BASELINE}/model.keras", change)


def _layers(edit: Callable[[Layers], object]) -> Callable[[Forgery], None]:
    """Edit the layers of Baseline's network, by name."""
    return _member(
        "config.json",
        lambda content: (
            edit({layer["name"]: layer for layer in content["config"]["layers"]}) and None
        ),
    )


def _set(layer: str, **changes: object) -> Callable[[Forgery], None]:
    return _layers(lambda layers: layers[layer]["config"].update(changes))


def _fed_with(layers: Layers) -> None:
    """The skip connection comes from one convolution earlier."""
    (node,) = layers["estimate_join0"]["inbound_nodes"]
    node["args"][0][1]["config"]["keras_history"][0] = "estimate_down0_first"


def _exchange(content: dict[str, Any]) -> None:
    """Keras gives weights to layers by their order."""
    layers = content["config"]["layers"]
    names = [layer["name"] for layer in layers]
    one, other = (names.index(f"estimate_{name}_second") for name in ("down0", "up0"))
    layers[one], layers[other] = layers[other], layers[one]


def _dropped(content: dict[str, Any]) -> None:
    layers = content["config"]["layers"]
    layers[:] = [layer for layer in layers if layer["name"] != "estimate_pool0"]


def _elsewhere(layers: Layers) -> None:
    layers["estimate_object"].update(module="mine.layers")


for what, edit in {
    "a key more": _bundle(lambda c: c.update(host="mine")),
    "no core": _bundle(lambda c: c.pop("core_px") and None),
    "no version of numpy": _bundle(lambda c: c["frameworks"].pop("numpy") and None),
    "a framework more": _bundle(lambda c: c["frameworks"].update(torch="2.0")),
}.items():
    add("phase_e.keys", what, edit)
for what, edit in {
    "another core": _bundle(lambda c: c.update(core_px=c["core_px"] + 2)),
    "another activation": _set("estimate_down0_first", activation="tanh"),
    "logits that are bounded": _set("estimate_logits", activation="sigmoid"),
    "convolutions with holes": _set("estimate_up0_first", dilation_rate=[2, 2]),
    "another limit of the amplitude": _set("estimate_object", limit=1.0),
    "another frame": _set("back_projection", frame_px=32),
    "nearest pixels": _set("estimate_grow0", interpolation="nearest"),
    "a layer in half precision": _set("estimate_logits", dtype="float16"),
    "a regulariser": _set("estimate_logits", kernel_constraint="mine"),
    "another skip connection": _layers(_fed_with),
    "a class of another module": _layers(_elsewhere),
    "weights given to each other's layers": _member("config.json", _exchange),
    "a layer less": _member("config.json", _dropped),
    "another output": _member(
        "config.json", lambda c: c["config"].update(output_layers=["estimate_object", 0, 0])
    ),
    "another version of Keras": _member("metadata.json", lambda c: c.update(keras_version="2.0")),
    "a date": _member("metadata.json", lambda c: c.update(date_saved="2026-01-02@03:04:05")),
}.items():
    add("phase_e.design", what, edit)
