"""Several labels at once, each yes, no or unknown for itself."""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from radkit.evaluation import binary
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.measures import Measure
from radkit.metrics import weighted, weighted_calls


def endpoints(names: Sequence[str]) -> list[Endpoint]:
    """Returns one question a label; -1 is unknown, between 0 and 1 lies the share of readers who said yes."""
    return [Endpoint(name, _truth(name), _score(name)) for name in names]


def _truth(name: str) -> Callable[[Cases], np.ndarray]:
    def of(cases: Cases) -> np.ndarray:
        label = cases.numbers(f"label {name}")
        return np.where(label == -1, np.nan, label)

    return of


def _score(name: str) -> Callable[[Cases], np.ndarray]:
    return lambda cases: cases.numbers(f"probability {name}")


def measures(names: Sequence[str]) -> list[Measure]:
    """Returns the mean area over labels and each label's."""
    asked = endpoints(names)
    method = "mean over labels of the area under the ROC curve; labels without both yes and no left out"
    mean = Measure(
        "mean AUC", method, functools.partial(_mean_auc, asked), functools.partial(_any_known, asked), leads=True
    )
    return [mean, *[binary.auc(endpoint, f", {endpoint.name}") for endpoint in asked]]


def _mean_auc(asked: Sequence[Endpoint], cases: Cases, weights: np.ndarray) -> np.ndarray:
    found = [binary.answers(endpoint, cases) for endpoint in asked]
    areas = [weighted.auc(one.truth, one.score, weights[:, one.known]) for one in found]
    return weighted_calls.defined_mean(np.stack(areas, axis=1))


def _any_known(asked: Sequence[Endpoint], cases: Cases) -> np.ndarray:
    known: np.ndarray = np.any([binary.known(endpoint, cases) for endpoint in asked], axis=0)
    return known
