"""The check of the networks' graphs: layers, what decides each, and how they are joined.

Written down from the two designs, so that a configuration in which another function was put around
the same weights is found. Weights do not belong here (``models.py``).
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fly64_assets.rules.hub.arms import networks
from fly64_assets.rules.hub.checks import Broken, Finding, check, compare
from fly64_assets.rules.hub.datasets import physics
from fly64_assets.rules.hub.models import DAMAGE, FOLDER, bundle_file
from fly64_assets.rules.hub.reading import Hub, parse_json

RESAMPLING_PX = 4
"""Half the width of the kernel that moves a frame by parts of a pixel; that much rim is cut off."""
SHARED_INPUTS = ("diffraction", "subpixel", "offset")
ACTIVATION = "leaky_relu"
WITHOUT_EFFECT = ("kernel_initializer", "bias_initializer")
"""Of a layer: where its weights began; they are loaded."""
MODULES = {"keras.layers": "", "fly64_assets.solvers.networks": "fly64_assets>"}
"""Where a layer's class is -> the beginning of the name that it is registered under."""
PARTS = {"module", "class_name", "config", "registered_name", "name", "inbound_nodes"}
PARTS_OF_SOME = {"build_config"}
FLOAT = "float32"


@dataclass(frozen=True)
class Layer:
    """One layer: class, what decides what it does, and the layers that it is fed with."""

    kind: str
    config: dict[str, Any]
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """What the graph of a network follows from.

    Attributes:
        section: of the study; networks of one section have one design.
        side: N, px.
        group: C, patterns that enter together.
        settings: of that section.
        floor: normalised intensity that keeps a misfit finite.
    """

    section: str
    side: int
    group: int
    settings: dict[str, Any]
    floor: float

    @property
    def refines(self) -> bool:
        """Whether the network changes an estimate, which enters with the patterns."""
        return self.section == "ptychopinn"

    @property
    def inputs(self) -> tuple[str, ...]:
        own = ("field", "turn") if self.refines else ()
        return SHARED_INPUTS + own

    @property
    def output(self) -> str:
        return "object" if self.refines else "object_and_illumination"

    def layers(self) -> dict[str, Layer]:
        """By name; those with weights in the order in which they are made."""
        shapes = {"diffraction": (self.side, self.side), "subpixel": (2,), "offset": (2,)}
        found = {
            name: Layer("InputLayer", _input([None, self.group, *shape]), ())
            for name, shape in shapes.items()
        }
        found["known_probe"] = Layer("KnownProbe", {"patch_size": self.side}, ("subpixel",))
        return found | (self._refiner() if self.refines else self._baseline())

    def _frame(self) -> dict[str, Any]:
        return {name: self.settings[name] for name in ("frame_px", "regularisation")}

    def _baseline(self) -> dict[str, Layer]:
        limit = {"limit": self.settings["amplitude_limit"]}
        fed = ("diffraction", "known_probe", "offset")
        return {
            "back_projection": Layer("BackProjection", {**self._frame(), **limit}, fed),
            **self._u_net("estimate", "back_projection"),
            "estimate_object": Layer("ObjectFromLogits", limit, ("estimate_pixels",)),
            "illumination": Layer("ChannelSlice", {"start": 2, "stop": 3}, ("back_projection",)),
            self.output: Layer("Concatenate", {"axis": -1}, ("estimate_object", "illumination")),
        }

    def _refiner(self) -> dict[str, Layer]:
        side = self.settings["frame_px"]
        misfit = {**self._frame(), "floor": self.floor}
        fed = ("estimate", "diffraction", "known_probe", "offset")
        return {
            "field": Layer("InputLayer", _input([None, side, side, 6]), ()),
            "turn": Layer("InputLayer", _input([None, 3]), ()),
            "estimate": Layer("ChannelSlice", {"start": 0, "stop": 2}, ("field",)),
            "misfit": Layer("Misfit", misfit, fed),
            "known": Layer("Concatenate", {"axis": -1}, ("field", "misfit")),
            "contrast": Layer("LessFlat", {}, ("known",)),
            "turned": Layer("Turn", {"back": False}, ("contrast", "turn")),
            **self._u_net("change", "turned"),
            "turned_back": Layer("Turn", {"back": True}, ("change_pixels", "turn")),
            self.output: Layer("Add", {}, ("estimate", "turned_back")),
        }

    def _u_net(self, name: str, fed: str) -> dict[str, Layer]:
        width, depth = self.settings["width"], self.settings["depth"]
        found = {f"{name}_blocks": Layer("SpaceToDepth", {}, (fed,))}
        last = f"{name}_blocks"

        def convolve(label: str, filters: int) -> str:
            first, second = f"{name}_{label}_first", f"{name}_{label}_second"
            found[first] = Layer("Conv2D", _convolution(filters, ACTIVATION), (last,))
            found[second] = Layer("Conv2D", _convolution(filters, ACTIVATION), (first,))
            return second

        for level in range(depth):
            last = convolve(f"down{level}", width * 2**level)
            found[f"{name}_pool{level}"] = Layer("MaxPooling2D", _pool(), (last,))
            last = f"{name}_pool{level}"
        last = convolve("bottom", width * 2**depth)
        for level in reversed(range(depth)):
            found[f"{name}_grow{level}"] = Layer("UpSampling2D", _growth(), (last,))
            joined = (f"{name}_grow{level}", f"{name}_down{level}_second")
            found[f"{name}_join{level}"] = Layer("Concatenate", {"axis": -1}, joined)
            last = f"{name}_join{level}"
            last = convolve(f"up{level}", width * 2**level)
        found[f"{name}_logits"] = Layer("Conv2D", _convolution(8, "linear"), (last,))
        found[f"{name}_pixels"] = Layer("DepthToSpace", {}, (f"{name}_logits",))
        return found


