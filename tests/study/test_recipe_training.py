"""Training by a recipe: cut anywhere it goes on to the same bytes, in several processes to one network; what is wrong is told."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from interpretability.errors import InputError
from study.files.store import WorkStore
from study.files.tables import csv_text
from study.images.manifest import open_images
from study.networks.recipes import rank, rows
from study.networks.recipes.a3 import Recipe
from study.networks.recipes.fitting import Fitting, Part
from study.networks.recipes.pictures import Altered, Batches, Labelled, drawing
from study.networks.recipes.rows import refuse_shares, trained
from study.networks.recipes.task import Task, kept_steps, read_state
from study.networks.similarity import step_name
from study.tabulating.inputs import with_numbers

RECIPE = Recipe(epochs=3, warmup_epochs=1, batch_size=12, learning_rate=1.0, train_size=32, test_size=32, held_out=0.2)
STEPS = (0, 1, 2, 4, 8, 12)  # 48 images learnt from: 4 steps an epoch


@pytest.fixture
def task(drawn_study):
    kwargs = json.dumps({"channels": [8, 8, 8, 8], "num_classes": 4, "drop_rate": 0.3})
    row = {"name": "net", "constructor": "test_resnet", "kwargs": kwargs, "weights": "trained", "preprocessing": ""}
    folders = {"images": str(drawn_study.folder / "images"), "root": "", "code": str(drawn_study.folder / "code")}
    return Task(row=row, recipe=RECIPE, steps=STEPS, seed=0, pictures="p", kind="cpu", processes=1, **folders)


def changed(task, **changes):
    return Task(**{**{name: getattr(task, name) for name in Task.__dataclass_fields__}, **changes})


def labelled(task, share=0.2, batch=12):
    return Labelled.of(open_images(task.images), task.seed, share, batch)


def contents(found):
    return {step: path.read_bytes() for step, path in found.items()}


class Cut(Exception):
    pass


def cut_after(monkeypatch, steps):
    """A training ends as a killed one does, in the arithmetic of the step after `steps`."""
    forward, count = Fitting._logits, iter(range(10_000))

    def logits(self, model, seen):
        if model.training and next(count) >= steps:
            raise Cut
        return forward(self, model, seen)

    monkeypatch.setattr(Fitting, "_logits", logits)


def test_a_training_cut_at_any_step_goes_on_to_the_same_bytes(task, monkeypatch, tmp_path):
    whole = contents(trained(task))
    assert list(whole) == list(STEPS)
    assert len(set(whole.values())) == len(STEPS)
    for steps in sorted(random.Random(5).sample(range(1, 12), 3)):
        monkeypatch.setenv("MIS_STORE", str(tmp_path / str(steps)))
        with monkeypatch.context() as patch:
            cut_after(patch, steps)
            with pytest.raises(Cut):
                Fitting(task, Part(), None, state_seconds=0.0).run()
        store = WorkStore.open()
        begin = task.newest_state(store)
        assert begin is not None
        found = task.found(store)
        assert list(found) == [step for step in STEPS if step <= steps]
        # checkpoints that are there are not made again
        times = {step: path.stat().st_mtime_ns for step, path in found.items()}
        assert contents(trained(task)) == whole
        assert {step: task.found(store)[step].stat().st_mtime_ns for step in found} == times
        assert task.newest_state(store) is None  # a training that is done needs none


def killed(number, task, store):
    """A process that is killed in a training, when half of the state of step 7 is written."""
    os.environ["MIS_STORE"] = str(store)
    save = torch.save

    def half(content, path):
        save(content, path)
        if content["step"] == 7:
            os.truncate(path, os.path.getsize(path) // 2)
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = half
    Fitting(task, Part(), None, state_seconds=0.0).run()


def test_a_killed_process_goes_on_to_the_same_bytes(task, monkeypatch, tmp_path):
    whole, store = contents(trained(task)), tmp_path / "killed"
    with pytest.raises(ProcessExitedException) as ended:
        start_processes(killed, (task, store), start_method="spawn")
    assert ended.value.signal_name == "SIGKILL"
    monkeypatch.setenv("MIS_STORE", str(store))
    begin = task.newest_state(WorkStore.open())
    assert begin is not None
    assert read_state(begin)["step"] == 6
    assert list(task.found(WorkStore.open())) == [0, 1, 2, 4]
    assert contents(trained(task)) == whole


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_training_in_half_precision_goes_on_to_the_same_bytes(task, monkeypatch, tmp_path):
    found = []
    for name, cuts in (("whole", ()), ("cut", (6,))):
        monkeypatch.setenv("MIS_STORE", str(tmp_path / name))
        store = WorkStore.open()
        for steps in cuts:
            with monkeypatch.context() as patch:
                cut_after(patch, steps)
                with pytest.raises(Cut):
                    Fitting(task, Part("cuda:0"), None, state_seconds=0.0).run()
        Fitting(task, Part("cuda:0"), task.newest_state(store), state_seconds=0.0).run()
        found.append(contents(task.found(store)))
    assert list(found[0]) == list(STEPS)
    assert found[0] == found[1]


def test_a_state_behind_a_lost_checkpoint_is_not_gone_on_from(task, monkeypatch):
    cut_after(monkeypatch, 6)
    with pytest.raises(Cut):
        Fitting(task, Part(), None, state_seconds=0.0).run()
    store = WorkStore.open()
    assert task.newest_state(store) is not None
    task.found(store)[2].unlink()
    assert task.newest_state(store) is None


def test_who_decodes_changes_nothing(task, monkeypatch, tmp_path):
    first = changed(task, steps=(4,), recipe=Recipe(**{**vars(RECIPE), "epochs": 1, "warmup_epochs": 0}))
    here = contents(trained(first))
    monkeypatch.setenv("MIS_STORE", str(tmp_path / "other"))
    monkeypatch.setenv("MIS_DECODERS", "2")
    random.seed(1)
    torch.manual_seed(1)
    assert contents(trained(first)) == here


def test_two_processes_train_one_network(task):
    """The processes themselves refuse to end with weights that differ (below); they share the first one's statistics."""
    both = changed(task, steps=(8,), recipe=Recipe(**{**vars(RECIPE), "epochs": 2}), processes=2)
    (path,) = trained(both).values()
    state = load_file(path)
    assert all(bool(torch.isfinite(value).all()) for value in state.values())
    alone = load_file(trained(changed(both, processes=1))[8])
    assert state.keys() == alone.keys()
    assert any(not torch.equal(state[name], alone[name]) for name in state)


