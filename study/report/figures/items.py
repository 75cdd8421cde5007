"""What an item of a paper is: a figure, a table or a number, and what it takes to have the like of it here."""

from __future__ import annotations

from dataclasses import dataclass

GALLERY = "gallery"
MADE_GALLERY = "gallery of made images"  # units that the page shows with images made for them
ALL = 835  # networks of the MIS paper
# networks of the IMI record, as rosters call them (data/external/models/imi_names.csv)
NINE = (
    *("googlenet", "densenet201", "resnet50", "robust_resnet50_l2", "clip_resnet50", "wide_resnet50"),
    *("vit_b32", "clip_vit_b32", "convnext_b"),
)
DREAMSIM, NO_SCORE = ("dreamsim",), ()
# what networks and similarities are called in the papers
CALLED = {
    "dreamsim": "DreamSim",
    "lpips": "LPIPS",
    "dists": "DISTS",
    "googlenet": "GoogLeNet",
    "resnet50": "ResNet-50",
    "clip_resnet50": "Clip ResNet-50",
    "vit_b16": "ViT-B-16",
}
SCREEN = "a screenshot of the page that asks; `python -m experiment rehearse` writes ours, outside the chain"
METHOD = "of the method; the page shows tasks of real units instead"


@dataclass(frozen=True)
class Item:
    """A figure, table or number of a paper: ours names the figure here (or the gallery).

    networks: how many it shows, or which ones where they are few; empty where it is of none in particular. similar: the
    similarities of its scores, empty where no score takes part. people: whether their answers to tasks do; rated: whether
    ratings of texts do; guided: whether a machine says what pictures show. worlds: pictures, units and raters of both the
    paper's figure and ours are simulated, ours without a network. lacks: which data are missing and what gives them, where
    the figure here has no better reason of its own. but: what else differs from the paper's, whatever the study. half: the
    figure that shows the machine's half where that of people is missing. made: whether its explanations are made images.
    drawing: what the paper drew or photographed, of no data at all.
    """

    paper: str
    figure: str
    what: str
    ours: str = ""
    networks: int | tuple[str, ...] = ALL
    similar: tuple[str, ...] = DREAMSIM
    people: bool = False
    lacks: str = ""
    rated: bool = False
    guided: bool = False
    worlds: bool = False
    but: str = ""
    half: str = ""
    made: bool = False
    drawing: str = ""

    @property
    def name(self) -> str:
        return f"{self.paper} {self.figure}"

    @property
    def of_authors(self) -> bool:
        """Whether it is of data that its authors alone have: nothing here builds it."""
        return not self.ours and not self.drawing


def drawing(paper: str, figure: str, what: str, of: str) -> Item:
    """A figure of no data."""
    return Item(paper, figure, what, networks=(), similar=NO_SCORE, drawing=of)


def of_authors(paper: str, figure: str, what: str, lacks: str) -> Item:
    """A figure or table of data that only its authors have, and which those are."""
    return Item(paper, figure, what, networks=(), similar=NO_SCORE, lacks=lacks)