def _input(shape: list[int | None]) -> dict[str, Any]:
    return {"batch_shape": shape, "sparse": False, "ragged": False, "optional": False}


def _convolution(filters: int, activation: str) -> dict[str, Any]:
    return {
        "filters": filters,
        "kernel_size": [3, 3],
        "strides": [1, 1],
        "padding": "same",
        "data_format": "channels_last",
        "dilation_rate": [1, 1],
        "groups": 1,
        "activation": activation,
        "use_bias": True,
    }


def _pool() -> dict[str, Any]:
    return {
        "pool_size": [2, 2],
        "padding": "valid",
        "strides": [2, 2],
        "data_format": "channels_last",
    }


def _growth() -> dict[str, Any]:
    return {"size": [2, 2], "data_format": "channels_last", "interpolation": "bilinear"}


def _decides(config: dict[str, Any]) -> dict[str, Any]:
    """Of a layer's configuration what says what it does; what it has by default is left out."""
    found = {key: value for key, value in config.items() if value is not None}
    for key in (*WITHOUT_EFFECT, "name", "dtype"):
        found.pop(key, None)
    for key in ("trainable", "autocast"):
        if found.get(key) is True:
            del found[key]
    return found


def _precision(config: dict[str, Any]) -> Any:
    stated = config.get("dtype")
    return stated.get("config", {}).get("name") if isinstance(stated, dict) else stated


def _feeds(nodes: Any) -> list[Any]:
    """Names of the layers that a layer is fed with; it is called once, with nothing else."""
    (node,) = nodes
    if node.get("kwargs") or len(node["args"]) != 1:
        return ["something else"]
    (given,) = node["args"]
    tensors = given if isinstance(given, list) else [given]
    histories = [tensor["config"]["keras_history"] for tensor in tensors]
    return [name if rest == [0, 0] else [name, *rest] for name, *rest in histories]


def graph_findings(
    path: str, model: str, design: Design, config: dict[str, Any]
) -> Iterator[Finding]:
    inside = config["config"]
    whole = {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "registered_name": "Functional",
        "build_config": {"input_shape": None},
        "compile_config": {},
        "config": {
            "name": model,
            "trainable": True,
            "layers": inside["layers"],
            "input_layers": [[name, 0, 0] for name in design.inputs],
            "output_layers": [design.output, 0, 0],
        },
    }
    yield from compare(path, whole, config, key="config.json")
    expected = design.layers()
    found = {layer["name"]: layer for layer in inside["layers"]}
    kept = [layer["name"] for layer in inside["layers"] if layer["class_name"] == "Conv2D"]
    if len(found) != len(inside["layers"]) or set(found) != set(expected):
        odd = sorted(set(found) ^ set(expected))
        yield Finding(path, "config.json layers", f"are not those of the design: {odd[:3]}")
        return
    if kept != [name for name, layer in expected.items() if layer.kind == "Conv2D"]:
        yield Finding(path, "config.json layers", "weights belong to them in another order")
    for name, layer in expected.items():
        yield from _layer_findings(path, name, layer, found[name])


def _layer_findings(
    path: str, name: str, expected: Layer, found: dict[str, Any]
) -> Iterator[Finding]:
    key, config = f"config.json {name}", found["config"]
    prefix = MODULES.get(found["module"])
    registered = f"{prefix}{expected.kind}" if prefix else None
    parts = {"class_name": expected.kind, "registered_name": registered, "dtype": FLOAT}
    stated = {
        "class_name": found["class_name"],
        "registered_name": found["registered_name"],
        "dtype": _precision(config),
    }
    yield from compare(path, parts, stated, key=key)
    if prefix is None or config.get("name") != name or set(found) - PARTS_OF_SOME != PARTS:
        yield Finding(path, key, "is of another module or name, or has other parts")
    yield from compare(path, expected.config, _decides(config), key=key)
    nodes = found["inbound_nodes"]
    feeds = _feeds(nodes) if nodes else []
    if feeds != list(expected.inputs):
        yield Finding(path, key, f"is fed with {feeds}, expected {list(expected.inputs)}")


@check(
    "phase_e.design",
    FOLDER,
    "layers, what they do and how they are joined follow from the settings; core_px is the frame's",
)
def design(hub: Hub) -> Iterator[Finding]:
    known = physics(hub, hub.overlap_view("train"))
    for network in networks(hub):
        model = network.name
        bundle = hub.json(bundle_file(hub, model, "bundle.json"))
        settings, group = bundle["settings"], bundle["gridsize"] ** 2
        path = bundle_file(hub, model, "model.keras")
        core = settings["frame_px"] - 2 * RESAMPLING_PX
        place = bundle_file(hub, model, "bundle.json")
        yield from compare(place, core, bundle.get("core_px"), key="core_px")
        counts = settings.get("misfit_floor_counts", 0.0)
        floor = counts / known["intensity_scale"] ** 2
        made = Design(network.section, known["N"], group, settings, floor)
        stated = _config(hub, path, "metadata.json")
        keras = {
            "date_saved": "1980-01-01@00:00:00",
            "keras_version": bundle["frameworks"].get("keras"),
        }
        yield from compare(path, keras, stated, key="metadata.json")
        yield from graph_findings(path, model, made, _config(hub, path, "config.json"))


def _config(hub: Hub, path: str, member: str) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(hub.path(path)) as archive:
            content = parse_json(archive.read(member).decode())
    except (*DAMAGE, RecursionError) as error:
        raise Broken(path, member, f"cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise Broken(path, member, "is no JSON object")
    return content
