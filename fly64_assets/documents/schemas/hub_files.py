"""JSON Schemas of a hub's JSON files, and of the metadata inside a DATA-001 file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from fly64_assets.documents.provenance import STATES
from fly64_assets.documents.schemas.values import (
    ARM,
    AT,
    DOSE,
    DOSE_KEY,
    PATH,
    PROVENANCE,
    SHA256,
    TIME,
    VIEW,
    Json,
    by_split,
    described,
    flag,
    integer,
    listed,
    mapping,
    null_or,
    number,
    record,
    text,
)
from fly64_assets.ptychography.scoring.comparison import (
    NEED_CONTRAST,
    RECORDED,
    REFERENCE,
    ROW_NAMES,
)
from fly64_assets.ptychography.scoring.names import COLUMNS, HEADLINES
from fly64_assets.ptychography.scoring.statistics import Covers
from fly64_assets.study.arms import NAMES, NETWORKS
from fly64_assets.study.model import MODELS


def run_manifest() -> Json:
    """Phase C."""
    of_dose = record(
        "the dose and its two datasets",
        {
            "dose": DOSE,
            "train": described("train half", PATH),
            "test": described("test half", PATH),
        },
    )
    return mapping("Phase C: the datasets of the hub's dose, by dose_{dose}.", DOSE_KEY, of_dose)


def _view_metrics() -> dict[str, Json]:
    average = {"minimum": 0.0, "maximum": 1.0}
    return {
        "metrics_version": integer("version of these definitions", 1),
        "gridsize": integer("C = gridsize^2 patterns in a training group", 1),
        "neighbor_count": integer("K of the full groups", 1),
        "target_overlap": null_or(number("that the view asks for", **average)),
        "image_fraction": null_or(number("that the view asks for instead", **average)),
        "reached_overlap": number(
            "mean disc overlap of each centre with its nearest other centre", **average
        ),
        "thinning_spacing_px": null_or(number("least distance of two centres, px", minimum=0)),
        "n_groups": integer("training groups that the study asks for", 1),
        "n_groups_ignored": flag("whether that was ignored, since gridsize is 1"),
        "n_groups_effective": integer("training groups there are", 1),
        "probe_diameter_px": number("D of the discs, px", exclusiveMinimum=0),
        "probe_diameter_definition": text("how D was found"),
        "seeds": record(
            "that the selection used",
            {
                "grouping": integer("of the groups"),
                "subsampling": integer("of an image_fraction"),
            },
        ),
        "n_images_total": integer("images of the half's full scan", 1),
        "n_images_kept": integer("images of the view", 1),
        "n_unique_images": integer("images of the view at different positions", 1),
        "n_centres": integer("group centres, one full group each", 1),
        "centre_spacing_px": record(
            "distance of a centre from its nearest other one, px",
            {"min": number("the smallest", minimum=0), "mean": number("the mean", minimum=0)},
        ),
        "total_photons": number("detected in the view's images", minimum=0),
        "photons_per_px2": null_or(number("detected over the scanned area, 1/px^2", minimum=0)),
        "photons_per_px2_definition": text("which area that is"),
        "metric_1_group_based_avg": null_or(
            number("mean overlap of the members of a group; null where gridsize is 1", **average)
        ),
        "metric_2_image_based_avg": number(
            "mean overlap of an image with its K nearest others", **average
        ),
        "metric_3_group_to_group_avg": number(
            "mean overlap of a group's centre of mass with others nearer than D", **average
        ),
    }


def view_metrics() -> Json:
    """Phase D, one split."""
    return record("Phase D: overlap, counts and photons of one half of a view.", _view_metrics())


def metrics_bundle() -> Json:
    """Phase D, both splits."""
    half = record("as in the half's own file", _view_metrics())
    return record(
        "Phase D: the metrics of both halves of a view.",
        {
            "metrics_version": integer("version of these definitions", 1),
            "dose": DOSE,
            "view": VIEW,
            "train": half,
            "test": half,
        },
    )


def training_manifest() -> Json:
    """Phase E."""
    result = record(
        "how it ended",
        {
            "status": {"const": "success", "description": "a failed training leaves no bundle"},
            "final_loss": number("training loss of the last epoch"),
            "epochs_completed": integer("epochs", 1),
            "bundle_path": described("model.keras", PATH),
            "bundle_sha256": SHA256,
            "bundle_size_bytes": integer("bytes", 1),
            "history": described("history.csv", PATH),
        },
    )
    job = record(
        "one network",
        {
            "model": ARM,
            "dose": DOSE,
            "view": VIEW,
            "gridsize": integer("C = gridsize^2 patterns enter together", 1),
            "backend": {"const": "tensorflow", "description": "what it computes with"},
            "result": result,
        },
    )
    return record(
        "Phase E: the networks that were trained.",
        {
            "jobs": listed("a job a network", job, minItems=2),
            "skipped_views": listed("views without networks: none", {}, maxItems=0),
            "skipped_count": {"const": 0, "description": "their number"},
        },
    )


def bundle() -> Json:
    """Phase E, one network."""
    return record(
        "Phase E: what a trained network is and how it came to be.",
        {
            "schema_version": {"const": 1, "description": "of this file"},
            "kind": ARM,
            "gridsize": integer("C = gridsize^2 patterns enter together", 1),
            "N": integer("px, side of a pattern", 2),
            "core_px": integer("px, side of the patch that is kept of a predicted frame", 1),
            "seeds": {
                "type": "object",
                "description": "by name",
                "additionalProperties": integer("seed"),
            },
            "settings": {"type": "object", "description": "what shaped network and training"},
            "weights_sha256": SHA256,
            "n_parameters": integer("trainable numbers", 1),
            "n_fit": integer("groups (gridsize 1: images) that were fitted", 1),
            "n_validation": integer("groups (gridsize 1: images) held out", 1),
            "epochs_completed": integer("epochs", 1),
            "best_epoch": integer("epoch, from 1, that the weights are from", 1),
            "final_loss": number("training loss of the last epoch"),
            "best_validation_loss": number("of the best epoch"),
            "frameworks": {
                "type": "object",
                "description": "library and version",
                "additionalProperties": {"type": "string"},
            },
            "inputs": {
                "type": "object",
                "description": "file that it was made from, and its sha256",
                "additionalProperties": SHA256,
            },
            "transformations": PROVENANCE,
        },
    )


def reconstruction_manifest() -> Json:
    """Phase F."""
    job = record(
        "one reconstruction",
        {
            **AT,
            "algorithm": {"type": "string", "description": "the solver's algorithm"},
            "input": described("the view's dataset", PATH),
            "output": described("the reconstruction", PATH),
        },
    )
    return record(
        "Phase F: the iterative reconstructions of both halves.",
        {
            "total_jobs": integer("number of jobs", 2),
            "jobs": listed("a job a half and solver", job, minItems=2),
            "execution_results": listed("how each ended", _result(), minItems=2),
        },
    )


def _result() -> Json:
    return record(
        "how one job ended",
        {
            **AT,
            "returncode": {"enum": [0, 1], "description": "0: success"},
            "log_path": described("its log", PATH),
            "error": text("why it failed"),
        },
        optional=("error",),
    )


def comparison_manifest() -> Json:
    """Phase G: which comparisons ran."""
    job = record(
        "one comparison",
        {
            **AT,
            "phase_c_npz": described("the dose's dataset", PATH),
            "pinn_checkpoint": described("PtychoPINN's weights", PATH),
            "baseline_checkpoint": described("Baseline's weights", PATH),
            "phase_f_manifest": described("the reconstructions' manifest", PATH),
            "ms_ssim_sigma": number("px, pre-smoothing before MS-SSIM", minimum=0),
            "skip_registration": flag("whether shifts were not looked for"),
            "register_ptychi_only": flag("whether only PtyChi's shift was looked for"),
        },
    )
    return record(
        "Phase G: which comparisons ran and how they ended.",
        {
            "n_jobs": integer("number of jobs", 2),
            "filters": record(
                "what was asked for",
                {
                    "dose": DOSE,
                    "view": VIEW,
                    "split": {"type": "null", "description": "null: both halves"},
                },
            ),
            "jobs": listed("dose ascending, dense before sparse, train before test", job),
            "execution_results": listed("how each ended, in the same order", _result()),
            "n_executed": integer("n_success + n_failed"),
            "n_success": integer("comparisons that succeeded"),
            "n_failed": integer("comparisons that failed"),
        },
    )


def _both(metric: str) -> Json:
    """Return a score of each component; null where it needs a contrast that is not there."""
    kinds = {name: number(f"of the {name}") for name in COLUMNS}
    if metric in NEED_CONTRAST:
        kinds = {name: null_or(kind) for name, kind in kinds.items()}
    return record("the score", kinds)


def metrics_summary() -> Json:
    """Phase G: scores of both splits."""
    recorded = record("a recorded value", {"value": number("px, 0 or 1, or s")})
    rows = {name: recorded if name in RECORDED else _both(name) for name in (*ROW_NAMES, REFERENCE)}
    metrics = mapping(
        "arm -> metric -> its columns",
        {"enum": list(NAMES)},
        record("every row of the arm", rows, optional=(REFERENCE,)),
    )
    job = record(
        "one half", {**AT, "metrics_csv": described("the table", PATH), "metrics": metrics}
    )
    best = {
        f"{kind}_{name}": null_or(number(f"{kind}; null where a half's is"))
        for name in COLUMNS
        for kind in ("mean", "best")
    }
    mean = {f"mean_{name}": number("mean") for name in COLUMNS}
    compliance = record(
        "whether a dataset states its provenance",
        {
            "npz_path": PATH,
            "has_metadata": flag("it has _metadata"),
            "has_canonical_transform": flag("they begin with a simulation or an import"),
            "compliant": flag("both"),
            "error": text("why not"),
        },
        optional=("error",),
    )
    counts = record(
        "images of a half",
        {
            "n_images_total": integer("of its full scan", 1),
            "n_images_kept": integer("of the view", 1),
            "n_centres": integer("group centres", 1),
        },
    )
    return record(
        "Phase G: the scores of both halves, parsed from the tables, and their aggregates.",
        {
            "n_jobs": integer("comparisons", 2),
            "n_success": integer("that succeeded", 2),
            "n_failed": {"const": 0, "description": "no summary is written while one failed"},
            "jobs": listed("train before test", job, minItems=2),
            "dataset_counts": by_split("images", counts),
            "aggregate_metrics": mapping(
                "arm -> metric -> over both halves",
                {"enum": list(NAMES)},
                record(
                    "aggregates",
                    {
                        "ms_ssim": record("mean and best", best),
                        "mae": record("mean; phase in rad", mean),
                    },
                ),
            ),
            "phase_c_metadata_compliance": mapping(
                "dose_{dose} -> half", DOSE_KEY, by_split("datasets", compliance)
            ),
        },
    )


def _by_reference(value: Json) -> Json:
    """PtychoPINN minus each other published arm: metric, then component."""
    metrics = dict.fromkeys(HEADLINES, value)
    differences = record("MS-SSIM: positive is better; MAE: negative is better", metrics)
    others = {f"vs_{name}": differences for name in MODELS[1:]}
    return record(f"{MODELS[0]} minus each other published arm", others)


def metrics_delta_summary() -> Json:
    """Phase G: differences of the arms."""
    delta = null_or(number("null where either is missing"))
    deltas = _by_reference(record("raw differences", dict.fromkeys(COLUMNS, delta)))
    interval = record(
        "one difference",
        {
            "mean": null_or(number("over all trainings")),
            "low": null_or(number("lower end")),
            "high": null_or(number("upper end")),
            "settled": {
                "type": ["boolean", "null"],
                "description": "whether the interval leaves zero out",
            },
            "covers": {"enum": list(get_args(Covers)), "description": "what it accounts for"},
        },
    )
    intervals = _by_reference(record("intervals", dict.fromkeys(COLUMNS, interval)))
    return record(
        f"Phase G: {MODELS[0]} minus Baseline and minus PtyChi.",
        {
            "generated_at": TIME,
            "source_metrics": {"const": "analysis/metrics_summary.json", "description": "source"},
            "source_metrics_sha256": SHA256,
            "deltas": described("differences of the means over both halves", deltas),
            "deltas_by_split": by_split("the same of each half; headline: test", deltas),
            "intervals": record(
                "quoted from the statistics",
                {
                    "confidence": number(
                        "of the intervals", exclusiveMinimum=0, exclusiveMaximum=1
                    ),
                    "source": {
                        "const": "analysis/comparison_statistics.csv",
                        "description": "source",
                    },
                    "of_means": described("of the means over both halves", intervals),
                    "by_split": by_split("of each half", intervals),
                },
            ),
        },
    )


def scoring() -> Json:
    """Phase G: what lies behind one half's scores."""
    area = {
        "y0": integer("first row"),
        "y1": integer("row after the last"),
        "x0": integer("first column"),
        "x1": integer("column after the last"),
    }
    pair = {"minItems": 2, "maxItems": 2}
    fitted = record(
        "ambiguities fitted to the truth",
        {
            "shift_px": listed("y, x", number("px"), **pair),
            "registration_applied": flag("false: the shift is beyond the bound"),
            "phase_offset_rad": number("rad"),
            "phase_plane_rad_per_px": listed("y, x", number("rad/px"), **pair),
            "amplitude_scale": number("factor", exclusiveMinimum=0),
            "ms_ssim_terms": {
                "type": "object",
                "description": "row and component -> the factor of each scale",
                "additionalProperties": listed("a factor a scale", number("factor"), minItems=1),
            },
        },
    )
    warning = record(
        "what a reader must know",
        {
            "kind": {"enum": ["negative_ms_ssim_term", "registration_not_applied"]},
            "model": ARM,
            "metric": text("the row"),
            "component": {"enum": [*COLUMNS, None], "description": "null: both"},
            "message": text("one sentence with the numbers"),
        },
    )
    of_arm = {"enum": list(NAMES)}
    return record(
        "Phase G: area, data ranges, fitted ambiguities and provenance of one half's scores.",
        {
            "status": {"const": "success", "description": "a hub holds no failed comparison"},
            "area": record("pixels of the canvas that are compared", area),
            "n_images": mapping("that each arm saw", of_arm, integer("images", 1)),
            "cpu_seconds": mapping(
                "that each network took to reconstruct the half, over all threads",
                {"enum": [network.name for network in NETWORKS]},
                number("s", minimum=0),
            ),
            "data_ranges": record(
                "of the truth in the area",
                {
                    name: null_or(number("rad" if name == "phase" else "1", exclusiveMinimum=0))
                    for name in COLUMNS
                },
            ),
            "fitted": mapping("by arm", of_arm, fitted),
            "warnings": listed("empty when there is nothing to say", warning),
            "transformations": PROVENANCE,
        },
    )


