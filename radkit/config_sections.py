"""The sections of an experiment: frozen dataclasses, each field with what it means; `radkit.config` reads them."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Curate:
    """Which series are taken, by their headers and by what is found in them; an empty rule asks for nothing."""

    planes: tuple[str, ...] = ()  # axial, coronal, sagittal, oblique
    body_parts: tuple[str, ...] = ()  # BodyPartExamined values
    kernels: tuple[str, ...] = ()  # ConvolutionKernel values, or the hints sharp, smooth
    phases: tuple[str, ...] = ()  # hints: arterial, portal, venous, delayed
    contrast: Literal["", "with", "without"] = ""  # by ContrastBolusAgent and the hint
    num_slices: tuple[int, ...] = ()  # least, most
    slice_spacing_mm: tuple[float, ...] = ()  # least, most
    pixel_spacing_mm: tuple[float, ...] = ()  # least, most
    slice_thickness_mm: tuple[float, ...] = ()  # least, most
    localizers: Literal["leave_out", "keep"] = "leave_out"
    derived: Literal["leave_out", "keep"] = "keep"
    secondary: Literal["leave_out", "keep"] = "keep"  # secondary captures: screenshots, dose pages
    untold: Literal["leave_out", "keep"] = "leave_out"  # series whose headers do not tell what a rule asks
    faults: Literal["leave_out", "keep"] = "leave_out"  # series with faults, as `radkit curate` finds them
    accepted: tuple[str, ...] = ()  # names of faults that leave nothing out


@dataclass(frozen=True)
class Annotations:
    """What becomes of annotations; `refuse` sets the image aside with a reason, `report` takes it with a finding."""

    fraction: float = 0.5  # of a FRACTIONAL segmentation's voxel: from here on it is inside
    other_grid: Literal["resample", "refuse"] = "resample"
    partly_outside: Literal["report", "refuse"] = "report"  # what lies wholly outside is always refused
    other_instances: Literal["refuse", "report"] = "refuse"  # drawn on images that are not the series'
    other_frame_of_reference: Literal["refuse", "report"] = "refuse"
    overlap: Literal["refuse", "first", "last"] = "refuse"  # of labels in one voxel; first and last of mask_labels
    empty: Literal["report", "refuse"] = "report"  # segments without a voxel
    off_slice: Literal["refuse", "report"] = "refuse"  # contours on no slice; reported ones are left out
    implausible: Literal["report", "refuse"] = "report"  # masks that look flipped or shifted
    missing: Literal["leave_out", "empty", "refuse"] = "leave_out"  # images without annotation; empty: nothing is there
    without_image: Literal["report", "refuse"] = "report"  # labels whose images are not there
    unknown_class: Literal["refuse", "leave_out"] = "refuse"
    duplicates: Literal["refuse", "first"] = "refuse"  # rows of one image and reader that contradict each other
    readers: tuple[str, ...] = ()  # only theirs; empty: all
    reference_standards: tuple[str, ...] = ()  # only labels that rest on these; empty: all
    several: Literal["refuse", "majority", "staple", "first"] = "refuse"  # readers of one image
    keep_readers: bool = False  # each reader's mask stands in the record, too


@dataclass(frozen=True)
class Split:
    """Which patients are tested on, and how the others are dealt; shares and seed are `data.splits`, `split_seed`.

    `site`, `date` and what `stratify` names are columns of the patients table (`convert --patients`), or DICOM keywords
    of the images where there is no such column.
    """

    test: Literal["random", "temporal", "geographic", "explicit"] = "random"
    test_from: str = ""  # temporal: YYYY-MM-DD; studies of this day and later are the test's
    straddling: Literal["leave_out", "train", "test"] = "leave_out"  # patients with images on both sides
    test_sites: tuple[str, ...] = ()  # geographic: all patients of these sites are the test's
    site: str = "site"
    date: str = "date"
    stratify: tuple[str, ...] = ()  # "label", "site", or columns: each split gets each value's share of patients
    unknown: Literal["refuse", "leave_out"] = "refuse"  # images without the day, site or side that is asked for
    folds: int = 0  # the patients that are not the test's are also dealt into so many folds
    repeats: int = 1  # that many times, each with another deal


@dataclass(frozen=True)
class Data:
    """What becomes a record, and what of a record the network sees."""

    dataset: str  # name of the TFDS data set
    kind: Literal["volume", "radiograph"] = "volume"
    version: str = "1.0.0"
    modalities: tuple[str, ...] = ()  # Modality values that are converted; empty: all
    mask_labels: tuple[str, ...] = ()  # SegmentLabel values that become mask values 1, 2, ...
    label: str = ""  # column of the labels table
    label_kind: Literal["class", "multi_label", "ordinal", "regression", "survival"] = "class"
    class_names: tuple[str, ...] = ()  # what the column's values mean; of multi_label one yes, no or unknown each
    label_unit: str = ""  # of a regression's values, or of a survival's times, as "mm", "days"
    label_range: tuple[float, float] = (0.0, 1.0)  # regression: labels that the network's outputs 0 and 1 stand for
    event: str = ""  # survival: column of the labels table that says whether the event was seen (1) or not (0)
    table: tuple[
        Literal["age_years", "field_strength_t", "sex", "slice_thickness_mm", "tube_voltage_kv"], ...
    ] = ()  # facts of the record that the network sees beside the image
    report: str = ""  # column of the labels table with the report's text, which becomes a field of the record
    splits: tuple[float, ...] = (0.7, 0.1, 0.2)  # train, validation, test; by patient
    split_seed: str = "radkit"
    split: Split = Split()
    shard_mib: float = 128.0
    volumes: Literal["one", "largest", "all"] = "one"  # of a series that holds several: echoes, times, orientations
    irregular: Literal["refuse", "resample", "keep"] = "refuse"  # slices that make no regular grid
    tilt: Literal["keep", "resample"] = "keep"  # slices sheared by a tilted gantry
    colour: Literal["refuse", "grey"] = "refuse"
    image_dtype: Literal["int16", "float32"] = "int16"  # of records: stored values, or modality values
    record_spacing_mm: tuple[float, ...] = ()  # resampled to at conversion, slices first; 0: that axis as acquired
    record_orientation: str = ""  # where column, row and slice indices run to, as "LPS"; empty: as acquired
    record_size: tuple[int, ...] = ()  # cropped or padded to at conversion, around the centre; 0: that axis as it is
    image_size: tuple[int, ...] = (64, 64, 64)  # voxels that the network trains on
    spacing_mm: tuple[float, ...] = ()  # resampled to, slices first; empty: as acquired
    size_multiple: int = 8  # sizes at inference are padded up to a multiple of this
    normalise: Literal["zscore", "window", "none"] = "zscore"
    window: tuple[float, float] = (-1000.0, 1000.0)  # modality values mapped to [-1, 1] by "window"
    box_labels: tuple[str, ...] = ()  # labels of boxes; a box's class is its label's place here
    ignored_boxes: tuple[str, ...] = ()  # of box_labels: regions of which nobody says what is there, at their end
    curate: Curate = Curate()
    annotations: Annotations = Annotations()


@dataclass(frozen=True)
class Model:
    """Which factory of `radkit.models`, and its keyword arguments."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    weights: str = ""  # to start from: empty: new ones; "imagenet"; a file; "run:DIR", an earlier run's
    freeze: tuple[str, ...] = ()  # patterns of layers' names, as "stem*", whose weights do not learn


