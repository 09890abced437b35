"""Checks of the texts for people: each is made again from the hub's own data and compared.

What the data are is judged by the other checks, what the templates say by the tests of
``reports/condition``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from fly64_assets.errors import InputError
from fly64_assets.ptychography.scoring.statistics import read_statistics
from fly64_assets.reports.condition.check_report import check_report_context
from fly64_assets.reports.condition.costs import Cost
from fly64_assets.reports.condition.rendering import render
from fly64_assets.reports.condition.report_parts import Sources
from fly64_assets.reports.condition.summary import MadeBy, is_hashed, summary_context
from fly64_assets.reports.condition.texts import contexts
from fly64_assets.rules import comparison_logs
from fly64_assets.rules.hub import contract
from fly64_assets.rules.hub.arms import arms, iterative, networks
from fly64_assets.rules.hub.checks import Broken, Finding, check, shown
from fly64_assets.rules.hub.crate import study_name
from fly64_assets.rules.hub.crate_graph import Step, setting, steps
from fly64_assets.rules.hub.of_products import HubFiles
from fly64_assets.rules.hub.phases import files_of, view_metrics
from fly64_assets.rules.hub.reading import Hub
from fly64_assets.rules.hub.texts import walk
from fly64_assets.study.model import SPLITS
from fly64_assets.study.products import PRODUCTS, product

CHECKS_JSON, CHECKS_MD = "analysis/check_report.json", "analysis/check_report.md"
SUMMARY_MD = "summary/summary.md"
LONGEST, MOST_CHECKS = 2_000, 1_000
"""Letters of a text that is put into a table, and rows of the check report: a table is as wide as
its longest cell."""


def document(hub: Hub, path: str) -> dict[str, Any]:
    """Return a JSON file in which no text is too long to be shown.

    Raises:
        Broken: it cannot be read, or one is.
    """
    content = hub.json(path)
    for place, _, value in walk(content):
        if len(place) > LONGEST or (isinstance(value, str) and len(value) > LONGEST):
            raise Broken(path, shown(place), f"is longer than {LONGEST:,} letters")
    return content


def compare_texts(hub: Hub, path: str, expected: str) -> Iterator[Finding]:
    """Yield the first line in which a text is another than the expected one."""
    found = hub.text(path)
    if found == expected:
        return
    lines = zip_longest(expected.split("\n"), found.split("\n"))
    for number, (wanted, line) in enumerate(lines, start=1):
        if wanted != line:
            ended = "the end" if line is None else shown(line)
            reason = f"is {ended}, expected {'the end' if wanted is None else repr(wanted)}"
            yield Finding(path, f"line {number}", reason)
            return


def _sources(hub: Hub) -> Sources:
    try:
        statistics = read_statistics(hub.path(contract.STATISTICS))
    except InputError as error:
        raise Broken(contract.STATISTICS, error.key, error.problem) from None
    return Sources(
        document(hub, contract.MANIFEST),
        document(hub, contract.SUMMARY),
        document(hub, contract.DELTAS),
        statistics,
        {split: document(hub, view_metrics(hub, split)) for split in SPLITS},
    )


@check(
    "reports.rendered_again",
    "analysis",
    "every report is, to the letter, what the manifest, summary, deltas, statistics and overlap "
    "metrics give",
)
def reports(hub: Hub) -> Iterator[Finding]:
    for name, context in contexts(_sources(hub)).items():
        yield from compare_texts(hub, f"analysis/{name}", render(name, context))


@check("check_report.rendered_again", CHECKS_MD, "the page is, to the letter, what the JSON gives")
def check_report(hub: Hub) -> Iterator[Finding]:
    content = document(hub, CHECKS_JSON)
    if len(content["checks"]) > MOST_CHECKS:
        raise Broken(CHECKS_JSON, "checks", f"are more than {MOST_CHECKS:,}")
    yield from compare_texts(
        hub, CHECKS_MD, render("check_report.md", check_report_context(content))
    )


def _costs(hub: Hub) -> Iterator[Cost]:
    images = document(hub, view_metrics(hub, "train"))["n_images_kept"]
    inference = {
        split: comparison_logs.cpu_seconds(HubFiles(hub, product(split, "comparison")))
        for split in SPLITS
    }
    for network in networks(hub):
        bundle = document(hub, files_of(hub, *network.model_key).place("bundle.json"))
        yield Cost(
            network.name,
            bundle["n_parameters"],
            images,
            bundle["epochs_completed"],
            _cpu_seconds(hub, f"{network.asset}_model"),
            {split: inference[split][network.name] for split in SPLITS},
        )
    for arm in iterative(hub):
        epochs = int(setting(hub, arm.section, "epochs"))
        spent = {str(s): _cpu_seconds(hub, f"{s}/{arm.asset}_reconstruction") for s in SPLITS}
        yield Cost(arm.name, None, None, epochs, None, spent)


def _cpu_seconds(hub: Hub, asset: str) -> float:
    spent = steps(hub).get(asset, Step()).stated.get("cpu_seconds")
    if not isinstance(spent, float):
        raise Broken(contract.CRATE, f"#make/{asset}/cpu_seconds", f"is {spent!r}, no seconds")
    return spent


def _made(hub: Hub) -> Iterator[MadeBy]:
    """How each asset that the page sums up was made, as the crate says."""
    made = steps(hub)
    consumed = made.get("hub_summary", Step()).versions
    for asset in (item.name for item in PRODUCTS if item.name in consumed):
        if asset not in made:
            raise Broken(contract.CRATE, "#make/hub_summary", f"consumed {asset}, which none made")
        step = made[asset]
        commit = str(step.stated.get("git_commit"))
        yield MadeBy(
            asset,
            step.end,
            str(step.stated.get("data_version")),
            str(step.stated.get("code_version")).split(" ")[0],
            None if commit == "unknown" else commit,
        )


@check(
    "summary_page.rendered_again",
    SUMMARY_MD,
    "the page is, to the letter, what the hub's files and its crate give",
)
def summary_page(hub: Hub) -> Iterator[Finding]:
    sources, costs = _sources(hub), {cost.model: cost for cost in _costs(hub)}
    context = summary_context(
        study=study_name(hub),
        dose=hub.dose,
        view=hub.view,
        metrics_summary=sources.summary,
        delta_summary=sources.deltas,
        statistics=sources.statistics,
        view_metrics=sources.views,
        costs=[costs[model] for model in arms(hub)],
        made=list(_made(hub)),
        hashes={path: hub.sha256(path) for path in hub.files if is_hashed(path)},
    )
    yield from compare_texts(hub, SUMMARY_MD, render("summary.md", context))
    consumed = steps(hub)["hub_summary"].versions
    for asset in contract.CHECKED:
        if contract.has(asset, arms(hub)) and asset not in consumed:
            yield Finding(SUMMARY_MD, "## Provenance", f"does not say how {asset} was made")
