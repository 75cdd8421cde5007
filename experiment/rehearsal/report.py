"""What a rehearsal tells at its end, line by line; a line with ILL says that something is wrong, one with LUCK that it may be.

Intervals miss what is known in a share of all rehearsals, one in twenty for that of the slope, however right everything is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from experiment.rehearsal.choosing import Choices
from experiment.rehearsal.picking import Picked
from experiment.rehearsal.rating import Ticks

WELL, ILL = "as it should be", "NOT AS IT SHOULD BE"
LUCK = "OUTSIDE (bad luck, or a fault: rehearse with another seed)"
ENOUGH = 0.9  # share of units whose known score must lie in the interval of the measured one


def of_choices(found: Choices, n_browsers: int) -> Iterator[str]:
    """Lines about the tasks of two alternatives: the analysed table first, then what is known and what was found."""
    yield found.analysis.told()
    accepted = int(found.verdicts["accepted"].sum())
    yield f"{len(found.walked)} simulated people came, {n_browsers} of them in Chromium; {accepted} sessions count"
    yield found.ends.to_string(index=False)
    told = found.surprises
    yield f"verdicts       {_word(not told)}: {len(found.verdicts) - len(told)} of {len(found.verdicts)} as the people expect"
    yield from told
    record = found.record
    unmatched = int(record.unmatched["n_responses"].sum())
    whole = record.verdicts[record.verdicts["check"] == "accepted"]
    agree = int(whole["n_agree"].sum()), int(whole["n_sessions"].sum())
    yield (
        f"as imi         {_word(unmatched == 0 and agree[0] == agree[1] and record.source == 'simulated')}: "
        f"{len(record.answers)} answers, {unmatched} unmatched; {agree[0]} of {agree[1]} recomputed verdicts agree; "
        f"marked {record.source}"
    )
    truth = found.found
    inside = int(truth.units["inside"].sum()), len(truth.units)
    yield (
        f"scores         {WELL if truth.share_inside >= ENOUGH else LUCK}: the known score lies in the 95 % interval of HIS for "
        f"{inside[0]} of {inside[1]} units ({truth.share_inside:.1%})"
    )
    ends = "" if truth.low is None or truth.high is None else f", 95 % {truth.low:.2f} to {truth.high:.2f}"
    yield (
        f"slope          {WELL if truth.slope_inside else LUCK}: the study's calibration finds {truth.slope:.2f}{ends}; "
        f"without chance in the answers it would find {truth.known_slope:.2f}"
    )


def of_ticks(found: Ticks, n_browsers: int) -> Iterator[str]:
    """Lines about the rating pages."""
    agreement, pages = found.progress["agreement"], found.progress["pages"]
    ends = Counter(each.outcome for each in found.walked)
    yield (
        f"{len(found.walked)} simulated raters came, {n_browsers} of them in Chromium ({_counted(ends)}); "
        f"{pages['answered']} of {pages['wanted']} pages"
    )
    rejected = int(found.read.rejected["count"].sum()) if len(found.read.rejected) else 0
    yield (
        f"ratings        {_word(rejected == 0 and found.n_other == 0)}: {len(found.read.accepted)} read by the stage crowd, "
        f"{rejected} rejected, {found.n_other} other than ticked"
    )
    yield f"agreement      Fleiss' kappa {_number(agreement['kappa'])}, Krippendorff's alpha {_number(agreement['alpha'])}"


def of_picks(found: Picked) -> Iterator[str]:
    """Lines about pages on which one thing is picked."""
    answers, ends = int(found.units["n_answers"].sum()), Counter(each.outcome for each in found.walked)
    yield f"{len(found.walked)} simulated people came ({_counted(ends)}); {answers} picks about {len(found.units)} units"
    yield f"picks          {_word(found.n_other == 0)}: {found.n_other} in the table other than picked"
    n = found.units["n_answers"].to_numpy()
    right, expected = (float(n @ found.units[name].to_numpy()) / answers for name in ("right", "expected"))
    yield (
        f"shares         {WELL if abs(found.z) < 2 else LUCK}: {right:.3f} right, {expected:.3f} expected of these people "
        f"({found.z:+.1f} standard errors)"
    )


def _word(well: bool) -> str:
    return WELL if well else ILL


def _counted(ends: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(ends.items()))


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