def share(number, world, task, store, steps):
    """One of several processes of a training, which ends after `steps` as a killed one does."""
    os.environ["MIS_STORE"] = str(store)
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{store}-{steps}", rank=number, world_size=world)
    with pytest.MonkeyPatch.context() as patch, suppress(Cut):
        cut_after(patch, steps)
        Fitting(task, Part(rank=number, world=world), task.newest_state(WorkStore.open()), state_seconds=0.0).run()
    torch.distributed.destroy_process_group()


def test_three_processes_go_on_to_the_same_bytes(task, tmp_path):
    """Sums of three or more numbers hang on their order: torch must not change it within a training."""
    short = Recipe(**{**vars(RECIPE), "epochs": 1, "warmup_epochs": 0, "held_out": 0.0})
    three = changed(task, steps=(4,), recipe=short, processes=3)
    _ = short.optimiser(torch.nn.Linear(2, 2)), short.loss(), short.mixing(4), short.augmenting()  # imported once
    found = []
    for name, cuts in (("whole", (99,)), ("cut", (2, 99))):
        store = tmp_path / name
        for steps in cuts:
            start_processes(share, (3, three, store, steps), nprocs=3, start_method="spawn")
        found.append(contents(three.found(WorkStore(store))))
    assert found[0]
    assert found[0] == found[1]


def test_processes_that_end_with_other_weights_are_refused(task, monkeypatch):
    fitting = Fitting(task, Part(rank=0, world=2), None)

    def gathered(digests, own):
        digests[:] = [own, "another"]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gathered)
    with pytest.raises(RuntimeError, match="net: the 2 processes of its training ended with other weights"):
        fitting._refuse_apart(torch.nn.Linear(2, 2))


