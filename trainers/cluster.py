"""Which machines train together: told by flags, by TF_CONFIG, by Slurm or by Kubernetes.

Nothing here starts TensorFlow: what the environment says is read, checked, and told as a `Cluster`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import flags

from radkit.errors import UserError

PORT = 2222  # where a host listens, unless its address says another
_PORTS_OF_SLURM = range(10000, 26000)
_TASKS_A_HOST = 16  # ports that one Slurm job has to itself on a machine


@dataclass(frozen=True)
class Asked:
    """What the command line says of hosts and of a TPU.

    Attributes:
        hosts: Addresses of all hosts in the same order on each, as `name:port`; empty: not told by flags.
        host: Which of them this is, from 0 on; -1: not told.
        tpu: `local` on a TPU machine itself, or the TPU's name or address (`grpc://...`).
        tpu_zone: Google Cloud zone of a TPU that is named.
        tpu_project: Google Cloud project of a TPU that is named.
        wait_minutes: How long hosts wait for one another when they start; 0: without end.
    """

    hosts: tuple[str, ...] = ()
    host: int = -1
    tpu: str = ""
    tpu_zone: str = ""
    tpu_project: str = ""
    wait_minutes: float = 60.0


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class Cluster:
    """Hosts that train together, each a process of its own.

    Attributes:
        hosts: Their addresses, `name:port`, the chief's first.
        host: Which of them this process is, from 0 on.
        told_by: Who said so, for messages.
    """

    hosts: tuple[str, ...]
    host: int
    told_by: str


def define(values: flags.FlagValues) -> None:
    """Adds the flags of hosts and TPUs to a program's."""
    flags.DEFINE_list("hosts", [], "Hosts that train together, as a:2222,b:2222; the same on each.", flag_values=values)
    flags.DEFINE_integer("host", -1, "Which of --hosts this is, from 0 on.", flag_values=values)
    flags.DEFINE_float(
        "wait_minutes", 60.0, "How long hosts wait for one another at the start; 0: without end.", 0.0,
        flag_values=values,
    )  # fmt: skip
    flags.DEFINE_string("tpu", "", "TPU: local, its name, or its address.", flag_values=values)
    flags.DEFINE_string("tpu_zone", "", "Zone of the TPU that --tpu names.", flag_values=values)
    flags.DEFINE_string("tpu_project", "", "Project of the TPU that --tpu names.", flag_values=values)


def asked(values: flags.FlagValues) -> Asked:
    """Returns what the flags of `define` say."""
    return Asked(
        hosts=tuple(values["hosts"].value),
        host=values["host"].value,
        tpu=values["tpu"].value,
        tpu_zone=values["tpu_zone"].value,
        tpu_project=values["tpu_project"].value,
        wait_minutes=values["wait_minutes"].value,
    )


def found(said: Asked, environ: Mapping[str, str]) -> Cluster | None:
    """Returns the hosts that train together, or None where nobody names several.

    The first that speaks is taken: flags, TF_CONFIG, Slurm (within `srun`), Kubernetes (an indexed Job).

    Args:
        said: From the command line.
        environ: The process's environment.

    Raises:
        UserError: Hosts are told by halves, or flags and TF_CONFIG contradict each other.
    """
    by_flags, by_tf_config = _of_flags(said), _of_tf_config(environ)
    if by_flags and by_tf_config and (by_flags.hosts, by_flags.host) != (by_tf_config.hosts, by_tf_config.host):
        raise UserError(
            f"--hosts and --host say host {by_flags.host} of {', '.join(by_flags.hosts)}, TF_CONFIG says host "
            f"{by_tf_config.host} of {', '.join(by_tf_config.hosts)}; leave the flags out or unset TF_CONFIG"
        )
    told = by_flags or by_tf_config or _of_slurm(environ) or _of_kubernetes(environ)
    return told if told and len(told.hosts) > 1 else None


def _of_flags(said: Asked) -> Cluster | None:
    if not said.hosts:
        if said.host != -1:
            raise UserError(f"--host={said.host} says which of --hosts this is, and --hosts is missing; name all hosts")
        return None
    if said.host == -1:
        raise UserError(f"--hosts names {len(said.hosts)} hosts, and --host is missing; say which this is, from 0 on")
    return _checked(said.hosts, said.host, "--hosts")


