"""Score units without labels, beside MIS: over their whole range, of one meaning, of alike top images, of place, of sparseness.

Reads   data/activations, data/tasks, data/images, data/models
Writes  data/label_free: units.parquet, a row a unit of the networks in label_free.models and similarity; localizability.csv, a
        row a layer of those in label_free.localizability; run.json; failures.csv
Run     dvc repro label_free           Resumes from the work store; safe to interrupt.
        python -m stages.label_free --plan    memory and time of the pass over the sample; computes no score
"""

from __future__ import annotations

from study.command import arguments, run
from study.files.tables import fresh_folder, write_csv, write_json, write_parquet
from study.label_free.job import Folders
from study.label_free.localizing import localized_layers
from study.label_free.parameters import LabelFreeParams
from study.label_free.plan import plan_text
from study.label_free.run import label_free_scores
from study.networks.failures import write_failures
from study.params.reading import load

DEFAULTS = {
    "params": "params.yaml",
    "activations": "data/activations",
    "tasks": "data/tasks",
    "images": "data/images",
    "models": "data/models",
    "code": "data/external/code",
    "out": "data/label_free",
}
FLAGS = {"plan": {"action": "store_true", "help": "say how long the pass takes and how large its sums are, and end"}}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    params = load(args.params, LabelFreeParams)
    folders = Folders(args.activations, args.tasks, args.images, args.models, args.code)
    if args.plan:
        print(plan_text(params, folders))
        return
    scored = label_free_scores(params, folders)
    localized, failed = localized_layers(params, folders)
    out = fresh_folder(args.out)
    write_parquet(out / "units.parquet", scored.table)
    write_csv(out / "localizability.csv", localized)
    write_failures(out / "failures.csv", [*scored.failures, *failed])
    write_json(out / "run.json", scored.note)


if __name__ == "__main__":
    run(main)
