"""Who says which hosts train together, and what is refused of it."""

import json

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from radkit.errors import UserError
from trainers import cluster

TWO = ("a:2222", "b:2222")
SRUN = {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_JOB_ID": "77",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURMD_NODENAME": "gpu08",
}
JOB = {"JOB_COMPLETION_INDEX": "1", "JOB_COMPLETIONS": "2", "JOB_NAME": "lungs", "JOB_SERVICE": "radkit"}


def tf_config(kind: str = "worker", index: int = 0, **jobs: list[str]) -> dict[str, str]:
    told = {"cluster": jobs or {"worker": list(TWO)}, "task": {"type": kind, "index": index}}
    return {"TF_CONFIG": json.dumps(told)}


def asked(*words: str) -> cluster.Asked:
    values = flags.FlagValues()
    cluster.define(values)
    values(["program", *words])
    return cluster.asked(values)


def test_nobody_names_hosts() -> None:
    assert asked() == cluster.NOTHING_ASKED
    assert cluster.found(cluster.NOTHING_ASKED, {}) is None


def test_flags_name_hosts() -> None:
    said = asked("--hosts=10.0.0.1,b:99", "--host=1")
    assert cluster.found(said, {}) == cluster.Cluster(("10.0.0.1:2222", "b:99"), 1, "--hosts")


