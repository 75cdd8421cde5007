"""A fabricated IMI record: response tables in the form of the real ones (45 columns), with answers drawn from known units.

Facts of the form: 63 sessions an experiment, each of some practice blocks of 5 trials, 40 main and 5 catch trials; 84
units with 30 answers, or 80 units of which 40 have 31 and 40 have 32; tasks 0 to 10 of a unit in turn.
"""

import numpy as np
import pandas as pd

from study.people.answers_from_imi import COLUMNS

N_SESSIONS, N_MAIN, N_CATCH, N_BATCHES = 63, 40, 5, 11
CATCH_AT = np.array([4, 13, 22, 31, 40])
LAYERS = ("layer1_0_conv1", "layer2_1_bn2", "layer3_5_conv3", "layer4_2_conv1")


def experiment(prefix, model, mode="natural", n_units=84, layers=LAYERS, seed=0, first=0, **changes):
    """Rows of one experiment. `changes`: column -> values of the sessions (by position), for planted faults.

    Sessions start as accepted ones with consistent facts. Tasks are numbered from `first`.
    """
    rng = np.random.default_rng(seed)
    blocks = rng.choice([1, 1, 1, 2], N_SESSIONS)
    facts = pd.DataFrame(
        {
            "task_id": [f"{prefix}-{first + number}" for number in range(N_SESSIONS)],
            "task_number": first + np.arange(N_SESSIONS),
            "response_index": 0,
            "participant_id": "anonymized",
            "blocks": blocks,
            "seconds": rng.uniform(300, 900, N_SESSIONS).round(3),
            "instruction": rng.uniform(20, 90, N_SESSIONS).round(3),
            "passed_checks": True,
            "multi_participation": False,
            **{f"{check}_result": True for check in CHECKS},
        }
    )
    for name, values in changes.items():
        for place, value in values.items():
            facts.loc[place, name] = value
    length = 5 * facts["blocks"].to_numpy(dtype=int) + N_MAIN + N_CATCH
    session = np.repeat(np.arange(N_SESSIONS), length)
    place = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    block_place = place - 5 * facts["blocks"].to_numpy(dtype=int)[session]
    demo = block_place < 0
    catch = np.isin(block_place, CATCH_AT) & ~demo
    main = ~demo & ~catch
    turn = session[main] * N_MAIN + block_place[main] - (block_place[main][:, None] > CATCH_AT).sum(1)
    unit, count = turn % n_units, turn // n_units
    truth = rng.uniform(0.6, 1.0, n_units)
    correct = np.ones(len(session), dtype=bool)
    correct[main] = rng.random(main.sum()) < truth[unit]
    frame = facts.iloc[session].reset_index(drop=True)
    blank = np.full(len(session), "", dtype=object)
    batch, channel, layer, kind, source = (blank.copy() for _ in range(5))
    batch[main] = [f"{value:.1f}" for value in count % N_BATCHES]
    channel[main] = [f"{value:.1f}" for value in 3 * unit]
    layer[main] = np.asarray(layers, dtype=object)[unit % len(layers)]
    kind[main], source[main] = mode, model
    batch[catch], channel[catch], layer[catch] = "-1.0", "7.0", "mixed4a"
    kind[catch], source[catch] = "catch_trial", "catch/manual"
    frame = frame.assign(
        is_demo=demo,
        catch_trial=catch,
        correct=correct,
        choice=np.where(correct, "b", "a"),
        button_pressed=rng.integers(0, 6, len(session)),
        trial_index=place + 7,
        corrected_trial_index=np.where(demo, "", block_place.astype(str)),
        time_elapsed=20_000 + 9_000 * place,
        rt=rng.uniform(1500, 9000, len(session)).round(1),
        switched_queries=rng.random(len(session)) < 0.5,
        batch=batch,
        channel=channel,
        layer=layer,
        mode=kind,
        model=source,
        trial_type="2afc-image-confidence-response",
        internal_node_id="0.0",
        **dict.fromkeys(["min_query", "max_query", "min_references", "max_references"], "anonymized"),
    )
    return with_details(frame)


CHECKS = ("demo_trials", "catch_trials", "total_response_time", "row_variability", "instruction_time")


def with_details(frame):
    """Fills the columns of details from the facts of the sessions, and takes those facts away."""
    block = ~frame["is_demo"]
    by = [frame["task_id"], frame["response_index"]]
    upper = (block & (frame["button_pressed"] <= 2)).groupby(by).transform("sum")
    right = (frame["catch_trial"] & frame["correct"]).groupby(by).transform("sum")
    frame = frame.assign(
        confidence=frame["button_pressed"] % 3 + 1,
        demo_trials_details="{'n_demo_trials_blocks': " + frame["blocks"].astype(str) + "}",
        catch_trials_details="{'ratio': "
        + (right / 5).astype(str)
        + ", 'correctly_answered': "
        + right.astype(str)
        + "}",
        total_response_time_details="{'total_time': " + frame["seconds"].astype(str) + "}",
        row_variability_details="{'n_upper_row': "
        + upper.astype(str)
        + ", 'n_lower_row': "
        + (45 - upper).astype(str)
        + "}",
        instruction_time_details="{'total_time': " + frame["instruction"].astype(str) + "}",
        instruction_time_details_extracted=frame["instruction"],
        total_response_time_details_extracted=frame["seconds"],
        row_variability_details_details_upper_extracted=upper,
        row_variability_details_details_lower_extracted=45 - upper,
        catch_trials_details_ratio_extracted=right / 5,
        catch_trials_details_correctly_answered_extracted=right,
        demo_trials_details_extracted=frame["blocks"],
    )
    return frame[list(COLUMNS)]


def write(folder, *experiments, name="responses_main.csv"):
    """Write a response table; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.concat(experiments, ignore_index=True).to_csv(folder / name, index=False)
    return folder / name


def image_map(frame):
    """The nested map of images of the units in these rows."""
    found = {}
    main = frame[(frame["channel"] != "") & ~frame["catch_trial"]]
    for model, layer, channel, batch in main[["model", "layer", "channel", "batch"]].drop_duplicates().to_numpy():
        unit = found.setdefault(model, {}).setdefault(f"{layer}/channel_{float(channel):.0f}", {})
        images = {f"{side}_{k}.png": f"n01440764/n01440764_{k}.JPEG" for side in ("min", "max") for k in range(10)}
        unit[f"batch_{float(batch):.0f}"] = images
    return found
