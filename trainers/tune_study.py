"""The search itself, by optuna: which values are tried next, which runs are cut short; kept in `study.db`.

Trial n's values depend on the seed, n and the trials before it alone, so that a search that was stopped goes on as if
it had not been.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from trainers.tune_space import Domain, Space

SEARCHES = ("bayes", "random")
PRUNERS = ("none", "median", "halving", "hyperband")
_ENDED = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
_WHY, _STEP, _CUT = "why", "best_step", "cut_short"


@dataclass(frozen=True)
class Asked:
    """How values are searched for.

    Attributes:
        search: `random` (Bergstra and Bengio 2012, https://jmlr.org/papers/v13/bergstra12a.html) or `bayes`, the
            tree-structured Parzen estimator (Bergstra et al. 2011, https://papers.nips.cc/paper/4443), whose first ten
            trials are random.
        prune: Which runs are cut short: `none`; those below the `median` of the others at the same evaluation;
            successive `halving` (Jamieson and Talwalkar 2016, https://arxiv.org/abs/1502.07943): of the runs that came
            to an evaluation the best third goes on; `hyperband` (Li et al. 2018, https://arxiv.org/abs/1603.06560):
            several of these, more and less patient.
        seed: Of the search.
    """

    search: str = "bayes"
    prune: str = "none"
    seed: int = 0


@dataclass(frozen=True)
class Row:
    """A trial that ended.

    Attributes:
        number: From 0 on.
        state: `finished`, `cut short` or `failed`.
        score: Best validation score; of one that was cut short, until then; None: undefined.
        step: At which it was reached.
        values: The varied fields.
        why: Of one that failed.
        course: Validation scores, by the number of the evaluation.
    """

    number: int
    state: str
    score: float | None
    step: int | None
    values: Mapping[str, Any]
    why: str
    course: Mapping[int, float]


def opened(path: Path, asked: Asked, num_evaluations: int) -> optuna.Study:
    """Returns the study of a file, a new one or what an earlier process left.

    Args:
        path: Its SQLite file.
        asked: How to search.
        num_evaluations: Of a whole run: what hyperband's most patient runs get.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = {
        "none": optuna.pruners.NopPruner,
        "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
        "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
        "hyperband": lambda: optuna.pruners.HyperbandPruner(1, num_evaluations, 3),
    }[asked.prune]()
    return optuna.create_study(
        storage=f"sqlite:///{path}", study_name="radkit", direction="maximize", load_if_exists=True, pruner=pruner
    )


def trials(
    study: optuna.Study, space: Space, asked: Asked, wanted: int
) -> Iterator[tuple[optuna.Trial, dict[str, Any]]]:
    """Yields trials with their values until so many have ended, first the one that a stopped process left.

    Who takes a trial must `tell` of it before taking the next one.
    """
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        trial = optuna.Trial(study, left._trial_id)
        yield trial, _suggested(trial, space, asked)
    while len(study.get_trials(deepcopy=False, states=_ENDED)) < wanted:
        trial = study.ask()
        yield trial, _suggested(trial, space, asked)


def _sampler(asked: Asked, number: int, place: int) -> optuna.samplers.BaseSampler:
    seed = int(np.random.SeedSequence((asked.seed, number, place)).generate_state(1)[0])
    known = {"random": optuna.samplers.RandomSampler, "bayes": optuna.samplers.TPESampler}
    return known[asked.search](seed=seed)


def begin_with(study: optuna.Study, values: Mapping[str, Any], space: Space) -> None:
    """Lets the first trial be of these values; nothing where the study has begun."""
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial({name: _kept(space[name], value) for name, value in values.items()})


def _kept(domain: Domain, value: Any) -> Any:
    """Returns a value as the study keeps it: of a choice its text, since it keeps no sequences."""
    return _text(value) if domain.kind == "choice" else value


def _text(value: Any) -> str:
    return json.dumps(value)


def _suggested(trial: optuna.Trial, space: Space, asked: Asked) -> dict[str, Any]:
    """Returns a trial's values, each drawn by a seed of its own: a process may have been killed between two of them."""
    values = {}
    for place, (name, domain) in enumerate(space.items()):
        trial.study.sampler = _sampler(asked, trial.number, place)
        values[name] = _one(trial, name, domain)
    return values


def _one(trial: optuna.Trial, name: str, domain: Domain) -> Any:
    if domain.kind == "choice":
        texts = [_text(value) for value in domain.values]
        return domain.values[texts.index(str(trial.suggest_categorical(name, texts)))]
    low, high = domain.values
    if domain.kind.endswith("int"):
        return trial.suggest_int(name, low, high, log=domain.kind == "logint")
    return trial.suggest_float(name, low, high, log=domain.kind == "log")


def is_hopeless(study: optuna.Study, trial: optuna.Trial, scores: Sequence[float | None]) -> bool:
    """Tells whether a run is to be cut short by one of its evaluations that was not judged before.

    Args:
        study: Its study.
        trial: The run's.
        scores: Validation scores of its evaluations, in order; None: undefined, which says nothing.
    """
    if trial.user_attrs.get(_CUT):  # judged so, then killed before the run had ended
        return True
    judged = study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for number, score in enumerate(scores, 1):
        if score is None or number in judged:
            continue
        trial.report(score, number)
        if trial.should_prune():
            trial.set_user_attr(_CUT, True)
            return True
    return False


def tell(
    study: optuna.Study, trial: optuna.Trial, score: float | None, *, step: int | None = None, why: str = ""
) -> None:
    """Keeps how a trial ended.

    Args:
        study: Its study.
        trial: The trial.
        score: Best validation score; None: it failed.
        step: At which that was.
        why: Of one that failed; not empty.
    """
    trial.set_user_attr(_STEP, step)
    trial.set_user_attr(_WHY, why)
    if score is None:
        # Of trials that failed optuna learns nothing, and would go on trying rates at which training diverges; of those
        # that were cut short it learns that they are worse than all that finished.
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(trial, score)


def tell_cut(study: optuna.Study, trial: optuna.Trial) -> None:
    """Keeps that a trial was cut short."""
    study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def rows(study: optuna.Study, space: Space) -> list[Row]:
    """Returns the trials that ended, by their number."""
    return [_row(trial, space) for trial in study.get_trials(deepcopy=False, states=_ENDED)]


def _row(trial: optuna.trial.FrozenTrial, space: Space) -> Row:
    values = {name: _back(space[name], trial.params[name]) if name in trial.params else None for name in space}
    course = trial.intermediate_values
    facts, why = trial.user_attrs, trial.user_attrs.get(_WHY, "")
    if trial.state == optuna.trial.TrialState.COMPLETE:
        state, score = "finished", trial.value
    else:
        state, score = ("failed", None) if why else ("cut short", max(course.values(), default=None))
    return Row(trial.number, state, score, facts.get(_STEP), values, why, dict(course))


def _back(domain: Domain, kept: Any) -> Any:
    if domain.kind != "choice":
        return kept
    return {_text(value): value for value in domain.values}[str(kept)]
