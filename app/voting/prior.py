"""What agreement says about correctness before a route has labels of its own.

A logistic score over the evidence of a vote. The order in which it puts evidence is used as it is;
its level never is: a route's own labels set offset and steepness (`app.voting.confidence`).
"""

from __future__ import annotations

INTERCEPT = 1.0
SLOPES = {
    "ln_n": 0.03,
    "leader_share": 0.11,
    "runner_up_share": -0.18,
    "distinct": -0.61,
    "unanimous": 0.18,
    "null_share": 0.09,
}
