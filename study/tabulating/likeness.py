"""Likeness of networks to people, as published, beside their scores by the machine and by people."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from interpretability.analysis import likeness
from interpretability.errors import InputError
from interpretability.schema import NATURAL
from study.errors import StudyError, message_of
from study.log import logger
from study.params.stats import Likeness
from study.tabulating.facts import Facts, Tables
from study.tabulating.likeness_files import TABLE_COLUMNS, read_decisions, read_table, taken_apart

log = logger("stats")

_SCORES = ["score", "backend", "condition", "model", "mean", "low", "high"]
_NAMED = 5  # names that a message shows


def likeness_tables(folder: Path, chosen: Likeness, tables: Tables, facts: Facts) -> Tables:
    """likeness (`COLUMNS`) and likeness_networks (`NETWORK_COLUMNS`) of the library; both empty where no file is named.

    `tables` holds models and his_models. Scores are of ranked networks, and of those that people were asked about.
    """
    scores = _scores(tables, facts)
    known = {*facts.roster["name"], *scores["model"]}
    names = _names(chosen.names, known)
    parts = [_of_table(folder, entry, names, known) for entry in chosen.tables]
    if chosen.decisions:
        parts.append(_of_decisions(folder / chosen.decisions, chosen.decisions, names, known))
    if not parts:
        points = pd.DataFrame(columns=likeness.NETWORK_COLUMNS)
    else:
        values = pd.concat(parts, ignore_index=True)
        _tell(values, chosen.names)
        order = {name: place for place, name in enumerate(scores["model"].unique())}
        both = values.merge(scores, on="model")
        both["place"] = both["model"].map(order)
        both["of"] = both.groupby(["source", "measure"], sort=False).ngroup()
        both["with"] = both.groupby(["score", "backend", "condition"], sort=False).ngroup()
        points = both.sort_values(["of", "with", "place"], kind="stable", ignore_index=True)[likeness.NETWORK_COLUMNS]
    return {"likeness": likeness.likeness(points, facts.confidence), "likeness_networks": points}


def _scores(tables: Tables, facts: Facts) -> pd.DataFrame:
    """_SCORES: MIS of ranked networks under each similarity, then HIS by condition."""
    models = tables["models"]
    models = models[models["model"].isin(facts.nets.ranked)]
    ours = models.rename(columns={"mis_mean": "mean", "mis_low": "low", "mis_high": "high"})
    people = tables["his_models"].rename(columns={"his_mean": "mean"})
    both = [ours.assign(score="mis", condition=NATURAL)[_SCORES], people.assign(score="his", backend="")[_SCORES]]
    kinds = dict.fromkeys(("score", "backend", "condition", "model"), object)
    return pd.concat([part.astype(kinds) for part in both], ignore_index=True)


def _names(entries: Sequence[str], known: Collection[str]) -> dict[str, str]:
    """Network here by its name there."""
    names: dict[str, str] = {}
    for entry in entries:
        there, _, here = (part.strip() for part in entry.rpartition("="))
        if here not in known:
            near = difflib.get_close_matches(here, sorted(known), 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise StudyError(
                f"stats.likeness.names holds {entry!r}, but neither the roster nor an answer of people names {here!r}{hint}"
            )
        if names.setdefault(there, here) != here:
            raise StudyError(
                f"stats.likeness.names calls {there!r} both {names[there]!r} and {here!r}; one name there is one network here"
            )
    return names


def _of_table(folder: Path, entry: str, names: Mapping[str, str], known: Collection[str]) -> pd.DataFrame:
    file, column, values = taken_apart(entry)
    table = read_table(folder / file, column, values)
    return _here(table, file, names, known)


def _of_decisions(folder: Path, source: str, names: Mapping[str, str], known: Collection[str]) -> pd.DataFrame:
    """Measures of decisions; ranks are among the networks of this study."""
    decisions = read_decisions(folder)
    ours = decisions["subject"].map(lambda subject: names.get(str(subject), str(subject))).isin(set(known))
    if not (ours & ~decisions["person"]).any():
        return _here(
            pd.DataFrame({"called": decisions.loc[~decisions["person"], "subject"].unique()}), source, names, known
        )
    try:
        measures = likeness.decision_measures(decisions[ours | decisions["person"]])
    except InputError as error:
        raise StudyError(f"{folder}: {message_of(error)}") from None
    lacking = list(measures.index[measures["error_consistency"].isna()])
    if lacking:
        log.warning("%s: %s decided on some data sets alone and are not compared", source, ", ".join(lacking))
    table = measures.rename_axis("called").reset_index().melt("called", var_name="measure")
    return _here(table[table.groupby("measure")["value"].transform("count") > 0], source, names, known)


def _here(table: pd.DataFrame, source: str, names: Mapping[str, str], known: Collection[str]) -> pd.DataFrame:
    """Rows of networks of this study with their names here; `table`: TABLE_COLUMNS, or called alone where none is known."""
    model = table["called"].map(lambda there: names.get(str(there), str(there)))
    rows = table.assign(source=source, model=model)[model.isin(set(known))]
    if rows.empty:
        called = list(map(repr, table["called"].unique()))
        shown = ", ".join(called[:_NAMED]) + (", ..." if len(called) > _NAMED else "")
        log.warning(
            "%s: none of its %d networks is one of this study by its name (%s); say which is which in stats.likeness.names",
            *(source, len(called), shown),
        )
        return pd.DataFrame(columns=["source", "model", *TABLE_COLUMNS])
    twice = rows.duplicated(["measure", "model"], keep=False)
    if twice.any():
        both = rows.loc[twice & (rows["model"] == rows.loc[twice, "model"].iloc[0]), "called"].unique()
        raise StudyError(
            f"{source}: {' and '.join(map(repr, both))} are both {rows.loc[twice, 'model'].iloc[0]!r} here; name another network "
            "in stats.likeness.names, or remove one of the two there"
        )
    return rows


def _tell(values: pd.DataFrame, entries: Sequence[str]) -> None:
    """Log how many networks each source has here, and names that stand in none."""
    for source, part in values.groupby("source", sort=False):
        log.info("%s: likeness to people of %d networks", source, part["model"].nunique())
    absent = [entry for entry in entries if entry.rpartition("=")[0].strip() not in set(values["called"])]
    if absent:
        log.warning("stats.likeness.names: no file of likeness has the names of %s", ", ".join(absent))