def test_draws_of_an_image_hang_on_it_and_the_epoch_alone(task):
    pictures = Altered(labelled(task), RECIPE.augmenting(), 0, "net")
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    first = pictures[0, 5][0]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002
    random.seed(9)
    _ = pictures[0, 6]
    assert torch.equal(pictures[0, 5][0], first)
    assert not torch.equal(pictures[1, 5][0], first)
    assert not torch.equal(Altered(labelled(task), RECIPE.augmenting(), 0, "other")[0, 5][0], first)


def test_generators_are_as_before_also_after_an_error():
    state = random.getstate()
    with pytest.raises(ZeroDivisionError), drawing(3):
        _ = 1 / (random.random() * 0)
    assert random.getstate() == state


def test_an_epoch_shows_each_image_at_most_once_and_processes_share_its_batches():
    shown_rows = np.arange(100, 150)
    one, two = (list(Batches(shown_rows, 12, 3, (0, "net"), 0, part)) for part in ((0, 1), (1, 2)))
    assert len(one) == 12
    for epoch in range(3):
        shown = [place for batch in one[4 * epoch : 4 * epoch + 4] for place in batch]
        assert {each for each, _ in shown} == {epoch}
        assert len({row for _, row in shown}) == 48
    assert [row for _, row in one[0]] != sorted(row for _, row in one[0])
    assert {row for batch in one[:4] for _, row in batch} != {row for batch in one[4:8] for _, row in batch}
    other = list(Batches(shown_rows, 12, 3, (0, "net"), 0, (0, 2)))
    assert [sorted(a + b) for a, b in zip(two, other, strict=True)] == [sorted(batch) for batch in one]
    assert list(Batches(shown_rows, 12, 3, (0, "net"), 5, (0, 1))) == one[5:]


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ((5, 2, 2, 1, True), {0: 0.0, 1: 0.2, 2: 0.4, 4: 0.8, 5: 1.0, 10: 2.0}),
        ((10, 4, 3, 2, True), {0: 0.0, 1: 0.1, 3: 0.3, 9: 0.9, 10: 1.0, 20: 2.0, 40: 4.0}),
        ((3, 5, 0, 3, True), {0: 0.0, 3: 1.0, 9: 3.0, 15: 5.0}),
        ((5, 2, 2, 1, False), {10: 2}),
        ((600, 1, 10, 1, True), {0: 0.0, 1: 0.00166667, 10: 0.0166667, 100: 0.166667, 600: 1.0}),
    ],
)
def test_steps_at_which_weights_are_kept(settings, wanted):
    *numbers, series = settings
    assert kept_steps(*numbers, series=series) == wanted


@pytest.mark.parametrize(
    ("epochs", "name"),
    [(0.0, "net-step0"), (5e-05, "net-step0.00005"), (1.5625e-06, "net-step0.0000015625"), (100.0, "net-step100")],
)
def test_checkpoints_are_called_without_an_exponent(epochs, name):
    assert step_name("net", epochs) == name


def test_steps_within_the_first_epoch_stay_in_tables():
    facts = {"name": ["net-step0", "net-step0.25", "net", "control"], "step": ["0", "0.25", "1", ""]}
    others = {
        "top1": "",
        "last": ["0", "0", "1", "1"],
        "n_params": "9",
        "input_size": ["8", "8", "8", ""],
        "series": "net",
    }
    roster = with_numbers(pd.DataFrame({**facts, **others}))
    assert csv_text(roster[["name", "step", "last"]]).splitlines()[1:] == [
        "net-step0,0,0",
        "net-step0.25,0.25,0",
        "net,1,1",
        "control,,1",
    ]
    assert roster["step"].isna().tolist() == [False, False, False, True]


