"""What the router knows from the text of a prompt, what a decision costs, and what it saves.

Text: five folds over the questions of a recorded set; the online model learns four of them once,
in a seeded order, and scores the fifth; trees are fitted on the counts and on the scores that the
online model gave before it learned. `hard`: under half of the recorded samples are right. `gain`:
what the vote of all of them gains over one. `probe`: how much three random samples disagree, judged
on the others. AUC, with an interval over questions (bootstrap).

RouteLLM: the same folds, the target is that the strong model is right and the weak one is not. APGR
is the mean, over every share of questions sent to the strong model, of the part of the gap between
the two that is closed. At random it is .5.

Log: each recorded set read as a route's log by the product's own code, every question labelled.

Latency: features and decision of one prompt, in CPU time of this thread.

Traffic: planted tasks (bench/router_traffic.py) answered twice, with and without learning.

    python bench/router.py DIR [--part text|routellm|log|latency|traffic|drift] [--json OUT]
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # not bench/, where `verifiers` is the folder of other measurements

from app.routing.difficulty import find_difficulty  # noqa: E402
from app.routing.drift import PageHinkley  # noqa: E402
from app.routing.examples import Example  # noqa: E402
from app.routing.features import Features, read_features  # noqa: E402
from app.routing.fit import RowsOfRoute, _fit_trees  # noqa: E402
from app.routing.gate import EASIEST, LOSS_ON  # noqa: E402
from app.routing.model import DifficultyModel, RouteModel, row_of  # noqa: E402
from app.routing.online import Inputs, OnlineModel, inputs_of  # noqa: E402
from bench.router_traffic import Gateway, Lived, planted  # noqa: E402
from verifiers.base import AnswerContract, AnswerKind  # noqa: E402

FOLDS = 5
ORDERS = 3
RESAMPLES = 1000
SETS: tuple[tuple[str, str, AnswerKind], ...] = (
    ("math_train", "gpt-3.5-turbo(n8)", "math"),
    ("math_train", "gpt-4(n8)", "math"),
    ("gsm8k", "gpt-4o-mini", "number"),
    ("medqa", "gpt-4o-mini", "choice"),
    ("csqa", "gemma-2-9b-it", "choice"),
)


@dataclass(frozen=True)
class Question:
    text: str
    answers: tuple[str | None, ...]
    right: tuple[bool, ...]

    @property
    def share(self) -> float:
        return sum(self.right) / len(self.right)

    @property
    def gain(self) -> float:
        """Of the vote over all recorded samples, ties to the first seen."""
        counts = Counter(answer for answer in self.answers if answer is not None)
        if not counts:
            return 0.0
        leader = counts.most_common(1)[0][0]
        is_right = self.right[self.answers.index(leader)]
        return max(0.0, is_right - self.share)


@dataclass(frozen=True)
class Measured:
    """A number with its interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def read_questions(folder: Path, dataset: str, model: str) -> list[Question]:
    found = []
    with gzip.open(folder / f"samples_{dataset}.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if row["model"] == model:
                samples = row["samples"]
                answers = tuple(each["answer"] for each in samples)
                right = tuple(bool(each["correct"]) for each in samples)
                found.append(Question(row["question"], answers, right))
    return found


def bootstrap(count: int, measure: Callable[[np.ndarray], float]) -> Measured:
    """95 % percentile interval; `measure` takes how often each question was drawn."""
    draw = np.random.default_rng(0)
    values = sorted(
        measure(np.bincount(draw.integers(0, count, count), minlength=count).astype(float))
        for _ in range(RESAMPLES)
    )
    whole = measure(np.ones(count))
    return Measured(whole, values[int(0.025 * RESAMPLES)], values[int(0.975 * RESAMPLES) - 1])


def measure_auc(scores: Sequence[float], targets: Sequence[float]) -> Measured:
    """P(a question that is a target scores above one that is not), ties half."""
    _, place = np.unique(np.array(scores), return_inverse=True)
    is_target = np.array(targets) > 0

    def auc(drawn: np.ndarray) -> float:
        up = np.bincount(place, weights=drawn * is_target)
        down = np.bincount(place, weights=drawn * ~is_target)
        below = np.cumsum(down) - down / 2
        return float(up @ below / (up.sum() * down.sum()))

    return bootstrap(len(is_target), auc)


def measure_apgr(scores: Sequence[float], weak: Sequence[bool], strong: Sequence[bool]) -> Measured:
    order = np.argsort(-np.array(scores), kind="stable")
    change = (np.array(strong).astype(float) - np.array(weak))[order]

    def apgr(drawn: np.ndarray) -> float:
        times = drawn[order]
        closed = np.cumsum(times * change)
        middle = closed - times * change / 2
        return float((middle @ times) / times.sum() / closed[-1])

    return bootstrap(len(change), apgr)


def measure_ratio(over: Sequence[float], under: Sequence[float]) -> Measured:
    top, bottom = np.array(over, dtype=float), np.array(under, dtype=float)
    return bootstrap(len(top), lambda drawn: float((drawn @ top) / (drawn @ bottom)))


def out_of_fold(
    inputs: Sequence[Inputs], targets: Sequence[float], *, seed: int
) -> tuple[list[float], list[float]]:
    """Score of every question by models that have not seen it: the online one's and the trees'."""
    places = list(range(len(inputs)))
    random.Random(seed).shuffle(places)
    by_online, by_trees = [0.0] * len(inputs), [0.0] * len(inputs)
    for fold in range(FOLDS):
        online = OnlineModel()
        rows, gains = [], []
        for number, place in enumerate(places):
            if number % FOLDS == fold:
                continue
            rows.append(row_of(inputs[place], online.logit(inputs[place])))
            gains.append(targets[place])
            online.learn(inputs[place], targets[place])
        trees = _fit_trees(rows, gains)
        for number, place in enumerate(places):
            if number % FOLDS == fold:
                logit = online.logit(inputs[place])
                by_online[place] = logit
                by_trees[place] = trees.predict(row_of(inputs[place], logit))
    return by_online, by_trees


def mean_over_orders(inputs: Sequence[Inputs], targets: Sequence[float]) -> list[list[float]]:
    """Both models' scores, as the mean of the ranks over a few orders."""
    totals = [[0.0] * len(inputs), [0.0] * len(inputs)]
    for seed in range(ORDERS):
        for total, scores in zip(totals, out_of_fold(inputs, targets, seed=seed), strict=True):
            for rank, place in enumerate(sorted(range(len(scores)), key=scores.__getitem__)):
                total[place] += rank
    return totals


def inputs_for(text: str, kind: AnswerKind) -> Inputs:
    return inputs_of(features_for(text, kind), None)


def features_for(text: str, kind: AnswerKind) -> Features:
    return read_features(text, AnswerContract(kind=kind), verifiers=0, decisive=False)


def measure_text(folder: Path) -> Iterator[dict[str, Any]]:
    for dataset, model, kind in SETS:
        questions = read_questions(folder, dataset, model)
        inputs = [inputs_for(question.text, kind) for question in questions]
        hard = [float(question.share < 0.5) for question in questions]
        gain = [question.gain for question in questions]
        row: dict[str, Any] = {"set": f"{dataset} / {model}", "n": len(questions)}
        for name, targets in (("hard", hard), ("gain", gain)):
            row[f"{name}_share"] = sum(target > 0 for target in targets) / len(targets)
            online, trees = mean_over_orders(inputs, targets)
            length = [float(len(question.text)) for question in questions]
            for who, scores in (("length", length), ("online", online), ("trees", trees)):
                row[f"{name}_{who}"] = measure_auc(scores, targets)
        probed = probe_pairs(questions)
        row["hard_probe"] = measure_auc([d for d, _ in probed], [hard for _, hard in probed])
        yield row


def probe_pairs(questions: Sequence[Question]) -> list[tuple[float, float]]:
    """Disagreement of three samples, and whether under half of the others are right."""
    draw, pairs = random.Random(0), []
    for question in questions:
        size = len(question.answers)
        picked = set(draw.sample(range(size), 3))
        said = Counter(question.answers[place] for place in picked)
        others = [question.right[place] for place in range(size) if place not in picked]
        pairs.append((float(3 - max(said.values())), float(sum(others) < len(others) / 2)))
    return pairs


def measure_routellm(folder: Path) -> Iterator[dict[str, Any]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(folder / "routing_routellm.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            rows.setdefault(row["dataset"], []).append(row)
    for dataset, found in sorted(rows.items()):
        kind: AnswerKind = "number" if dataset == "gsm8k" else "choice"
        inputs = [inputs_for(row["question"], kind) for row in found]
        targets = [float(row["strong_ok"] and not row["weak_ok"]) for row in found]
        online, trees = mean_over_orders(inputs, targets)
        length = [float(len(row["question"])) for row in found]
        result: dict[str, Any] = {"set": dataset, "n": len(found)}
        for who, scores in (("length", length), ("online", online), ("trees", trees)):
            weak, strong = ([bool(row[f"{w}_ok"]) for row in found] for w in ("weak", "strong"))
            result[f"apgr_{who}"] = measure_apgr(scores, weak, strong)
        yield result


def measure_log(folder: Path) -> Iterator[dict[str, Any]]:
    for dataset, model, kind in SETS:
        questions = read_questions(folder, dataset, model)
        random.Random(0).shuffle(questions)
        route = RowsOfRoute()
        for number, question in enumerate(questions):
            route.learn(an_example(question, kind, number))
        before = route.model.to_model("recorded", 1, max_loss=0.01)
        fitted = route.fit()
        after = route.model.to_model("recorded", 2, max_loss=0.01)
        yield {
            "set": f"{dataset} / {model}",
            "labels": before.labels,
            "auc": before.auc,
            "standing": before.standing,
            "easiest_third_lost": lost_by_easiest(route.model),
            "trees": fitted.kept,
            "auc_online": fitted.auc_online,
            "auc_trees": fitted.auc_trees,
            "standing_after_fit": after.standing,
        }


def lost_by_easiest(model: RouteModel) -> float:
    """Mean loss of the newest points that one sample each would have been drawn for."""
    return statistics.fmean(p.loss for p in [*model.points][-LOSS_ON:] if p.rank < EASIEST)


def an_example(question: Question, kind: AnswerKind, number: int) -> Example:
    return Example(
        received_at=60.0 * number,
        policy="recorded",
        features=features_for(question.text, kind),
        gain=question.gain,
        passed=question.right[0],
        is_fair=True,
    )


def measure_latency(folder: Path) -> Iterator[dict[str, Any]]:
    questions = [
        (question, kind)
        for dataset, model, kind in (SETS[0], SETS[2], SETS[3])
        for question in read_questions(folder, dataset, model)[:600]
    ]
    route = RowsOfRoute()
    for number, (question, kind) in enumerate(questions):
        route.learn(an_example(question, kind, number))
    plain = route.model.to_model("recorded", 1, max_loss=1.0)
    rows = [row_of(inputs_for(q.text, kind), 0.0) for q, kind in questions]
    trees = _fit_trees(rows, [q.gain for q, _ in questions])
    boosted = replace(plain, predictor=replace(plain.predictor, trees=trees), standing="learned")
    long = " ".join(question.text for question, _ in questions[:60])[:20_000]
    texts = {
        "recorded prompts": [question.text for question, _ in questions],
        "20,000 characters": [long] * 300,
    }
    for what, prompts in texts.items():
        for who, model in (("by hand", None), ("online", plain), ("online and trees", boosted)):
            took = sorted(decision_ms(prompt, model) for prompt in prompts)
            yield {
                "prompts": what,
                "n": len(took),
                "model": who,
                "median_ms": statistics.median(took),
                "p99_ms": took[int(0.99 * (len(took) - 1))],
            }


def decision_ms(prompt: str, model: DifficultyModel | None) -> float:
    begun = time.thread_time()
    features = features_for(prompt, "number")
    find_difficulty(features, model, "recorded")
    return (time.thread_time() - begun) * 1000


def measure_traffic(_: Path) -> Iterator[dict[str, Any]]:
    for checked in (False, True):
        pairs: list[tuple[Lived, Lived]] = []
        left_at = []
        for seed in range(5):
            learning, still = (Gateway(learns=learns, checked=checked) for learns in (True, False))
            lived = [
                (learning.answer(task), still.answer(task))
                for task in planted(2000, seed=seed, p_easy=0.999, p_hard=0.65)
            ]
            first = next((n for n, (a, _) in enumerate(lived) if a.standing == "learned"), None)
            left_at.append(first)
            pairs += [pair for pair in lived if pair[0].standing == "learned"]
        spent = [(a.asked, b.asked) if checked else (a.samples, b.samples) for a, b in pairs]
        right = [(a.is_right, b.is_right) for a, b in pairs]
        yield {
            "traffic": "a decisive verifier looks" if checked else "people label, nothing decisive",
            "requests": 5 * 2000,
            "left_shadow_at": left_at,
            "decided": len(pairs),
            "easy_share": statistics.fmean(a.route == "easy" for a, _ in pairs),
            "explored": statistics.fmean(a.explored for a, _ in pairs),
            "samples_without": statistics.fmean(b for _, b in spent),
            "samples_with": statistics.fmean(a for a, _ in spent),
            "spent_with_over_without": measure_ratio(*zip(*spent, strict=True)),
            "accuracy_without": statistics.fmean(b for _, b in right),
            "accuracy_with": statistics.fmean(a for a, _ in right),
            "accuracy_change": measure_ratio([a - b for a, b in right], [1] * len(right)),
        }


def measure_drift(_: Path) -> Iterator[dict[str, Any]]:
    """Groups between two false alarms, and groups until a real one."""
    for rate in (0.5, 0.7, 0.9):
        alarms, groups, draw = 0, 400_000, random.Random(0)
        watch = PageHinkley()
        for _ in range(groups):
            watch = watch.after(float(draw.random() < rate))
            if watch.has_moved:
                alarms, watch = alarms + 1, PageHinkley()
        yield {"pass_rate": f"{rate} holds still", "groups_per_alarm": groups / max(1, alarms)}
    for before, after in ((0.8, 0.5), (0.9, 0.6), (0.8, 0.65)):
        delays = []
        for seed in range(200):
            draw, watch = random.Random(seed), PageHinkley()
            for _ in range(300):
                watch = watch.after(float(draw.random() < before))
            count = 0
            while not watch.has_moved:
                count += 1
                watch = watch.after(float(draw.random() < after))
            delays.append(count)
        yield {
            "pass_rate": f"{before} becomes {after}",
            "groups_until_alarm": statistics.median(delays),
            "slowest_of_20": sorted(delays)[int(0.95 * len(delays))],
        }


PARTS: dict[str, Callable[[Path], Iterator[dict[str, Any]]]] = {
    "text": measure_text,
    "routellm": measure_routellm,
    "log": measure_log,
    "latency": measure_latency,
    "traffic": measure_traffic,
    "drift": measure_drift,
}


def shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def plain(value: Any) -> Any:
    if isinstance(value, Measured):
        return {"value": value.value, "low": value.low, "high": value.high}
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder of the recorded samples")
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="only this part")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args()
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    print(f"{machine}; intervals are 95 % bootstraps over questions or requests")
    results: dict[str, Any] = {"machine": machine}
    for part in options.part or PARTS:
        print(f"\n{part}")
        results[part] = []
        for row in PARTS[part](options.directory):
            print("  " + "; ".join(f"{name} {shown(value)}" for name, value in row.items()))
            results[part].append({name: plain(value) for name, value in row.items()})
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
