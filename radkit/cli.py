"""The `radkit` command: a table of verbs, in the order in which a project uses them.

A verb's module is imported only when the verb is chosen, so `radkit --help` costs nothing.
"""

import importlib
import sys
from collections.abc import Sequence

import radkit
from radkit import program, quiet
from radkit.errors import did_you_mean

# verb: (module, what it does); in workflow order.
VERBS = {
    "index": ("beam_jobs.index", "scan a folder of DICOM into a table of series"),
    "anonymize": ("beam_jobs.anonymize", "de-identify a folder of DICOM (PS3.15 Basic Profile, keyed)"),
    "reidentify": ("radkit.deid.reidentify", "tell who is behind a new identifier, and log who asked"),
    "curate": ("beam_jobs.curate", "name what is wrong with series and masks, and choose among them"),
    "import": ("beam_jobs.import_public", "turn NIfTI, PNG or COCO sets into records, or into DICOM"),
    "convert": ("beam_jobs.convert", "turn series into TFRecord shards, split by patient"),
    "statistics": ("beam_jobs.statistics", "count, measure and validate what the records hold"),
    "check-leakage": ("beam_jobs.check_leakage", "find patients, images and labels that a test set gives away"),
    "plan": ("trainers.plan", "choose patch, batch and network for a memory budget, by nnU-Net's rules"),
    "check-tpu": ("trainers.check_tpu", "tell without a TPU whether a config trains on one, and what is in the way"),
    "train": ("trainers.train", "train the config's network on the records"),
    "tune": ("trainers.tune", "search for the config's values that validation likes best"),
    "evaluate": ("trainers.evaluate", "score a trained run on a split, with intervals and pictures"),
    "export": ("serving.export", "write a run as a SavedModel that answers on raw images"),
    "serve": ("serving.server", "answer over gRPC as TensorFlow Serving does"),
    "predict": ("serving.predict", "send DICOM to a server; get JSON, DICOM SEG and SR back"),
    "demo": ("radkit.demo", "the whole chain on real images, with a page of results"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `radkit VERB --flags` and returns its exit status."""
    argv = list(sys.argv if argv is None else argv)
    verb = argv[1] if len(argv) > 1 else "--help"
    if verb in ("--help", "-h", "help"):
        program.say(manual())
        return program.DONE
    if verb in ("--version", "version"):
        print(f"radkit {radkit.__version__}")
        return program.DONE
    if verb not in VERBS:
        print(f"radkit: there is no verb {verb!r}{did_you_mean(verb, VERBS)}; see radkit --help", file=sys.stderr)
        return program.REFUSED
    try:
        with quiet.held_back():
            module = importlib.import_module(VERBS[verb][0])
    except KeyboardInterrupt:
        print("radkit: interrupted before anything was begun", file=sys.stderr)
        return program.REFUSED
    except ModuleNotFoundError as error:
        print(f"radkit: {verb} needs {error.name}, which is not installed; pip install 'radkit[all]'", file=sys.stderr)
        return program.REFUSED
    status: int = module.main([f"radkit {verb}", *argv[2:]])
    return status


def manual() -> str:
    """Returns the text of `radkit --help`."""
    width = max(map(len, VERBS))
    rows = [f"  {verb:<{width}}  {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(
        [
            "radkit VERB --flags: from a folder of hospital DICOM to a model that answers over gRPC.",
            "",
            "Verbs, in the order of the work:",
            *rows,
            "",
            "radkit VERB --help shows a verb's flags. Exit status: 0 done; 1 done, but some inputs were set",
            "aside and are listed; 2 refused, nothing written.",
        ]
    )


def console() -> None:
    """The entry point of the installed `radkit` command."""
    sys.exit(main())
