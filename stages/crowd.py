"""Ratings of people, or of simulated ones, who say which images show a text: checked, added up, and made into scores of texts.

Reads   data/explanations; tables in data/external/explanations/ratings (crowd.source table)
Writes  data/crowd: ratings.parquet, rejected.csv (ratings that do not count, and why), raters.csv, exclusions.csv,
        agreement.csv, labels.parquet, posteriors.parquet, scores.parquet, score_draws.parquet (draws of ours, by raters that
        count), second_guide.parquet (scores with another guide as prior), check.json (whether intervals may be believed),
        next_questions.csv (crowd.design adaptive), run.json
Run     dvc repro crowd

A score is a correlation of a unit's activations with the presence of a text's concept over all images, in [-1, 1]. The guide
alone, which no rating enters, stands beside every score. Without texts or ratings all tables are written without rows.
"""

from __future__ import annotations

from study.command import arguments, run
from study.crowd.results import CrowdParams, Folders, write_crowd
from study.files.tables import fresh_folder
from study.params.reading import load

FOLDERS = ("params", "explanations", "ratings", "out")


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, folders=FOLDERS)
    params = load(args.params, CrowdParams)
    folders = Folders(args.explanations, args.ratings, fresh_folder(args.out))
    write_crowd(folders, params)


if __name__ == "__main__":
    run(main)
