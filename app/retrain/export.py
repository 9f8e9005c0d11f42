"""`python -m app.retrain.export JOBDIR FORM TARGET [RANKS]`: a job for another trainer.

Reads the same `job.json` and `rows.jsonl` as `app.retrain.train` and writes the new folder TARGET
(exporters/). Exit codes: 0 written, 2 the job cannot be written in that form, 3 torch is missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from app.errors import ConfigError
from app.retrain.config import read_job
from app.retrain.examples import read_file
from app.retrain.exporters.prime_rl import write_prime_rl
from app.retrain.exporters.tinker import write_tinker
from app.retrain.exporters.verl import write_verl
from app.retrain.objectives import make_objective
from app.retrain.plan import make_units
from app.retrain.train import FINISHED, INVALID, JOB, MISSING, ROWS

FORMS: Mapping[str, Callable[..., None]] = {
    "tinker": write_tinker,
    "prime_rl": write_prime_rl,
    "verl": write_verl,
}
USAGE = f"usage: python -m app.retrain.export JOBDIR {'|'.join(FORMS)} TARGET [RANKS]"


def main(arguments: list[str]) -> int:
    if len(arguments) not in (3, 4) or arguments[1] not in FORMS:
        return _end(INVALID, USAGE)
    folder, form, target, *ranks = arguments
    if ranks and (form != "prime_rl" or not ranks[0].isdecimal() or ranks[0] == "0"):
        return _end(INVALID, USAGE)
    try:
        _write(Path(folder), form, Path(target), {"ranks": int(ranks[0])} if ranks else {})
    except ConfigError as invalid:
        return _end(INVALID, invalid.message)
    except FileExistsError as there:
        return _end(INVALID, str(there))
    except ModuleNotFoundError as missing:
        return _end(MISSING, f"{missing.name} is not installed: pip install 'verivote[train]'")
    return FINISHED


def _write(folder: Path, form: str, target: Path, options: Mapping[str, int]) -> None:
    # Imported here: a tokenizer needs the extra `train`.
    from app.retrain.tokenising import Tokeniser

    job = read_job(folder / JOB)
    objective = make_objective(job.train.objective, job.train.objective_options)
    tokeniser = Tokeniser(job.base)
    place = tokeniser.place if job.train.shaping.process_weight > 0 else None
    groups = read_file(folder / ROWS, tokenise=tokeniser, place=place)
    units = make_units(groups, objective, job.train.shaping)
    if not units:
        raise ConfigError(f"none of {len(groups)} groups has what {objective.name} learns from")
    FORMS[form](target, units, job.train, objective, **options)


def _end(code: int, text: str) -> int:
    sys.stderr.write(f"verivote export: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