@dataclass(frozen=True)
class Task:
    """Which file of `radkit.tasks`, and which loss of `radkit.losses` it learns by."""

    name: str
    loss: str = ""  # empty: the task's own
    loss_settings: dict[str, Any] = field(default_factory=dict)  # the loss's keyword arguments


@dataclass(frozen=True)
class Inference:
    """How a trained network answers: the same in validation, evaluation and the export."""

    window: tuple[int, ...] = ()  # voxels a side of what the network sees at once; empty: the whole image
    overlap: float = 0.5  # share of a window that its neighbour sees, too
    batch_size: int = 1  # windows at once
    flips: tuple[bool, ...] = ()  # per spatial axis: answers to mirrored images are averaged with it
    largest_component: tuple[str, ...] = ()  # labels of which only the largest connected part is kept
    fill_holes: tuple[str, ...] = ()  # labels whose enclosed holes are filled
    score_threshold: float = 0.05  # detection: boxes that the network is less sure of are left out
    suppress: Literal["nms", "soft_nms", "fusion"] = "nms"  # detection: what becomes of boxes of one thing
    iou_threshold: float = 0.5  # detection: boxes that overlap by more are of one thing
    most_detections: int = 100  # detection: boxes that are answered for one image
    class_agnostic: bool = False  # detection: whether boxes of two classes can be of one thing


@dataclass(frozen=True)
class Optimizer:
    """How weights are moved; the learning rate rises linearly at first and falls by `schedule`."""

    name: Literal["adamw", "sgd", "lamb"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "poly", "constant"] = "cosine"  # cosine and poly end at zero
    power: float = 0.9  # poly: of the share of steps that is left
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)  # adamw, lamb: how much of the moments is kept
    momentum: float = 0.9  # sgd: Nesterov's
    average: float = 0.0  # share of the weights' moving average that a step keeps; the average is scored; 0: none
    warmup_steps: int = 20
    clip_norm: float = 1.0  # of the reduced gradients, all variables together; 0: no clipping
    rates: dict[str, Any] = field(default_factory=dict)  # pattern of layers' names to its share of learning_rate


@dataclass(frozen=True)
class Chances:
    """How often each change of a training image is made; 1: always."""

    flip: float = 0.5  # of each axis of augment.flip
    affine: float = 1.0  # shift, scale, rotation, shear together
    elastic: float = 1.0
    gain: float = 1.0
    gamma: float = 1.0
    window: float = 1.0
    bias_field: float = 1.0
    blur: float = 1.0
    low_resolution: float = 1.0
    noise: float = 1.0
    rician: float = 1.0
    cut_out: float = 1.0
    mixup: float = 1.0
    cutmix: float = 1.0