def _of_tf_config(environ: Mapping[str, str]) -> Cluster | None:
    text = environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        told = json.loads(text)
        machines, task = told["cluster"], told["task"]
        kind, index = str(task["type"]), int(task["index"])
        jobs = {str(name): [str(address) for address in _listed(found)] for name, found in machines.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UserError(
            'TF_CONFIG is not {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}'
            f" ({type(error).__name__}: {error}); mend or unset it"
        ) from error
    if strange := sorted({*jobs, kind} - {"chief", "worker"}):
        raise UserError(
            f"TF_CONFIG names the jobs {', '.join(strange)}; radkit trains on chief and worker, which are alike, and "
            "needs no parameter servers or evaluators: leave others out"
        )
    chiefs, workers = jobs.get("chief", []), jobs.get("worker", [])
    if not 0 <= index < len(jobs.get(kind, [])):
        raise UserError(f"TF_CONFIG says {kind} {index}, and its cluster has {len(jobs.get(kind, []))} of them")
    return _checked((*chiefs, *workers), index + (len(chiefs) if kind == "worker" else 0), "TF_CONFIG")


def _listed(addresses: Any) -> list[Any]:
    """Returns a job's addresses; one that is no list would be taken for a list of letters."""
    if not isinstance(addresses, list):
        raise TypeError(f"{addresses!r} is no list of addresses")
    return addresses


def _of_slurm(environ: Mapping[str, str]) -> Cluster | None:
    # Within sbatch, but not started by srun, there is one process, whatever the job's number of tasks.
    if "SLURM_STEP_ID" not in environ or environ.get("SLURM_STEP_NUM_TASKS", "1") == "1":
        return None
    needed = ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE")
    _require("Slurm", environ, needed, "start radkit with srun")
    total, job, host = (_number("Slurm", environ, n) for n in ("SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_PROCID"))
    names, counts = slurm_hosts(environ[needed[2]]), slurm_counts(environ[needed[3]])
    if len(names) != len(counts) or sum(counts) != total:
        raise UserError(
            f"Slurm names {len(names)} nodes ({environ[needed[2]]}) and tasks {environ[needed[3]]} on them, "
            f"{total} in all, which do not fit; name the hosts with --hosts and --host"
        )
    first = _PORTS_OF_SLURM[job * _TASKS_A_HOST % len(_PORTS_OF_SLURM)]
    hosts = [f"{name}:{first + local}" for name, count in zip(names, counts) for local in range(count)]
    told = _checked(hosts, host, "Slurm")
    here = environ.get("SLURMD_NODENAME", "")
    if here and hosts[host].rpartition(":")[0] != here:
        raise UserError(
            f"Slurm's task {host} runs on {here}, and by blocks it would run on {hosts[host].rpartition(':')[0]}; "
            "start it with srun --distribution=block"
        )
    return told


def slurm_hosts(text: str) -> list[str]:
    """Returns the names in a list of Slurm's.

    Raises:
        UserError: It is no such list.

    >>> slurm_hosts("gpu[08-10,12],login,r[1-2]n[1-2]")
    ['gpu08', 'gpu09', 'gpu10', 'gpu12', 'login', 'r1n1', 'r1n2', 'r2n1', 'r2n2']
    """
    names = []
    for word in re.split(r",(?![^\[]*\])", text):
        parts = re.split(r"\[([^\[\]]*)\]", word)
        if not word or any(mark in part for part in parts for mark in "[]"):
            raise UserError(f"Slurm's list of nodes {text!r} cannot be read; name the hosts with --hosts and --host")
        grown = [""]
        for place, part in enumerate(parts):
            choices = _numbers(part, text) if place % 2 else [part]
            grown = [before + choice for before in grown for choice in choices]
        names += grown
    return names


def _numbers(ranges: str, text: str) -> list[str]:
    found_numbers = []
    for one in ranges.split(","):
        told = re.fullmatch(r"(\d+)(?:-(\d+))?", one)
        if not told or int(told[2] or told[1]) < int(told[1]):
            raise UserError(f"Slurm's list of nodes {text!r} cannot be read; name the hosts with --hosts and --host")
        first, last = told[1], told[2] or told[1]
        found_numbers += [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]
    return found_numbers


def slurm_counts(text: str) -> list[int]:
    """Returns the numbers of tasks on each node, as Slurm shortens them.

    Raises:
        UserError: They are none.

    >>> slurm_counts("2(x3),1")
    [2, 2, 2, 1]
    """
    counts = []
    for one in text.split(","):
        told = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", one)
        if not told:
            raise UserError(f"Slurm's tasks of nodes {text!r} cannot be read; name the hosts with --hosts and --host")
        counts += [int(told[1])] * int(told[2] or 1)
    return counts


def _of_kubernetes(environ: Mapping[str, str]) -> Cluster | None:
    # An index alone is any indexed Job, of which each pod may train a run of its own.
    if "JOB_COMPLETION_INDEX" not in environ or "JOB_COMPLETIONS" not in environ:
        return None
    _require(
        "Kubernetes",
        environ,
        ("JOB_NAME", "JOB_SERVICE"),
        "set them in the Job's env (docs/training_on_several_hosts.md)",
    )
    total, host = (_number("Kubernetes", environ, n) for n in ("JOB_COMPLETIONS", "JOB_COMPLETION_INDEX"))
    name, service = environ["JOB_NAME"], environ["JOB_SERVICE"]
    hosts = [f"{name}-{number}.{service}:{PORT}" for number in range(total)]
    return _checked(hosts, host, "Kubernetes")


def _number(who: str, environ: Mapping[str, str], name: str) -> int:
    if not environ[name].isdecimal():
        raise UserError(f"{who}'s {name} is {environ[name]!r}, and must be a whole number from 0 on; set it right")
    return int(environ[name])


def _require(who: str, environ: Mapping[str, str], names: Sequence[str], advice: str) -> None:
    if missing := [name for name in names if not environ.get(name)]:
        raise UserError(f"{who} says by halves which hosts train: {', '.join(missing)} are missing; {advice}")


def _checked(hosts: Sequence[str], host: int, told_by: str) -> Cluster:
    """Returns the cluster, each host with a port."""
    addresses = tuple(address if ":" in address else f"{address}:{PORT}" for address in hosts)
    for address in addresses:
        told = re.fullmatch(r"[^\s:/]+:(\d{1,5})", address)
        if not told or not 0 < int(told[1]) < 65536:
            raise UserError(
                f"{told_by} names a host {address!r}; name each as name:port, as 10.0.0.1:{PORT}, "
                "the port from 1 to 65535"
            )
    if twice := sorted({address for address in addresses if addresses.count(address) > 1}):
        raise UserError(f"{told_by} names {', '.join(twice)} twice; each host has an address of its own")
    if not 0 <= host < len(addresses):
        raise UserError(f"{told_by} names {len(addresses)} hosts, and this would be host {host}; count from 0 on")
    return Cluster(addresses, host, told_by)
