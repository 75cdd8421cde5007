"""The folder data/explanations of a small study with known truth, made without a network: what the stage `crowd` reads.

Units look at one concept and see noise besides. Each has texts of methods whose order is known: `true` names the concept,
`broad` a superset, `narrow` a subset, `wrong` another concept. The guide is calibrated.
"""

import json

import numpy as np
import pandas as pd
from safetensors.numpy import save_file
from scipy.special import expit, logit

from interpretability.randomness import generator, key64

METHODS = ("true", "broad", "narrow", "wrong")
STUDY = "0123456789abcdef"
SEPARATION = 2.5


def presence_of(n_images, seed=0):
    """Concepts of an image as (4, n): star (1 in 6), star or disc (a superset), star in front of a house (a subset), fish."""
    rng = generator(seed, "concepts")
    star = rng.random(n_images) < 1 / 6
    disc, house, fish = rng.random(n_images) < 1 / 3, rng.random(n_images) < 1 / 3, rng.random(n_images) < 1 / 6
    return np.stack([star, star | disc, star & house, fish]).astype(np.float32)


CONCEPTS = ("a star", "a star or a disc", "a star before a house", "a fish")


def guide_of(presence, seed=0, separation=SEPARATION):
    """Exactly calibrated probabilities of each concept."""
    prevalence = presence.mean(axis=1, keepdims=True)
    noise = generator(seed, "guide").standard_normal(presence.shape)
    return expit(logit(prevalence) + separation * (separation * presence + noise) - separation**2 / 2).astype(
        np.float32
    )