def check_report() -> Json:
    """Every asset check of the condition."""
    row = record(
        "one check of one asset",
        {
            "asset": text("asset key, parts joined by /"),
            "check": text("name of the check"),
            "partition": text("1000, 1000|dense or study"),
            "blocking": flag("whether nothing may consume the asset unless it passed"),
            "severity": {"enum": ["ERROR", "WARN", ""], "description": "blank: never evaluated"},
            "status": {"enum": list(STATES), "description": "how it stands"},
            "time": {**TIME, "pattern": f"{TIME['pattern']}|^$", "description": "UTC, or blank"},
            "reason": text("what the evaluation said"),
        },
    )
    return record(
        "Every asset check of the condition with its state.",
        {
            "generated_at": TIME,
            "dose": DOSE,
            "view": VIEW,
            "counts": record("checks by status", {state: integer(state) for state in STATES}),
            "checks": listed("in the catalogue's order", row, minItems=1),
        },
    )


def verification_report() -> Json:
    """Return what ``fly64 verify`` found."""
    row = record(
        "one check",
        {
            "name": text("group.name"),
            "ok": flag("whether it holds"),
            "file": text("the file that it is about, or that breaks it first"),
            "key": text("key or line in that file"),
            "rule": text("what must hold"),
            "reasons": listed("what breaks it, at most 50", {"type": "string"}),
        },
    )
    return record(
        "What `fly64 verify` found, check by check.",
        {
            "generated_at": TIME,
            "hub": record("the condition", {"dose": DOSE, "view": VIEW}),
            "n_checks": integer("checks", 1),
            "n_valid": integer("checks that hold"),
            "checks": listed("every check", row, minItems=1),
            "digest": {
                "type": "string",
                "pattern": "^sha256:[0-9a-f]{64}$",
                "description": "of this content without the digest",
            },
        },
    )


