"""Kill -9 of a real server under fifty participants: what it acknowledged stays, and the look-up can find what does not."""

import pytest

from benchmarks.experiment_folders import prepared
from benchmarks.experiment_kills import killed

PEOPLE, PAUSE = 50, 0.2


@pytest.fixture
def run(tmp_path):
    return prepared(tmp_path)


def test_nothing_acknowledged_is_lost_or_doubled_in_twenty_kills(run, tmp_path):
    found = killed(run, tmp_path / "log", server="study", kills=20, people=PEOPLE, pause=PAUSE)
    assert found.kills == len(found.restarts) == 20
    assert found.acknowledged > 20 * PEOPLE / 5  # people did answer between the kills
    assert (found.lost, found.doubled, found.integrity) == (0, 0, "ok")


def test_a_server_that_acknowledges_before_it_commits_is_found_out(run, tmp_path):
    found = killed(
        run, tmp_path / "log", server="early", kills=20, people=PEOPLE, pause=PAUSE, enough=lambda lost: lost > 0
    )
    assert found.lost > 0
    assert found.integrity == "ok"