@dataclass(frozen=True)
class Augment:
    """Random changes of a training image, its mask, boxes and landmarks; each 0 (or empty) is off.

    Everything of space is one resampling. Intensities are the normalised ones that the network sees.
    """

    flip: tuple[bool, ...] = ()  # per spatial axis
    swap_labels: tuple[
        tuple[str, str], ...
    ] = ()  # names of mask, box or class labels that are each other's mirror image
    swap_axis: int = -1  # the spatial axis that runs from left to right: a flip along it swaps swap_labels
    shift: float = 0.0  # largest translation, share of the axis
    shift_mm: float = 0.0  # largest translation along each axis
    scale: float = 0.0  # largest zoom, share
    rotate: tuple[float, ...] = ()  # largest angle in degrees: about slice, row and column axis; 2-D: one
    shear: float = 0.0  # largest, as the tangent of its angle
    elastic_mm: float = 0.0  # largest displacement of a control point
    elastic_spacing_mm: float = 30.0  # between control points
    noise: float = 0.0  # largest standard deviation, in normalised units
    rician: float = 0.0  # as noise, of Rician noise
    gain: float = 0.0  # largest change of contrast and brightness, share
    gamma: float = 0.0  # largest change of the exponent: from 1 / (1 + gamma) to 1 + gamma
    window: float = 0.0  # largest change of the window's centre and width, share of its width
    bias_field: float = 0.0  # largest change of gain by a smooth field, share
    blur_mm: float = 0.0  # largest standard deviation of a Gaussian
    low_resolution: float = 0.0  # largest factor beyond 1 by which voxels are made coarser
    cut_out: float = 0.0  # largest side of a box that is blanked, share of the axis
    mixup: float = 0.0  # both parameters of the Beta distribution of the share; for labels only
    cutmix: float = 0.0  # both parameters of the Beta distribution of the share that is kept
    chances: Chances = Chances()
    where: Literal["host", "device"] = "host"  # device: within the training step, on the accelerator


@dataclass(frozen=True)
class Sampling:
    """Which records a step sees, and which part of them."""

    records: Literal["shuffle", "class_balanced", "weighted", "lesions"] = "shuffle"  # lesions: by their number
    weights: dict[str, float] = field(default_factory=dict)  # weighted: class name to how often, 1 where unnamed
    foreground: float = 0.0  # share of patches whose middle is a voxel of the mask (or of a box), each class alike
    by_lesion: bool = False  # foreground: each lesion alike, whatever its size, instead of each voxel
    class_weights: Literal["none", "balanced"] = "none"  # of the loss, by how many training records a class has


@dataclass(frozen=True)
class Trainer:
    """How long, how wide, how often."""

    steps: int = 1000
    batch_size: int = 4  # over all replicas
    seed: int = 0
    accumulate: int = 1  # parts of a batch that are computed one after the other; their gradients add up
    strategy: Literal["auto", "one", "mirrored", "multi_worker", "tpu"] = "auto"
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    xla: bool = False  # the step is compiled with XLA; on a TPU it always is
    steps_per_execution: int = 1  # steps that a device takes before the host hears of them
    bad_steps: int = 10  # steps in a row without a finite loss or gradient after which training stops
    evaluate_every: int = 200
    early_stopping: int = 0  # evaluations without a better score after which training ends; 0: it goes on
    select: str = "score"  # what of the validation's summary chooses the best weights; else a figure's name
    keep_last: int = 2  # newest checkpoints that are kept
    keep_every_hours: float = 0.0  # one checkpoint of so many hours is kept, too; 0: none
    minutes: float = 0.0  # time that training may take; the schedule ends within it; 0: no limit
    deterministic: bool = True
    sampling: Sampling = Sampling()
    cache_gib: float = 4.0  # of memory for prepared images; what is beyond it is prepared each time
    most_boxes: int = 64  # of a training image: boxes are padded to it
    repeat: int = 0  # which deal of data.split.folds
    fold: int = -1  # validated on, trained on the others; -1: as the records were split
    test_fold: int = -1  # nested: tested on, neither trained nor validated on; -1: the test split


@dataclass(frozen=True)
class Unlabelled:
    """What is learned of records without labels, which `radkit train --unlabelled` names."""

    method: Literal["none", "mean_teacher", "pseudo_labels"] = "none"
    batch_size: int = 4  # over all replicas, beside trainer.batch_size
    weight: float = 1.0  # of the unlabelled records' loss
    ramp_steps: int = 200  # steps in which the weight rises to it
    average: float = 0.99  # share of the teacher's weights that a step keeps
    threshold: float = 0.9  # pseudo_labels: classes that the teacher is less sure of are left out
    noise: float = 0.1  # standard deviation of what the student's image gets added, in normalised units


@dataclass(frozen=True)
class Experiment:
    """All of it."""

    data: Data
    model: Model
    task: Task
    optimizer: Optimizer = Optimizer()
    augment: Augment = Augment()
    trainer: Trainer = Trainer()
    inference: Inference = Inference()
    unlabelled: Unlabelled = Unlabelled()