def ro_crate() -> Json:
    """Return the least that a hub's RO-Crate has: more is in the RO-Crate specification."""
    reference = record("reference", {"@id": text("of an entity")})
    entity = {
        "type": "object",
        "description": "an entity",
        "required": ["@id", "@type"],
        "properties": {"@id": {"type": "string"}, "@type": {"type": ["string", "array"]}},
    }
    a_file = {
        "if": {"properties": {"@type": {"const": "File"}}},
        "then": {"required": ["sha256", "contentSize"], "properties": {"sha256": SHA256}},
    }
    root = {
        "properties": {
            "@id": {"const": "./"},
            "@type": {"const": "Dataset"},
            "conformsTo": reference,
            "hasPart": {"type": "array", "items": reference, "minItems": 1},
        },
        "required": ["@id", "hasPart", "conformsTo", "datePublished", "license"],
    }
    descriptor = {
        "properties": {"@id": {"const": "ro-crate-metadata.json"}, "about": reference},
        "required": ["@id", "about", "conformsTo"],
    }
    return record(
        "RO-Crate: every file of the hub with its sha256, and what it was made from.",
        {
            "@context": {"type": ["string", "array"], "description": "of RO-Crate 1.3"},
            "@graph": {
                "type": "array",
                "description": "flat list of entities; files carry sha256 and contentSize",
                "items": {**entity, **a_file},
                "allOf": [{"contains": root}, {"contains": descriptor}],
            },
        },
    )


