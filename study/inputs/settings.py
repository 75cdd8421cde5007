"""Parameters that say what a study starts from, and those that name its networks."""

from __future__ import annotations

from dataclasses import dataclass

from study.inputs.listing import ImagePlace


@dataclass(frozen=True, kw_only=True)
class EpochsOfRecipe:
    """The same by a recipe, of `models.training.a3`, and which weights are kept."""

    epochs: int
    first_epoch: int
    every: int


@dataclass(frozen=True, kw_only=True)
class Epochs:
    """How long networks are trained, of `models.training`."""

    epochs: int
    recipe: str
    a3: EpochsOfRecipe


@dataclass(frozen=True, kw_only=True)
class Roster:
    """Where the roster lies, and the largest share of its rows that may fail, of `models`."""

    roster: str
    max_failed: float
    training: Epochs


@dataclass(frozen=True, kw_only=True)
class GuideWeights:
    """The weights of a guide, of `explanations.guide` or `explanations.second_guide`."""

    source: str
    pretrained: str


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What texts go by, and units for which they are made, of `explanations`."""

    guide: GuideWeights
    second_guide: GuideWeights
    concepts: str
    units: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class EncoderName:
    """The network behind the similarity `encoder`, of `scores.encoder`."""

    model: str


@dataclass(frozen=True, kw_only=True)
class Similarities:
    """Which similarities there are, of `scores`."""

    backends: tuple[str, ...]
    encoder: EncoderName
    feature_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TaskSizes:
    """How many images the tasks take, of `tasks`: they refuse a study with too few of them before anything runs; and which
    networks get one-sided ones.
    """

    n_tasks: int
    n_explanations: int
    conditions: tuple[str, ...]
    source: str
    one_sided: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class KeptUnits:
    """Units whose columns or inner images are kept, and the list of more of them, of `activations`."""

    keep: tuple[str, ...]
    keep_file: str
    windows: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ImiFiles:
    """Files of the IMI record, of `human.imi`."""

    responses: tuple[str, ...]
    image_map: str


@dataclass(frozen=True, kw_only=True)
class OneFile:
    """A table, of `human.table` or `human.pairs`."""

    file: str


@dataclass(frozen=True, kw_only=True)
class People:
    """Where answers come from, of `human`."""

    source: str
    imi: ImiFiles
    table: OneFile
    pairs: OneFile


@dataclass(frozen=True, kw_only=True)
class LikenessFiles:
    """Published likeness to people, of `stats.likeness`."""

    tables: tuple[str, ...]
    decisions: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OfStats:
    """What `stats` names outside of the study."""

    likeness: LikenessFiles


@dataclass(frozen=True, kw_only=True)
class NamedUnits:
    """Units of `visualisations` or `explanation_kinds`."""

    units: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WithoutLabels:
    """Networks scored without labels, of `label_free`."""

    models: tuple[str, ...]
    localizability: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """Networks that are looked at more closely, of `sensitivity`."""

    models: tuple[str, ...]
    map_models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InputParams:
    """What says which files are inputs, how many images there must be, how many networks may lack their files, and which
    networks are named.
    """

    processor: str
    images: ImagePlace
    models: Roster
    scores: Similarities
    activations: KeptUnits
    tasks: TaskSizes
    human: People
    visualisations: NamedUnits
    explanations: Texts
    label_free: WithoutLabels
    explanation_kinds: NamedUnits
    sensitivity: Rebuilt
    stats: OfStats
