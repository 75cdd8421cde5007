"""Units that made images explain, and kinds of explanation, for the fabricated study of `report_fixture`."""

from __future__ import annotations

import numpy as np
import pandas as pd

from interpretability.analysis.explanation_kinds import CHOSEN
from interpretability.schema import BELOW, KEY, MIXED, NATURAL, SYNTHETIC, UNIT, UNREACHABLE
from interpretability.tasks.fewer import fewer_explanations
from interpretability.tasks.synthetic import mixed_tasks, synthetic_tasks
from interpretability.tasks.topics import CLUSTERS
from study.files.tables import read_parquet, write_csv, write_parquet
from study.images.made import MAX, MIN
from study.report.page.inputs import LATER
from study.solving.kinds import SHOWN
from tests.helpers.made_images import fabricate

FEWER = f"{NATURAL}_3"
# difference to natural explanations, share of choices
KINDS = {
    NATURAL: (0.0, 0.4),
    FEWER: (-0.03, 0.1),
    SYNTHETIC: (-0.022, 0.2),
    MIXED: (0.004, 0.25),
    CLUSTERS: (0.03, 0.05),
}
N_UNITS = 6  # of each of the first two networks; of the last, one side has no images


def write_kinds(folder, units, networks, layers, *, lead, n_explanations, made):
    """Made images, tasks and scores of their units, and the tables of kinds; header-only ones unless `made`."""
    layer = layers[min(2, len(layers) - 1)][0]
    owners = [(model, layer, unit) for model in networks[:2] for unit in range(N_UNITS)] if made else []
    weak = {(*owner, MIN): BELOW for owner in owners[1:2]}
    lost = [(*owner, MAX) for owner in owners[-1:]]
    statuses = weak | dict.fromkeys(lost, UNREACHABLE)
    facts = units[["model", "layer", "layer_type", "layer_index", "depth"]].drop_duplicates()
    fabricate(
        *(folder / "visualisations", folder / "images", owners, n_explanations, 2, 16),
        unreachable=lost,
        statuses=statuses,
        layers=facts,
    )
    table = read_parquet(folder / "visualisations/units.parquet")
    if made:  # the second network is one with attention
        table["in_imi"] = (table["model"] == networks[0]).astype(np.int64)
        shifted = table["seed_set"] + 0.1 * (table["side"] == MIN)
        table["ratio_best"] += shifted
    table = table.astype({"position_bound": "int64"})
    write_csv(folder / "tables/made_images.csv", table)
    tasked = [owner for owner in owners if (*owner, MAX) not in lost]
    parts = [pd.DataFrame(columns=SHOWN.names)]
    for model in networks:
        own = [owner for owner in tasked if owner[0] == model]
        if own:
            parts.append(_with_tasks(folder, model, own, n_explanations))
    write_parquet(folder / "explanation_kinds/shown.parquet", pd.concat(parts, ignore_index=True), SHOWN)
    _with_scores(folder, tasked)
    scores = _unit_scores(units, tasked, lead, n_explanations)
    write_csv(folder / "tables/explanation_kinds_units.csv", scores)
    write_csv(
        folder / "tables/explanation_kinds.csv", _kinds(tasked, networks, units["backend"].unique(), n_explanations)
    )


def _with_tasks(folder, model, owners, n_explanations):
    """Append the synthetic tasks of a network's units, and return what the first task of each kind shows."""
    table, tasks = read_parquet(folder / f"tasks/{model}.parquet"), np.load(folder / f"tasks/{model}.npy")
    images = read_parquet(folder / "visualisations/images.parquet")
    rows = [int(np.flatnonzero((table["layer"] == layer) & (table["unit"] == unit))[0]) for _, layer, unit in owners]
    of = {key: rows["image"].to_numpy() for key, rows in images.groupby([*UNIT, "seed_set", "side"])}
    sets = [[np.stack([of[(*owner, number, side)] for owner in owners]) for side in (MAX, MIN)] for number in (0, 1)]
    natural = tasks[rows]
    built = synthetic_tasks(natural, *sets[0])
    np.save(folder / f"tasks/{model}.npy", np.concatenate([tasks, built]))
    ties = {"tie_share_pos": np.float32(np.nan), "tie_share_neg": np.float32(np.nan)}
    more = table.iloc[rows].assign(condition=SYNTHETIC, **ties)
    write_parquet(folder / f"tasks/{model}.parquet", pd.concat([table, more], ignore_index=True))
    kinds = [(NATURAL, -1, natural), (FEWER, -1, fewer_explanations(natural, 3))]
    kinds += [(SYNTHETIC, number, synthetic_tasks(natural, *sets[number])) for number in (0, 1)]
    kinds += [(MIXED, number, mixed_tasks(natural, *sets[number])) for number in (0, 1)]
    parts = [_shown(owners, *kind) for kind in kinds]
    return pd.concat([*parts, _shown(owners[:1], CLUSTERS, -1, natural[:1])], ignore_index=True)