def test_images_held_out_are_not_learnt_from_and_keep_their_part(task):
    found = labelled(task)
    assert found.classes == ("category_00", "category_01", "category_02", "category_03")
    assert len(found.held_out) == 12
    assert not set(found.held_out) & set(found.learnt)
    assert len(found.learnt) + len(found.held_out) == 60
    assert labelled(task, share=0.0).held_out.tolist() == []
    more = labelled(task, share=0.5).held_out
    assert set(found.held_out) < set(more)


def images_with(tmp_path, labels):
    pd.DataFrame({"path": [f"{i}.png" for i in range(len(labels))], "label": labels}).to_parquet(
        tmp_path / "manifest.parquet"
    )
    return open_images(tmp_path)


@pytest.mark.parametrize(
    ("labels", "batch", "told"),
    [
        (
            ["a", "", "b"],
            2,
            r"1 of 3 images have no label \(1\.png is the first\), and the recipe learns labels: put every",
        ),
        (["a"] * 3, 2, "all 3 images have the label 'a', and the recipe learns to tell classes apart"),
        (["a", "b"] * 5, 10, r"batch_size is 10, but there are 8 images to learn from \(10 less the 2 of .*at most 8"),
    ],
)
def test_images_that_nothing_can_be_learnt_from_are_refused(tmp_path, labels, batch, told):
    with pytest.raises(InputError, match=told):
        Labelled.of(images_with(tmp_path, labels), 0, 0.2, batch)


def test_processes_share_a_batch_in_pairs():
    refuse_shares(48, 3)
    with pytest.raises(
        InputError, match=r"batch_size is 20, but 8 GPUs share it, .* a multiple of 16; .* \(MIS_WORKERS\)"
    ):
        refuse_shares(20, 8)


def test_a_loss_that_is_no_number_is_told(task, monkeypatch):
    monkeypatch.setattr(Fitting, "_normalised", lambda self, pictures: pictures.float() * float("nan"))
    with pytest.raises(
        InputError, match=r"net: the loss is nan at step 1, in epoch 1, with a peak learning rate of 0\.00585938"
    ):
        Fitting(changed(task, steps=(1, 12)), Part(), None).run()


def test_outputs_that_are_no_classes_are_told(task):
    row = {**task.row, "kwargs": json.dumps({"num_classes": 5})}
    with pytest.raises(
        InputError, match=r"outputs are \(12, 5\) for a batch of 12 images; the recipe needs .* \(12, 4\)"
    ):
        Fitting(changed(task, row=row, steps=(12,)), Part(), None).run()


def test_the_problem_of_a_process_is_told_by_the_stage(task, monkeypatch):
    def here(module, file, processes):
        """One of the processes, as the launcher starts it."""
        assert (module, processes) == (rank.__name__, 2)
        for name, value in (("RANK", "0"), ("LOCAL_RANK", "0"), ("WORLD_SIZE", "1")):
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["rank", str(file)])
        rank.main()

    def launched(*arguments):
        with pytest.raises(InputError):
            here(*arguments)
        return 1

    row = {**task.row, "kwargs": json.dumps({"num_classes": 5})}
    monkeypatch.setattr(rows, "run_ranks", launched)
    with pytest.raises(InputError, match=r"^net: in training its outputs are \(12, 5\)"):
        trained(changed(task, row=row, steps=(12,), processes=2))
    monkeypatch.setattr(rows, "run_ranks", lambda *_: -9)
    with pytest.raises(
        RuntimeError, match=r"a process of its training ended with status -9 .* run the same command again"
    ):
        trained(changed(task, processes=2))


def test_what_a_task_hangs_on_finds_its_results(task):
    same = changed(task, images="/elsewhere", root="/pictures")
    assert same.ingredients == task.ingredients
    for change in ({"seed": 1}, {"kind": "A GPU"}, {"processes": 2}, {"pictures": "q"}, {"recipe": Recipe()}):
        assert changed(task, **change).ingredients != task.ingredients


def test_a_task_is_read_as_it_was_written(task, tmp_path):
    task.write(tmp_path / "task.json", tmp_path / "state.pt")
    read, begin, _ = Task.read(tmp_path / "task.json")
    assert read == task
    assert begin == tmp_path / "state.pt"
