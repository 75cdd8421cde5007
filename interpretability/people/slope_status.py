"""Words for where the slope of a similarity comes from."""

from __future__ import annotations

CALIBRATED = "calibrated"  # fitted to answers that tell it
NOT_IDENTIFIED = "not identified"  # fitted, but the answers do not tell it
PUBLISHED = "published"  # not fitted: the one of the paper, for its similarity
NOT_CALIBRATED = "not calibrated"  # not fitted: that one again, for another similarity
