"""What agreement says about correctness before a route has labels of its own.

A logistic score over the evidence of a vote. The order in which it puts evidence is used as it is;
its level never is: a route's own labels set offset and steepness (`app.voting.confidence`).

Written by `bench/fit_prior.py`, which says how; fitted on recorded votes under MIT licences only:
- openai-gsm: gsm8k / openai-gpt3-2021(4 models x1): 662 questions
- qwen-math: math_test100 / qwen2.5-math example set + RM scores (n8): 50 questions
- rankedvoting: csqa / gemma-2-9b-it: 610 questions
- tot: game24 / gpt-4(cot,T0.7): 53 questions
- tot: game24 / gpt-4(standard,T0.7): 53 questions

sha256 of those questions: 545043fab5ee46ff
"""

from __future__ import annotations

INTERCEPT = -0.1862
SLOPES = {
    "ln_n": 0.5402,
    "leader_share": 0.3705,
    "runner_up_share": -0.2180,
    "distinct": -0.7663,
    "unanimous": 0.0486,
    "null_share": 0.0570,
    "ln_lead": 1.4448,
    "both_kinds": 0.6347,
}
