"""What results say of their origin."""

import json
from dataclasses import asdict

from study.files import provenance
from study.params.stats import Likeness
from tests.helpers import tiny_study


def test_made_images_have_a_digest_where_there_are_some(tmp_path):
    data = tmp_path / "data"
    tiny_study.write_study(data)
    folders = {name: data / name for name in ("images", "models", "activations", "visualisations", "tasks")}
    without = provenance.describe(**folders, params={})["digests"]
    assert "made_images" not in without
    note = data / "visualisations" / "run.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"made_on": ["cpu"], "images": "of the pictures"}))
    assert provenance.describe(**folders, params={})["digests"] == without | {"made_images": "of the pictures"}


def test_how_networks_ran_is_said_where_it_was_not_plainly_and_as_asked_for(tmp_path):
    data = tmp_path / "data"
    tiny_study.write_study(data)
    folders = {name: data / name for name in ("images", "models", "activations", "visualisations", "tasks")}
    without = provenance.describe(**folders, params={})
    ran = {"ran_in": {"a": "tf32"}, "forms": {"b": "compiled"}, "n_networks": 3}
    assert not ran.keys() & without.keys()
    note = data / "activations" / "run.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | ran))
    assert provenance.describe(**folders, params={}) == without | ran


def test_a_key_that_came_later_leaves_a_study_what_it_was(tmp_path):
    data = tmp_path / "data"
    tiny_study.write_study(data)
    folders = {name: data / name for name in ("images", "models", "activations", "visualisations", "tasks")}

    def study(**activations):
        return provenance.describe(**folders, params={"activations": activations})["digests"]["study"]

    assert study(n_extremes=5) == study(n_extremes=5, compile="none")
    assert study(n_extremes=5) != study(n_extremes=5, compile="long")
    assert study(n_extremes=5) != study(n_extremes=6)

    def texts(**explanations):
        return provenance.describe(**folders, params={"explanations": explanations})["digests"]["study"]

    assert texts(n=1) == texts(n=1, second_guide={"source": "none"}) == texts(n=1, second_guide={"source": "simulated"})
    assert texts(n=1) != texts(n=2)

    def with_likeness(**stats):
        return provenance.describe(**folders, params={"stats": stats})["digests"]["study"]

    none = asdict(Likeness(tables=(), decisions="", names=()))
    assert with_likeness(n=1) == with_likeness(n=1, likeness=none)
    assert with_likeness(n=1) != with_likeness(n=1, likeness={**none, "decisions": "raw-data"})


def test_a_recipe_changes_a_study_only_where_it_is_used(tmp_path):
    data = tmp_path / "data"
    tiny_study.write_study(data)
    folders = {name: data / name for name in ("images", "models", "activations", "visualisations", "tasks")}

    def study(**training):
        params = {"models": {"roster": "r.csv", "training": {"epochs": 4, **training}}}
        return provenance.describe(**folders, params=params)["digests"]["study"]

    assert study() == study(recipe="one_cycle", a3={"epochs": 100}) == study(recipe="one_cycle", a3={"epochs": 7})
    assert study() != study(recipe="a3", a3={"epochs": 100}) != study(recipe="a3", a3={"epochs": 7})