def data001_metadata() -> Json:
    """Return the ``_metadata`` of a DATA-001 file."""
    return record(
        "The JSON text in _metadata of a DATA-001 file.",
        {
            "schema_version": {"const": 1, "description": "of these metadata"},
            "creation": record(
                "of the dataset",
                {
                    "time": TIME,
                    "program": text("what made it"),
                    "version": text("its version"),
                    "git_commit": {"type": ["string", "null"], "description": "of its source"},
                },
            ),
            "physics": record(
                "of the measurement",
                {
                    "nphotons": null_or(number("mean detected photons per exposure")),
                    "N": integer("px, side of a pattern", 2),
                    "seed": {"type": ["integer", "null"], "description": "of the simulation"},
                    "intensity_scale": number(
                        "counts = (diffraction * intensity_scale)^2", exclusiveMinimum=0
                    ),
                    "probe_diameter_px": null_or(number("D of the overlap discs, px")),
                },
            ),
            "specimen": {
                "type": "object",
                "description": "what was simulated from: source, sha256, licence, origin",
            },
            "transformations": PROVENANCE,
        },
        optional=("specimen",),
    )


_Build = Callable[[], dict[str, Any]]
_VIEW = "data/phase_d/dose_{dose}/{view}"
FILES: tuple[tuple[str, _Build, tuple[str, ...]], ...] = (
    ("run_manifest", run_manifest, ("data/phase_c/run_manifest.json",)),
    ("view_metrics", view_metrics, (f"{_VIEW}/{{split}}_metrics.json",)),
    ("metrics_bundle", metrics_bundle, (f"{_VIEW}/metrics_bundle.json",)),
    ("training_manifest", training_manifest, ("data/phase_e/training_manifest.json",)),
    ("bundle", bundle, ("data/phase_e/dose_{dose}/{view}/{arm}/bundle.json",)),
    (
        "reconstruction_manifest",
        reconstruction_manifest,
        ("data/phase_f/reconstruction_manifest.json",),
    ),
    ("comparison_manifest", comparison_manifest, ("analysis/comparison_manifest.json",)),
    ("metrics_summary", metrics_summary, ("analysis/metrics_summary.json",)),
    ("metrics_delta_summary", metrics_delta_summary, ("analysis/metrics_delta_summary.json",)),
    ("scoring", scoring, ("analysis/dose_{dose}/{view}/{split}/scoring.json",)),
    ("check_report", check_report, ("analysis/check_report.json",)),
    ("verification_report", verification_report, ("analysis/verification_report.json",)),
    ("ro_crate", ro_crate, ("ro-crate-metadata.json",)),
)
"""Name, content and the files of a hub. Patterns are tried in this order."""
