"""Make images that excite chosen units, and images that do not: explanations beside the natural ones.

Reads   data/images, data/models, data/activations
Writes  data/visualisations: images.parquet (a row an image, numbered behind the natural ones), units.parquet (a row a unit, seed
        set and side: what its images reach), pixels/NAME.npy, left_out.csv (units named that have no images, and why), run.json,
        failures.csv
Run     dvc repro visualisations       Resumes from the work store; safe to interrupt.
        python -m stages.visualisations --plan    what would be made and how long it takes; makes nothing
"""

from __future__ import annotations

from study.command import arguments, run
from study.files.tables import fresh_folder
from study.params.reading import load
from study.visualisations.parameters import Folders, VisualisationParams
from study.visualisations.plan import plan_text
from study.visualisations.run import make_all

DEFAULTS = {
    "params": "params.yaml",
    "activations": "data/activations",
    "images": "data/images",
    "models": "data/models",
    "code": "data/external/code",
    "out": "data/visualisations",
}
FLAGS = {"plan": {"action": "store_true", "help": "say what would be made and how long it takes, and end"}}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    params = load(args.params, VisualisationParams)
    folders = Folders(args.activations, args.images, args.models, args.code)
    if args.plan:
        print(plan_text(params, folders))
        return
    made = make_all(params, folders)
    made.write(fresh_folder(args.out))


if __name__ == "__main__":
    run(main)
