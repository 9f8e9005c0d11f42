"""Fits the score that every route's confidence starts from, and writes `app/voting/prior.py`.

Only sources whose licence lets us ship what is fitted on them: RankedVotingSC (CommonsenseQA by
gemma-2-9b-it, MIT), the example set of Qwen2.5-Math (MIT), Tree of Thoughts (Game of 24 by GPT-4,
MIT) and grade-school-math (four models, one sample each, MIT). Votes of other sources measure the
result (`verivote replay`) and take no part in it.

Evidence: five seeded orders a question; each order cut after 1, 2, 3, 4, 5, 6 and 8 samples, and
where the margin rule ends it at caps of 8, 16 and 40. Every question weighs the same, however many
cuts it has. Model: a ridge logistic regression with one intercept a source, so that how hard a
source is does not pass for what its votes mean. Afterwards all slopes are scaled so that the votes
at the end of the margin rule fit best with steepness 1, and the shipped intercept is the mean over
questions.

`both_kinds` is set, not fitted, because no licensed source has programs: two votes of different
kinds count as three of one kind (arXiv 2604.17433 takes such a pair as settled).

    python bench/fit_prior.py DIR [--write] [--json OUT]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import platform
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.voting.confidence import Evidence, features_of  # noqa: E402
from app.voting.logistic import Cell as RankCell  # noqa: E402
from app.voting.logistic import fit_line, sigmoid  # noqa: E402

PRIOR = ROOT / "app" / "voting" / "prior.py"
LICENSED = ("rankedvoting", "qwen-math", "tot", "openai-gsm")
FILES = ("csqa", "math_test100", "game24", "gsm8k")
ORDERS = 5
PREFIXES = (1, 2, 3, 4, 5, 6, 8)
CAPS = (8, 16, 40)
MARGIN = 3
THREE = Evidence(n=3, a=3, b=0, distinct=1, nulls=0)
RIDGE = 30.0
"""Penalty on squared slopes."""
RIDGES = (2.0, 10.0, 30.0)
"""Those compared; the loss of each is printed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Equal evidence of one source, counted together."""

    source: int
    evidence: Evidence
    right: float
    """Weight of the cuts whose leader was right."""
    total: float


def read_questions(directory: Path) -> dict[str, list[dict]]:
    """Questions of the licensed sources by source and model."""
    found: dict[str, list[dict]] = defaultdict(list)
    for name in FILES:
        with gzip.open(directory / f"samples_{name}.jsonl.gz", "rt") as lines:
            for line in lines:
                row = json.loads(line)
                if row["source"] in LICENSED:
                    found[f"{row['source']}: {row['dataset']} / {row['model']}"].append(row)
    return dict(sorted(found.items()))


def evidence_after(answers: Sequence[str | None]) -> tuple[Evidence, str | None]:
    """Evidence of these answers, and their leader: the first of the most frequent."""
    counts = Counter(answer for answer in answers if answer is not None)
    top = counts.most_common(2)
    evidence = Evidence(
        n=len(answers),
        a=top[0][1] if top else 0,
        b=top[1][1] if len(top) > 1 else 0,
        distinct=len(counts),
        nulls=answers.count(None),
    )
    return evidence, top[0][0] if top else None


def margin_end(answers: Sequence[str | None], cap: int) -> int:
    """Samples that the margin rule takes of this order."""
    for taken in range(MARGIN, min(cap, len(answers))):
        evidence, _ = evidence_after(answers[:taken])
        if evidence.a - evidence.b >= MARGIN:
            return taken
    return min(cap, len(answers))


def cuts(row: dict, order: int, *, prefixes: bool) -> Iterator[tuple[Evidence, bool]]:
    """Evidence and truth at every cut of one order."""
    answers = [sample["answer"] for sample in row["samples"]]
    random.Random(f"{row['id']}/{order}").shuffle(answers)
    right = {sample["answer"]: bool(sample["correct"]) for sample in reversed(row["samples"])}
    ends = [margin_end(answers, cap) for cap in CAPS]
    if prefixes:
        ends += [prefix for prefix in PREFIXES if prefix <= len(answers)]
    for end in ends:
        evidence, leader = evidence_after(answers[:end])
        if evidence.a:
            yield evidence, right[leader]


def cells_of(questions: dict[str, list[dict]], *, prefixes: bool) -> list[Cell]:
    totals: dict[tuple[int, Evidence], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for source, rows in enumerate(questions.values()):
        for row in rows:
            seen = [cut for order in range(ORDERS) for cut in cuts(row, order, prefixes=prefixes)]
            for evidence, right in seen:
                cell = totals[source, evidence]
                cell[0] += right / len(seen)
                cell[1] += 1 / len(seen)
    return [Cell(source, evidence, *sums) for (source, evidence), sums in totals.items()]


def fit(rows: list[tuple[list[float], float, float]], penalty: list[float]) -> list[float]:
    """Ridge logistic regression by Newton's method. A row: features, weight right, weight."""
    size = len(penalty)
    theta = [0.0] * size
    for _ in range(60):
        gradient = [-p * t for p, t in zip(penalty, theta, strict=True)]
        hessian = [[penalty[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
        for values, right, total in rows:
            p = 1 / (1 + math.exp(-sum(v * t for v, t in zip(values, theta, strict=True))))
            used = [i for i, value in enumerate(values) if value]
            for i in used:
                gradient[i] += values[i] * (right - total * p)
                for j in used:
                    hessian[i][j] += values[i] * values[j] * total * p * (1 - p)
        step = solve(hessian, gradient)
        theta = [t + s for t, s in zip(theta, step, strict=True)]
        if max(map(abs, step)) < 1e-9:
            return theta
    raise SystemExit("the fit did not converge")


def solve(matrix: list[list[float]], vector: list[float]) -> list[float]:
    """Gaussian elimination with pivoting."""
    rows = [[*row, value] for row, value in zip(matrix, vector, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[i][size] / rows[i][i] for i in range(size)]


def one_hot(place: int, size: int) -> list[float]:
    return [float(i == place) for i in range(size)]


def fit_prior(questions: dict[str, list[dict]], ridge: float = RIDGE) -> dict[str, float]:
    """Slopes by feature, and `intercept`."""
    sources = len(questions)
    names = [name for name in features_of(THREE) if name != "both_kinds"]
    rows = [
        (
            [features_of(cell.evidence)[name] for name in names] + one_hot(cell.source, sources),
            cell.right,
            cell.total,
        )
        for cell in cells_of(questions, prefixes=True)
    ]
    theta = fit(rows, [ridge] * len(names) + [1e-3] * sources)
    slopes = theta[: len(names)]

    def bare(evidence: Evidence) -> float:
        values = features_of(evidence)
        return sum(slope * values[name] for slope, name in zip(slopes, names, strict=True))

    ends = [
        ([bare(cell.evidence), *one_hot(cell.source, sources)], cell.right, cell.total)
        for cell in cells_of(questions, prefixes=False)
    ]
    scale, *levels = fit(ends, [0.0] + [1e-3] * sources)
    weights = [len(rows) for rows in questions.values()]
    intercept = sum(w * level for w, level in zip(weights, levels, strict=True)) / sum(weights)
    pair = bare(THREE) - bare(Evidence(n=2, a=2, b=0, distinct=1, nulls=0))
    fitted = {name: scale * slope for name, slope in zip(names, slopes, strict=True)}
    return {"intercept": intercept, **fitted, "both_kinds": scale * pair}


def held_out_loss(questions: dict[str, list[dict]], ridge: float) -> list[float]:
    """Log loss on each dataset's votes at the end of the margin rule, by the prior of the others
    with an offset and a steepness of the dataset's own, as a route has them."""
    losses = []
    for held_out in sorted({name.split(" / ")[0] for name in questions}):
        others = {n: rows for n, rows in questions.items() if not n.startswith(held_out)}
        prior = fit_prior(others, ridge)
        own = {n: rows for n, rows in questions.items() if n not in others}
        cells = [
            RankCell(
                sum(prior[name] * value for name, value in features_of(cell.evidence).items()),
                cell.right,
                cell.total,
            )
            for cell in cells_of(own, prefixes=False)
        ]
        line = fit_line(cells, min_steepness=0.1)
        lost = sum(
            -c.right * math.log(sigmoid(line.a + line.b * c.rank))
            - (c.total - c.right) * math.log(sigmoid(-line.a - line.b * c.rank))
            for c in cells
        )
        losses.append(lost / sum(c.total for c in cells))
    return losses


def module_text(prior: dict[str, float], questions: dict[str, list[dict]], digest: str) -> str:
    counted = "".join(f"- {name}: {len(rows)} questions\n" for name, rows in questions.items())
    slopes = "".join(
        f'    "{name}": {value:.4f},\n' for name, value in prior.items() if name != "intercept"
    )
    return (
        '"""What agreement says about correctness before a route has labels of its own.\n\n'
        "A logistic score over the evidence of a vote. The order in which it puts evidence is used "
        "as it is;\nits level never is: a route's own labels set offset and steepness "
        "(`app.voting.confidence`).\n\n"
        "Written by `bench/fit_prior.py`, which says how; fitted on recorded votes under MIT "
        f"licences only:\n{counted}\nsha256 of those questions: {digest[:16]}\n"
        '"""\n\nfrom __future__ import annotations\n\n'
        f"INTERCEPT = {prior['intercept']:.4f}\nSLOPES = {{\n{slopes}}}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder of the recorded samples")
    parser.add_argument("--write", action="store_true", help="replace app/voting/prior.py")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    questions = read_questions(options.directory)
    digest = sha256(json.dumps(questions, sort_keys=True).encode()).hexdigest()
    prior = fit_prior(questions)
    print(f"{platform.machine()}, Python {platform.python_version()}, {ORDERS} orders a question")
    for name, rows in questions.items():
        print(f"  {len(rows):4} questions  {name}")
    for name, value in prior.items():
        print(f"  {name:16} {value:+.4f}")
    print("log loss on each dataset left out, and their mean")
    for ridge in RIDGES:
        losses = held_out_loss(questions, ridge)
        shown = " ".join(f"{loss:.4f}" for loss in [*losses, sum(losses) / len(losses)])
        print(f"  ridge {ridge:4.0f}  {shown}")
    if options.write:
        PRIOR.write_text(module_text(prior, questions, digest))
        print(f"wrote {PRIOR.relative_to(ROOT)}")
    if options.json:
        options.json.write_text(json.dumps({"prior": prior, "sha256": digest}, indent=2))


if __name__ == "__main__":
    main()
