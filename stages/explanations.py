"""Texts that explain units: where their concepts are, texts made here, automatic scores, and questions for people.

Reads   data/inputs/explanations (texts, superclasses and list of concepts, checked), data/external/explanations/presence, guide
        and gold, data/images, data/models, data/activations (whole columns of units with texts)
Writes  data/explanations: images, units, concepts, texts, scores, pairs and draws (Parquet), columns.safetensors and
        presence.safetensors, questions.csv and pages.json (for people), gold.csv (their questions with known answers), run.json
Run     dvc repro explanations          Embeddings of a guide come from the work store; safe to interrupt.
        python -m stages.explanations --plan    what the guide would compute, how long and how large; computes nothing
"""

from __future__ import annotations

from study.command import arguments, run
from study.explanations.inputs import Inputs, TextParams
from study.explanations.judging import forecast
from study.explanations.run import write_explanations
from study.files.tables import fresh_folder
from study.params.reading import load

DEFAULTS = {
    "params": "params.yaml",
    "texts": ("data/inputs/explanations", "texts as the stage inputs read them"),
    "presence": ("data/external/explanations/presence", "folder of presence that another program computed"),
    "guide": ("data/external/explanations/guide", "folder of probabilities of a guide"),
    "gold": ("data/external/explanations/gold", "folder of known labels"),
    "images": "data/images",
    "models": "data/models",
    "activations": "data/activations",
    "out": "data/explanations",
}


FLAGS = {"plan": {"action": "store_true", "help": "say what the guide would compute, how long and how large, and end"}}


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, defaults=DEFAULTS, flags=FLAGS)
    inputs = Inputs(args, load(args.params, TextParams))
    if args.plan:
        print(forecast(inputs))
        return
    write_explanations(inputs, fresh_folder(args.out))


if __name__ == "__main__":
    run(main)