def _shown(owners, kind, number, tasks):
    size = tasks.shape[2] // 2 - 1
    rows = [
        (*owner, kind, number, side, place, image, place % 2 if kind == CLUSTERS else -1)
        for owner, task in zip(owners, tasks[:, 0], strict=True)
        for side, start in ((MAX, 0), (MIN, size))
        for place, image in enumerate(task[start : start + size])
    ]
    return pd.DataFrame(rows, columns=SHOWN.names)


def _with_scores(folder, owners):
    """Append scores and margins of the synthetic tasks to those of the natural ones, a little below them."""
    for path, loss in (
        (folder / "mis/units.parquet", "mis"),
        *((path, None) for path in (folder / "scores").glob("*")),
    ):
        frame = read_parquet(path)
        own = pd.MultiIndex.from_frame(frame[UNIT]).isin(owners) if owners else np.zeros(len(frame), bool)
        more = frame[own & (frame["condition"] == NATURAL)].assign(condition=SYNTHETIC)
        if loss:
            more[loss] = more[loss] - 0.05 * (1 + more["unit"] % 3)
        write_parquet(
            path, pd.concat([frame, more], ignore_index=True).sort_values(KEY[:1], kind="stable", ignore_index=True)
        )


def _unit_scores(units, owners, lead, n_explanations):
    """A row a unit, kind and seed set (-1 over sets), shifted from the unit's natural score."""
    mis = units[units["backend"] == lead].set_index(UNIT)["mis"]
    rows = []
    for owner in owners:
        for kind, (shift, share) in KINDS.items():
            if kind == CLUSTERS and owner != owners[0]:
                continue
            numbers = (-1, 0, 1) if kind in (SYNTHETIC, MIXED) else (-1,)
            count = 3 if kind == FEWER else n_explanations
            spread = 0.01 if len(numbers) > 1 else np.nan
            rows += [
                (
                    lead,
                    *owner,
                    kind,
                    n,
                    count,
                    mis[owner] + shift + 0.001 * n,
                    0.03,
                    spread,
                    mis[owner],
                    mis[owner],
                    share,
                )
                for n in numbers
            ]
    return pd.DataFrame(rows, columns=LATER["explanation_kinds_units"].split())


def _kinds(owners, networks, backends, n_explanations):
    rows = []
    for backend in backends if owners else ():
        for model in ("", *(name for name in networks if any(owner[0] == name for owner in owners))):
            n = sum(model in ("", owner[0]) for owner in owners)
            for kind, (shift, share) in KINDS.items():
                ends = (np.nan,) * 3 if kind == NATURAL else (shift, shift - 0.01, shift + 0.012)
                made = kind in (SYNTHETIC, MIXED)
                count = 3 if kind == FEWER else n_explanations
                facts = (np.nan, 0.017 if made else np.nan, 2 if made else 0, 6.25)
                rows.append((backend, model, kind, n, count, 0.8 + shift, 0.8, *ends, share, *facts))
            gain = (0.81, 0.8, 0.01, 0.002, 0.018)
            rows.append((backend, model, CHOSEN, n, 0, *gain, np.nan, 0.03, np.nan, 2, 6.25))
    return pd.DataFrame(rows, columns=LATER["explanation_kinds"].split())