def test_flags_name_a_tpu() -> None:
    said = asked("--tpu=lab", "--tpu_zone=europe-west4-a", "--tpu_project=p")
    assert (said.tpu, said.tpu_zone, said.tpu_project) == ("lab", "europe-west4-a", "p")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--host=1"], "--host=1 says which of --hosts this is, and --hosts is missing"),
        (["--hosts=a,b"], "names 2 hosts, and --host is missing"),
        (["--hosts=a,b", "--host=2"], "names 2 hosts, and this would be host 2; count from 0"),
        (["--hosts=a,b", "--host=-2"], "this would be host -2"),
        (["--hosts=a:1,a:1", "--host=0"], "names a:1 twice"),
        (["--hosts=a:x,b", "--host=0"], "names a host 'a:x'; name each as name:port"),
        (["--hosts=grpc://a:1,b", "--host=0"], "names a host 'grpc://a:1'"),
        (["--hosts=a,,b", "--host=0"], "names a host ':2222'"),
        (
            ["--hosts=a:99999,b", "--host=1"],
            "names a host 'a:99999'; name each as name:port, as 10.0.0.1:2222, the port",
        ),
        (["--hosts=a,b:0", "--host=0"], "names a host 'b:0'"),
    ],
)
def test_flags_by_halves_are_refused(words: list[str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        cluster.found(asked(*words), {})
    assert told in str(caught.value)


def test_tf_config_names_hosts() -> None:
    assert cluster.found(asked(), tf_config(index=1)) == cluster.Cluster(TWO, 1, "TF_CONFIG")


@pytest.mark.parametrize(("kind", "index", "host"), [("chief", 0, 0), ("worker", 0, 1), ("worker", 1, 2)])
def test_a_chief_comes_before_the_workers(kind: str, index: int, host: int) -> None:
    found = cluster.found(asked(), tf_config(kind, index, worker=["b:1", "c:1"], chief=["a:1"]))
    assert found == cluster.Cluster(("a:1", "b:1", "c:1"), host, "TF_CONFIG")


WORKERS = '{"cluster": {"worker": %s}, "task": {"type": "worker", "index": %s}}'


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", "3", WORKERS % (3, 0), WORKERS % ('"a:1,b:1"', 0), WORKERS % ('["a:1", "b:1"]', "1e400")]
)
def test_a_broken_tf_config_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"TF_CONFIG is not .*mend or unset it"):
        cluster.found(asked(), {"TF_CONFIG": text})


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (tf_config("evaluator", 0), "names the jobs evaluator; radkit trains on chief and worker"),
        (tf_config(worker=["a:1"], ps=["b:1"]), "names the jobs ps"),
        (tf_config(index=2), "says worker 2, and its cluster has 2 of them"),
        (tf_config("chief"), "says chief 0, and its cluster has 0 of them"),
        (tf_config(worker=["a:1", "a:1"]), "names a:1 twice"),
    ],
)
def test_what_tf_config_may_not_say(environ: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        cluster.found(asked(), environ)
    assert told in str(caught.value)


def test_flags_and_tf_config_may_agree_but_not_differ() -> None:
    said = asked("--hosts=a,b", "--host=0")
    assert cluster.found(said, tf_config()) == cluster.Cluster(TWO, 0, "--hosts")
    with pytest.raises(UserError, match=r"say host 0 of a:2222, b:2222, TF_CONFIG says host 1 of a:2222, b:2222"):
        cluster.found(said, tf_config(index=1))


def test_one_host_is_none_of_several() -> None:
    assert cluster.found(asked(), tf_config(worker=["a:1"])) is None
    assert cluster.found(asked("--hosts=a", "--host=0"), {}) is None


def test_slurm_names_hosts() -> None:
    # 77 * 16 ports beyond 10000, one more for the second task of a node.
    hosts = ("gpu07:11232", "gpu07:11233", "gpu08:11232")
    assert cluster.found(asked(), SRUN) == cluster.Cluster(hosts, 2, "Slurm")


@pytest.mark.parametrize("without", ["SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"])
def test_a_batch_script_that_srun_did_not_start_is_one_process(without: str) -> None:
    assert cluster.found(asked(), {name: value for name, value in SRUN.items() if name != without}) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"SLURM_PROCID": ""}, "says by halves which hosts train: SLURM_PROCID are missing; start radkit with srun"),
        ({"SLURM_STEP_NODELIST": "gpu07"}, "names 1 nodes (gpu07) and tasks 2,1 on them, 3 in all"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, "which do not fit; name the hosts with --hosts"),
        ({"SLURM_STEP_NODELIST": "gpu[07-"}, "cannot be read"),
        ({"SLURM_STEP_NODELIST": "gpu[08-07]"}, "'gpu[08-07]' cannot be read"),
        ({"SLURM_STEP_TASKS_PER_NODE": "2(x,1"}, "'2(x,1' cannot be read"),
        ({"SLURMD_NODENAME": "gpu07"}, "runs on gpu07, and by blocks it would run on gpu08"),
        ({"SLURM_STEP_NUM_TASKS": "many"}, "Slurm's SLURM_STEP_NUM_TASKS is 'many', and must be a whole number"),
    ],
)
def test_what_slurm_may_not_say(changed: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        cluster.found(asked(), {**SRUN, **changed})
    assert told in str(caught.value)


NAMES = st.from_regex(r"[a-z]{1,3}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, st.integers(0, 99), st.integers(0, 3), st.integers(2, 4)), min_size=1, max_size=4))
def test_a_list_of_slurm_is_what_it_was_made_of(groups: list[tuple[str, int, int, int]]) -> None:
    said = ",".join(f"{name}[{first:0{width}d}-{first + more:0{width}d}]" for name, first, more, width in groups)
    expected = [
        f"{name}{number:0{width}d}" for name, first, more, width in groups for number in range(first, first + more + 1)
    ]
    assert cluster.slurm_hosts(said) == expected


@given(st.text("ab01[]-,", max_size=12))
def test_no_list_of_slurm_is_read_by_halves(text: str) -> None:
    try:
        names = cluster.slurm_hosts(text)
    except UserError:
        return
    assert names
    assert all(names), text
    assert not set("[],") & set("".join(names))


def test_kubernetes_names_hosts() -> None:
    found = cluster.found(asked(), JOB)
    assert found == cluster.Cluster(("lungs-0.radkit:2222", "lungs-1.radkit:2222"), 1, "Kubernetes")


def test_an_indexed_job_whose_pods_train_alone_is_no_cluster() -> None:
    assert cluster.found(asked(), {"JOB_COMPLETION_INDEX": "1"}) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"JOB_NAME": "", "JOB_SERVICE": ""}, "by halves which hosts train: JOB_NAME, JOB_SERVICE are missing"),
        ({"JOB_COMPLETION_INDEX": "2"}, "names 2 hosts, and this would be host 2"),
        ({"JOB_COMPLETIONS": "-"}, "Kubernetes's JOB_COMPLETIONS is '-'"),
    ],
)
def test_what_kubernetes_may_not_say(changed: dict[str, str], told: str) -> None:
    with pytest.raises(UserError) as caught:
        cluster.found(asked(), {**JOB, **changed})
    assert told in str(caught.value)


def test_who_speaks_first_is_heard() -> None:
    everything = {**SRUN, **JOB, **tf_config()}
    assert cluster.found(asked("--hosts=a,b", "--host=0"), everything).told_by == "--hosts"
    assert cluster.found(asked(), everything).told_by == "TF_CONFIG"
    assert cluster.found(asked(), {**SRUN, **JOB}).told_by == "Slurm"
