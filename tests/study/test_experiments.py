"""Names of experiments, there and back."""

import itertools

import pytest

from study.errors import StudyError
from study.people.experiments import Experiment, experiment_of, name_of

CONDITIONS = ["natural", "synthetic", "hard99", "hard95", "hard85", "hard95_synthetic", "mixed", "one_sided"]
MODELS = ["resnet", "clip-vit_b32", "net_k3"]


@pytest.mark.parametrize(
    ("condition", "k", "name"),
    [
        ("natural", 9, "resnet_natural"),
        ("hard95", 9, "resnet_hard95_natural"),
        ("synthetic", 9, "resnet_optimized"),
        ("hard95_synthetic", 9, "resnet_hard95_optimized"),
        ("mixed", 9, "resnet_mixed"),
        ("one_sided", 9, "resnet_one_sided"),
        ("natural", 3, "resnet_natural_k3"),
        ("natural", 0, "resnet_natural_k0"),
        ("hard95", 1, "resnet_hard95_natural_k1"),
        ("hardly", 9, "resnet_hardly"),
    ],
)
def test_names_are_those_of_the_record_where_it_has_one(condition, k, name):
    assert name_of("resnet", condition, k, 9) == name


def test_every_name_is_read_back():
    asked = list(itertools.product(MODELS, CONDITIONS, (0, 3, 9)))
    names = [name_of(*each, 9) for each in asked]
    assert len(set(names)) == len(names)
    for (model, condition, k), name in zip(asked, names, strict=True):
        assert experiment_of(name, MODELS, CONDITIONS) == Experiment(model, condition, None if k == 9 else k)


def test_names_of_nothing_and_of_two_things_are_refused():
    for name in ("resnet", "resnet_natural_k", "resnet_natural_k03", "other_natural", "resnet_hard95"):
        with pytest.raises(StudyError, match=f"no experiment is called '{name}'"):
            experiment_of(name, MODELS, CONDITIONS)
    with pytest.raises(StudyError, match="may be net with hard95 tasks or net_hard95 with natural tasks; rename"):
        experiment_of("net_hard95_natural", ["net", "net_hard95"], CONDITIONS)
