"""Scores without labels joined with MIS and people: which units and networks enter."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from interpretability.schema import FACTS, UNIT
from study.files.tables import write_parquet
from study.files.unit_tables import UNIT_COLUMNS, Scored
from study.label_free.run import COLUMNS
from study.tabulating.facts import Bootstrap
from study.tabulating.label_free import label_free_tables

N = 40


def units(model, rng):
    table = pd.DataFrame(
        {"model": model, "layer": np.repeat(["a", "b"], N // 2), "unit": np.tile(np.arange(N // 2), 2)}
    )
    return table.assign(layer_type="Conv", layer_index=1, depth=0.5, width=N // 2, clear=rng.normal(size=N))


@pytest.fixture
def made(tmp_path):
    """Units of a ranked network, of a control and of a network read in other directions."""
    rng = np.random.default_rng(0)
    whole = pd.concat([units(model, rng) for model in ("net", "control", "rotated")], ignore_index=True)
    scored, free = [], []
    for backend in ("one", "two"):
        for condition in ("natural", "one_sided", "hard85"):
            noise = rng.normal(size=len(whole)) * (0.3 if condition == "natural" else 5)
            rows = whole.assign(condition=condition, backend=backend, mis=whole["clear"] + noise)
            scored.append(rows.assign(accuracy=rows["mis"], in_split=rows["unit"] < 3).reindex(columns=UNIT_COLUMNS))
        values = {name: whole["clear"] + rng.normal(size=len(whole)) for name in COLUMNS if name not in [*UNIT, *FACTS]}
        free.append(whole.drop(columns="clear").assign(**values).assign(backend=backend)[COLUMNS])
    scored = pd.concat(scored, ignore_index=True)
    # of the first half of the units one-sided tasks alone
    scored = scored[~((scored["condition"] == "one_sided") & (scored["layer"] == "a"))]
    scored = scored.sort_values(["backend", "model"], kind="stable", ignore_index=True)
    write_parquet(tmp_path / "units.parquet", scored)
    people = whole[[*UNIT, "clear"]].rename(columns={"clear": "his"})
    people = pd.concat([people.assign(condition="natural"), people.assign(condition="hard85", his=0.0)])
    facts = SimpleNamespace(
        nets=SimpleNamespace(ranked=["net"]), people=people, bootstrap=Bootstrap(0, 50, 0.95), clusters={}
    )
    return pd.concat(free, ignore_index=True), Scored(tmp_path / "units.parquet"), facts


def test_scores_of_ranked_networks_are_compared_under_every_similarity(made):
    tables = label_free_tables(*made)
    compared = tables["scores_compared"]
    assert set(compared["backend"]) == {"one", "two"}
    people = compared[(compared["part"] == "people") & (compared["level"] == "unit")]
    whole = people[people["coefficient"] == "pearson"].set_index(["backend", "first"])
    assert (whole.xs("mis", level="first")["n"] == N - 6).all(), "the ranked network, outside the split"
    assert (whole.xs("mis_one_sided", level="first")["n"] == N // 2 - 3).all()
    assert (whole.xs("mis", level="first")["value"] > 0.8).all(), "natural tasks and natural answers"
    assert (whole.xs("rho", level="first")["difference_high"] < 0).all()
    each = compared[(compared["part"] == "scores") & (compared["level"] == "unit")]
    assert each[(each["first"] == "mis") & (each["second"] == "rho")]["n"].tolist() == [N, N]
    means = tables["label_free"]
    assert set(means["model"]) == {"net", "control", "rotated"}


def test_no_networks_and_no_people_give_tables_with_their_columns(made):
    free, scored, facts = made
    none = label_free_tables(free.head(0), scored, facts)
    assert none["scores_compared"].empty
    assert "difference_low" in none["scores_compared"]
    assert "rho_mean" in none["label_free"]
    alone = label_free_tables(free, scored, SimpleNamespace(**{**vars(facts), "people": facts.people.head(0)}))
    assert set(alone["scores_compared"]["part"]) == {"scores"}