def write(
    folder,
    *,
    n_units=6,
    n_images=600,
    n_asked=60,
    page=15,
    guide=True,
    second=False,
    simulated=True,
    distinct=False,
    seed=0,
):
    """Write the folder; images are rows 3, 5, 7, ... of the manifest, so that a row is no place. Returns the folder.

    second: another guide, better and with errors of its own, which draws nothing
    distinct: no image is drawn twice for a pair, as in the first of several waves.
    """
    folder.mkdir(parents=True, exist_ok=True)
    presence = presence_of(n_images, seed)
    guides = guide_of(presence, seed)
    images = 2 * np.arange(n_images) + 3
    star = (presence[0] - presence[0].mean()) / presence[0].std()
    strength = np.linspace(0.3, 0.6, n_units)[:, None]
    noise = generator(seed, "units").standard_normal((n_units, n_images))
    values = (strength * star + np.sqrt(1 - strength**2) * noise).astype(np.float32)
    units = pd.DataFrame({"model": "planted", "layer": "star", "unit": np.arange(n_units)})
    rows, draws = [], []
    for unit in range(n_units):
        abar = _standard(values[unit])
        for number, method in enumerate(METHODS):
            pair = len(rows)
            guided = np.mean(abar * _standard(guides[number])) if guide else np.nan
            true = np.mean(abar * _standard(presence[number]))
            key = {"pair": pair, "model": "planted", "layer": "star", "unit": unit, "method": method, "kind": "simple"}
            rows.append({**key, "text": CONCEPTS[number], "rho_true": true, "rho_guide_only": guided, "reason": ""})
            q = np.abs(abar * _standard(guides[number])) if guide else np.abs(abar)
            q = 0.8 * q / q.sum() + 0.2 / n_images
            places = generator(seed, "draws", pair).choice(n_images, n_asked, p=q, replace=not distinct)
            draws.append(
                pd.DataFrame(
                    {"pair": pair, "draw": np.arange(n_asked), "image": images[places], "q": q[places]}
                ).assign(weight=1 / (n_images * q[places]))
            )
    texts, drawn = pd.DataFrame(rows), pd.concat(draws, ignore_index=True)
    whole = {"pair": np.int32, "draw": np.int32, "image": np.int32}
    _parquet(folder / "images.parquet", pd.DataFrame({"image": images, "holdout": np.arange(n_images) % 2 == 0}), whole)
    _parquet(folder / "units.parquet", units, {})
    pairs = texts[["pair", "model", "layer", "unit", "text", "rho_true", "rho_guide_only", "reason"]]
    _parquet(folder / "pairs.parquet", pairs, whole)
    _parquet(folder / "draws.parquet", drawn, whole)
    _parquet(folder / "texts.parquet", texts.assign(formula="", source="known", file="", row=0), whole)
    status = "simulated: calibrated by construction" if guide else ""
    concepts = pd.DataFrame({"concept": CONCEPTS, "presence_source": "factors", "guide_source": "simulated" * guide})
    concepts = concepts.assign(guide_status=status, prevalence=presence.mean(axis=1), guide_mean=guides.mean(axis=1))
    _parquet(folder / "concepts.parquet", concepts, {})
    automatic = _automatic(texts, values, presence)
    _parquet(folder / "scores.parquet", automatic.assign(simulated=simulated), {})
    save_file({"values": values}, folder / "columns.safetensors")
    known = {"presence": presence} | ({"guide": guides} if guide else {})
    known |= {"second_guide": guide_of(presence, seed + 1, SEPARATION + 0.5)} if second else {}
    save_file(known, folder / "presence.safetensors")
    gold = _gold(texts, drawn, presence, images)
    gold.to_csv(folder / "gold.csv", index=False)
    questions = _questions(texts, drawn, gold, page)
    questions.to_csv(folder / "questions.csv", index=False)
    of_page = [
        {"page": int(n), "text": p["text"].iloc[0], "images": p["path"].tolist()} for n, p in questions.groupby("page")
    ]
    (folder / "pages.json").write_text(json.dumps({"study": STUDY, "pages": of_page}))
    run = {"study": STUDY, "n_images": n_images, "n_holdout": n_images // 2, "n_pairs": len(texts)}
    run |= {"n_questions": len(questions), "design": "mg_is", "simulated": simulated}
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def write_without(folder):
    """The folder of a study without texts: the same files, without rows."""
    write(folder, n_units=1, n_images=60, n_asked=5)
    for path in folder.iterdir():
        if path.suffix == ".parquet" and path.name != "images.parquet":
            pd.read_parquet(path)[:0].to_parquet(path, index=False)
        if path.suffix == ".csv":
            path.write_text(path.read_text().splitlines()[0] + "\n")
    save_file({"values": np.empty((0, 60), np.float32)}, folder / "columns.safetensors")
    save_file({}, folder / "presence.safetensors")
    return folder


def _automatic(texts, values, presence):
    """Automatic scores on every second image, and the share of the 40 most exciting ones of them that show the concept."""
    rows = []
    for text in texts.itertuples():
        a, c = values[text.unit][::2], presence[CONCEPTS.index(text.text)][::2]
        rho = np.mean(_standard(a) * _standard(c))
        recall = c[np.argsort(-a, kind="stable")[:40]].mean()
        rows.append(
            {"n_images": len(a), "rho": rho, "rho_se": 0.05, "control_rho": 0.0, "control_se": 0.05, "recall": recall}
        )
    key = texts[["model", "layer", "unit", "method", "kind", "text"]]
    return pd.concat([key, pd.DataFrame(rows)], axis=1).assign(presence_source="factors", reason="")


def _gold(texts, drawn, presence, images, n_each=5):
    """For each text n_each images that show it and as many that do not, none of them drawn."""
    rows = []
    for number, text in enumerate(CONCEPTS):
        free = ~np.isin(images, drawn.loc[drawn["pair"].isin(texts.loc[texts["text"] == text, "pair"]), "image"])
        for label in (0, 1):
            chosen = images[free & (presence[number] == label)][:n_each]
            rows += [{"text": text, "image": image, "label": label, "source": "factors"} for image in chosen]
    return pd.DataFrame(rows)


def _questions(texts, drawn, gold, page):
    """Each image of a text once, a text a page, in keyed order."""
    asked = drawn.merge(texts[["pair", "text"]], on="pair")[["text", "image"]]
    asked = pd.concat([asked, gold[["text", "image"]]]).drop_duplicates()
    asked["mix"] = [key64("order", text, image) for text, image in asked.itertuples(index=False)]
    asked = asked.sort_values(["text", "mix"], kind="stable")
    place = asked.groupby("text").cumcount().to_numpy()
    asked["page"], asked["position"] = np.cumsum(place % page == 0), place % page
    asked["path"] = [f"scenes/{image:06d}.png" for image in asked["image"]]
    return asked[["page", "position", "text", "image", "path"]].reset_index(drop=True)


def _standard(values):
    values = values.astype(np.float64)
    return (values - values.mean()) / values.std()


def _parquet(path, table, kinds):
    table.astype({name: kind for name, kind in kinds.items() if name in table}).to_parquet(path, index=False)


def ratings_of(folder, *, raters=6, each=3, error=0.2, seed=0):
    """Ratings as a service returns them: every page rated by `each` raters in turn, with one error rate."""
    questions = pd.read_csv(folder / "questions.csv")
    presence = pd.Series(_presence(folder).to_dict())
    truth = pd.MultiIndex.from_frame(questions[["text", "image"]]).map(presence).to_numpy(bool)
    parts = []
    for turn in range(each):
        wrong = generator(seed, "ratings", turn).random(len(questions)) < error
        rater = [f"r{(page * each + turn) % raters}" for page in questions["page"]]
        parts.append(questions.assign(rater=rater, rating=(truth != wrong).astype(int), seconds=15.0, study=STUDY))
    return pd.concat(parts, ignore_index=True)[["rater", "text", "path", "rating", "seconds", "page", "study"]].rename(
        columns={"path": "image"}
    )


def _presence(folder):
    from safetensors.numpy import load_file

    images = pd.read_parquet(folder / "images.parquet")["image"]
    rows = load_file(folder / "presence.safetensors")["presence"]
    return pd.DataFrame(rows.T, index=images, columns=CONCEPTS).T.stack()
