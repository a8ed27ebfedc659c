"""The answers of the service, as `openapi.json` describes them. Written by `make_answers.py`: do not edit."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from fanin.record import Record


class Adam(Record):
    """Adam (Kingma, Ba 2015) with torch's beta = (0.9, 0.999) and eps = 1e-8."""

    name: Literal["adam"]

    lr: float
    """Learning rate."""

    weight_decay: float
    """L2 penalty, added to the gradient of weights and biases."""


class Alias(Record):
    """A movable name of one model."""

    object: Literal["alias"]

    name: str

    model: str
    """The model that the alias names, as JOB@EPOCH."""

    version: int
    """Increases when the alias moves to another model; also its ETag."""

    updated_at: dt.datetime


class Architecture(Record):
    """A multilayer perceptron: 784 inputs, the hidden layers, 10 outputs."""

    hidden: list[int]
    """Units of each hidden layer, 1 to 256 layers."""

    activation: Literal["relu", "tanh", "scaled_tanh", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity"]
    """Follows every hidden layer.

    leaky_relu has slope 0.01 below 0; gelu is its tanh form; scaled_tanh is 1.7159 tanh(2 z / 3).
    """

    inputs: Literal["zero_to_one", "standardized"]
    """What the first layer receives for a pixel: its share of ink x, 0 to 1, or standardized: (x - .1307) /
    .3081, with mean 0 and variance 1 over MNIST. Predictions take the same images for both.
    """


class BatchAnswer(Record):
    """The response for a batch, in its order."""

    read_as: ReadAs

    warnings: list[Warned] | None
    """About images that are unlike the training digits."""

    predictions: list[Prediction]

    model: PredictedBy


class BatchOfMany(Record):
    """The predictions of one of several models for a batch."""

    predictions: list[Prediction]

    model: PredictedBy


class Chain(Record):
    """One Gibbs chain of the top machine, as pictures."""

    frames: list[Frame]

    reconstruction: str | None
    """With start=digits: the digit after one way up and down all layers, as a data URL; else null."""


class Checkpoint(Record):
    """The weights after an epoch; immutable."""

    model: str | None
    """Model id for predictions, JOB@EPOCH; null for a pre-training checkpoint."""

    seq: int

    phase: Literal["pretrain", "train"]

    epoch: int
    """0 is the initial weights; in pre-training counted over all layers."""

    final: bool

    attempt: int

    weights_bytes: int
    """Size of the weights file, in bytes."""

    weights_sha256: str
    """SHA-256 over the weight tensors alone; equal means bit-identical weights."""

    created_at: dt.datetime


class ClassAccuracy(Record):
    """The accuracy on one digit."""

    digit: int

    n: int
    """Images of this digit."""

    accuracy: float


class Comparison(Record):
    """The comparison of an experiment's succeeded members."""

    object: Literal["comparison"]

    evaluated_on: str | None
    """The images that accuracies are measured on; null if members differ."""

    n_images: int | None

    differing_fields: list[str]

    groups: list[Group]

    rates: Literal["all", "best"]
    """best: every group is compared at its own best learning rate, chosen on validation images."""

    sweep: list[RateTried]
    """With rates=best: every learning rate that was tried."""

    baseline: str | None
    """The group that all others are compared with; null: all pairs."""

    pairs: list[Pair]

    pairs_left_out: int
    """Pairs that are not compared: there are more than 64 groups, and no baseline."""


class CriticalPoint(Record):
    """A point of the line between order and chaos, where chi = 1."""

    sigma_w: float

    sigma_b: float

    q: float
    """The fixed point q* there."""


class DataSource(Record):
    """The data set of a job."""

    name: str
    """mnist or mnist_5k."""

    sha256: str
    """SHA-256 over the checksums of its files."""


class DatasetView(Record):
    """A data set, and whether it is available on the API's machine."""

    name: str

    available: bool

    detail: str
    """Its contents; if it is not available, how to get it."""


class Deleted(Record):
    """Confirmation that a job was deleted."""

    id: str

    object: Literal["job"]

    deleted: Literal[True]


class DeletedAlias(Record):
    """Confirmation that an alias was deleted."""

    name: str

    object: Literal["alias"]

    deleted: Literal[True]


class DeletedExperiment(Record):
    """Confirmation that an experiment was deleted."""

    id: str

    object: Literal["experiment"]

    members: int
    """Number of jobs that were deleted with it."""

    deleted: Literal[True]


class DeletedJobs(Record):
    """The jobs that a deletion by filter deletes, or would delete."""

    object: Literal["deletion"]

    dry_run: bool
    """Whether nothing was deleted."""

    jobs: list[str]
    """Ids of the jobs, at most 1,000."""

    kept: list[KeptJobView]
    """Jobs of the filter that cannot be deleted, at most 100."""

    has_more: bool
    """Whether the filter has more jobs that can be deleted; repeat the request."""


class DeviceView(Record):
    """The device that trains or trained a job."""

    kind: str
    """cpu or cuda."""

    name: str

    threads: int
    """CPU threads."""

    worker: str | None
    """The worker process, as node:slot."""

    engine: str
    """Implementation of the training step that ran."""

    precision: str

    torch: str
    """Version of torch."""


class Diagnostics(Record):
    """All layers of a network at one moment."""

    epoch: int
    """0: before training."""

    images: int
    """Number of training images that were used."""

    loss: float | None
    """Mean cross entropy on them, in nats an image."""

    gradient_norm: float | None
    """Norm of the gradient of that loss with respect to all parameters."""

    jacobian: JacobianSpectrum | None
    """At the start and the end only; null with one hidden layer, with layers of over 1,024 units, and where it
    overflows.
    """

    verdict: str
    """What hinders learning, the worst first, or "fine"."""

    layers: list[LayerDiagnostics]


class Digit(Record):
    """One test digit; /predict accepts it as a JSON body."""

    dataset: str

    split: Literal["test"]

    index: int

    label: int

    pixels: list[list[int]]
    """28 rows of 28 grey levels: 0 is background, 255 ink."""


class Distributions(Record):
    """The distributions in all layers of a checkpoint, on the first 512 training images."""

    object: Literal["distributions"]

    model: str
    """The checkpoint, as JOB@EPOCH."""

    epoch: int

    images: int

    layers: list[LayerDistributions]


class EpochMetrics(Record):
    """The numbers of one pass over the training images."""

    epoch: int
    """Number of the epoch, from 1."""

    train_loss_mean: float
    """Mean cross entropy over all images of the epoch, each at its own step, in nats an image."""

    train_loss_last_batch: float
    """Mean cross entropy of the epoch's last batch, in nats an image."""

    first_step_below_2: int | None
    """First step, counted over all epochs, at which the mean loss of the last ten steps, all of this epoch, is
    below 2.0; null if there is none.
    """

    train_losses: list[float]
    """Mean losses of equal parts of the epoch, in order: at most 200 of all epochs together, and none beyond 100
    epochs.
    """

    train_accuracy: float
    """Share of images answered correctly at their own step."""

    duration_s: float
    """Seconds of training, without evaluation and checkpoint.

    On a CPU, where the models of a run take turns, an equal share of their time; on a GPU they train at the
    same time.
    """

    images_per_s: float
    """Training images a second."""

    validation_loss: float | None
    """Mean cross entropy of the held-out training images."""

    validation_accuracy: float | None
    """Accuracy on the held-out training images."""

    test_accuracy: float | None
    """Accuracy on the MNIST test set; only with test_curve."""


class Evaluation(Record):
    """The evaluation of a model on digits that it was not trained on."""

    accuracy: float
    """Share of images of `evaluated_on` that are answered correctly."""

    evaluated_on: Literal["mnist_test", "mnist_5k_held_out"]
    """Which images: the MNIST test set, or held-out training digits."""

    n: int
    """Number of these images."""

    accuracy_interval: Interval
    """95 % interval of `accuracy`."""

    test_accuracy: float | None
    """`accuracy` if it is of the MNIST test set, else null."""

    test_accuracy_raw255: float | None
    """What the course's notebooks print: the MNIST test set fed as raw pixels 0..255 to a network that was
    trained on 0..1. Shown to compare with the course; it is not the accuracy of the model.
    """

    accuracy_raw255: float
    """The same on `evaluated_on`."""

    mean_negative_log_likelihood: float | None
    """Mean of -log p(label), in nats an image; null where it overflows float32."""

    expected_calibration_error: float | None
    """Mean gap between the probability of an answer and the share of right answers, over 15 bins (Guo et al.

    2017); null in evaluations made before this was measured.
    """

    per_class: list[ClassAccuracy]
    """Accuracy of each digit."""

    confusion_matrix: list[list[int]]
    """Counts; row is the label, column the answer."""


class Event(Record):
    """One event of a job."""

    id: int
    """Increases over all jobs. Events become visible in this order."""

    job_id: str

    type: Literal[
        "job.queued",
        "job.running",
        "job.pretrain_epoch",
        "job.epoch",
        "job.checkpoint",
        "job.checkpoint_damaged",
        "job.checkpoint_discarded",
        "job.pausing",
        "job.paused",
        "job.cancelling",
        "job.cancelled",
        "job.succeeded",
        "job.failed",
        "job.released",
    ]

    at: dt.datetime

    data: dict[str, Any]


class Experiment(Record):
    """An experiment: jobs that were submitted together; for a recipe also its verdict."""

    id: str

    object: Literal["experiment"]

    name: str
    """The name that a client has set, or else its recipe, or its schemes and number of seeds."""

    note: str | None
    """A note that a client has set."""

    labels: dict[str, str]
    """Labels that a client has set, by key."""

    version: int
    """1 at first, and 1 more with each edit; the ETag of the experiment."""

    recipe: str | None

    states: dict[str, int]
    """Number of members in each state."""

    has_ended: bool
    """Whether all members have ended."""

    created_at: dt.datetime

    links: ExperimentLinks

    request: dict[str, Any]

    members: list[Member]

    verdict: Verdict | None
    """Null without a recipe."""


class ExperimentLinks(Record):
    """Paths of the resources and actions of an experiment."""

    self: str

    events: str

    comparison: str

    cancel: str


class ExperimentSummary(Record):
    """An experiment without its members."""

    id: str

    object: Literal["experiment"]

    name: str
    """The name that a client has set, or else its recipe, or its schemes and number of seeds."""

    note: str | None
    """A note that a client has set."""

    labels: dict[str, str]
    """Labels that a client has set, by key."""

    version: int
    """1 at first, and 1 more with each edit; the ETag of the experiment."""

    recipe: str | None

    states: dict[str, int]
    """Number of members in each state."""

    has_ended: bool
    """Whether all members have ended."""

    created_at: dt.datetime

    links: ExperimentLinks


class Frame(Record):
    """The picture of a chain after a number of Gibbs steps."""

    step: int

    image: str
    """The 28x28 picture, as a data URL of a PNG; pixels are probabilities."""


class Group(Record):
    """The members of an experiment that differ only in their seed."""

    name: str
    """Short label: the scheme, and the fields that distinguish groups of this scheme."""

    label: dict[str, Any]
    """The fields of the spec in which groups differ."""

    n: int

    seeds: list[int]

    accuracy: MeanInterval

    final_train_loss: MeanInterval | None

    first_step_below_2: list[int | None]
    """By seed; null if the loss never was below 2."""


class Health(Record):
    """The result of a passed health check."""

    status: str


class Histogram(Record):
    """Counts of numbers in 64 bins of equal width from `low` to `high`.

    Numbers that are exactly 0 are counted in `zeros` alone, because ReLU makes half of all activations 0.
    Numbers below `low` or above `high` are counted in the first or the last bin: the range leaves out a
    thousandth at each end. If all numbers are 0, `low` and `high` are 0.
    """

    low: float

    high: float

    counts: list[int]

    zeros: int

    not_finite: int
    """Numbers that are infinite or undefined; they are in no bin."""

    mean: float | None
    """Mean of the finite numbers, zeros included; null without any."""


class IndexEntry(Record):
    """A model or an alias in the index of the repository."""

    name: str

    version: str

    state: str

    reason: str


class InferenceAnswer(Record):
    """The JSON part of a response."""

    model_name: str

    model_version: str

    id: str | None

    outputs: list[OutputTensor]


class InitScheme(Record):
    """A rule that fills the weights before training. In its formulas n is the fan-in, m the fan-out."""

    name: str

    title: str

    summary: str

    formula: str
    """The formula as text."""

    formula_tex: str
    """The formula as TeX."""

    source: str

    parameters: list[Parameter]


class Interval(Record):
    """A confidence interval of a proportion."""

    low: float

    high: float

    level: float
    """Confidence level."""

    method: str
    """Wilson's score interval (Wilson 1927)."""


class JacobianSpectrum(Record):
    """Singular values of d a_L / d a_1 at the first image, from the first hidden layer's activations to the
    last's. Values below 1e-8 of the largest are rounding. Mean square 1: lengths are kept on average. All 1:
    dynamical isometry, no direction grows or dies (Saxe et al. 2013, Pennington et al. 2017).
    """

    least: float

    median: float

    largest: float

    mean_square: float


class Job(Record):
    """A training job."""

    id: str
    """Id of the job, and of the model that it trains."""

    object: Literal["job"]

    state: Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]

    name: str | None
    """A name that a client has set."""

    note: str | None
    """A note that a client has set."""

    labels: dict[str, str]
    """Labels that a client has set, by key."""

    version: int
    """1 at first, and 1 more with each edit; the ETag of the job."""

    preset: str | None

    spec: TrainSpec
    """The complete spec, with all defaults filled in."""

    priority: Literal["high", "normal", "low"]
    """Higher-priority jobs start first; jobs of equal priority start in submission order."""

    wanted_device: Literal["any", "cpu", "gpu"]
    """The kind of device that the job asks for."""

    queue_position: int | None
    """Place in the queue, 1 is next; null if the job is not queued."""

    estimated_start_at: dt.datetime | None
    """Estimated start of a queued job, from the workers' measured speed; null if unknown."""

    epoch: int
    """Number of committed epochs."""

    loss: float | None
    """Mean training loss of the last committed epoch, in nats an image; null before."""

    accuracy: float | None
    """Accuracy on the test images; null until the job has succeeded."""

    progress: Progress | None
    """Null until a worker prepares the training."""

    attempt: int
    """Number of the current or last attempt; 0 before the first."""

    device: DeviceView | None

    data_source: DataSource | None

    reproducible: bool
    """False if attempts ran on different devices or versions."""

    irreproducible_reason: str | None

    error: JobError | None

    experiment_id: str | None
    """The experiment that the job belongs to, if any."""

    created_at: dt.datetime

    started_at: dt.datetime | None

    ended_at: dt.datetime | None

    links: JobLinks


class JobError(Record):
    """Why a job failed."""

    type: str

    detail: str

    hint: str


class JobLinks(Record):
    """Paths of the resources and actions of a job."""

    self: str

    metrics: str

    events: str

    checkpoints: str

    diagnostics: str

    cancel: str

    pause: str

    resume: str

    retry: str

    model: str


class JobWithMetrics(Record):
    """A job with the metrics of its committed epochs."""

    id: str
    """Id of the job, and of the model that it trains."""

    object: Literal["job"]

    state: Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]

    name: str | None
    """A name that a client has set."""

    note: str | None
    """A note that a client has set."""

    labels: dict[str, str]
    """Labels that a client has set, by key."""

    version: int
    """1 at first, and 1 more with each edit; the ETag of the job."""

    preset: str | None

    spec: TrainSpec
    """The complete spec, with all defaults filled in."""

    priority: Literal["high", "normal", "low"]
    """Higher-priority jobs start first; jobs of equal priority start in submission order."""

    wanted_device: Literal["any", "cpu", "gpu"]
    """The kind of device that the job asks for."""

    queue_position: int | None
    """Place in the queue, 1 is next; null if the job is not queued."""

    estimated_start_at: dt.datetime | None
    """Estimated start of a queued job, from the workers' measured speed; null if unknown."""

    epoch: int
    """Number of committed epochs."""

    loss: float | None
    """Mean training loss of the last committed epoch, in nats an image; null before."""

    accuracy: float | None
    """Accuracy on the test images; null until the job has succeeded."""

    progress: Progress | None
    """Null until a worker prepares the training."""

    attempt: int
    """Number of the current or last attempt; 0 before the first."""

    device: DeviceView | None

    data_source: DataSource | None

    reproducible: bool
    """False if attempts ran on different devices or versions."""

    irreproducible_reason: str | None

    error: JobError | None

    experiment_id: str | None
    """The experiment that the job belongs to, if any."""

    created_at: dt.datetime

    started_at: dt.datetime | None

    ended_at: dt.datetime | None

    links: JobLinks

    metrics: list[EpochMetrics]

    pretraining: list[PretrainMetrics]
    """Metrics of the committed pre-training epochs."""

    outcome: Outcome | None
    """What came of the training, why, and what to do about it; null until it has ended, and for a job that was
    cancelled or failed for another reason than its loss.
    """


class KeptJobView(Record):
    """A job that is not deleted, and why."""

    id: str

    reason: str


class LayerDiagnostics(Record):
    """One layer z = W h + b, a = phi(z), on a fixed batch of training images.

    rms is the root mean square over images and units. Null stands for a value that is undefined, unknown or
    not finite.
    """

    layer: int
    """Number of the layer, from 1; the last one is the output layer, where a = z."""

    fan_in: int

    fan_out: int

    weight_mean: float | None

    weight_std: float | None

    weight_absmax: float | None

    bias_absmax: float | None

    weight_std_predicted: float | None
    """By the scheme's formula; at the start only."""

    weight_variance_z: float | None
    """(sample variance / formula - 1) in standard deviations; at the start, independent entries only."""

    z_mean: float | None

    z_std: float | None

    z_rms: float | None

    z_rms_predicted: float | None
    """q_1 = Var(W) |x|^2, q_(l+1) = n Var(W) E phi(sqrt(q_l) Z)^2; rms = sqrt(q). At the start only."""

    z_share: float | None
    """Share of the mean square of z that differs between images: sum over units of Var z over that of E z^2.

    0: all images look the same to the layer. Shares below 1e-12 are rounding.
    """

    z_cosine: float | None
    """Mean cosine between the z of two different images."""

    z_cosine_predicted: float | None
    """From that of the images, by the correlation map c_(l+1) = (n Var(W) E phi(u) phi(v) + Var b) / q_(l+1) for
    u, v ~ N(0, q_l) of correlation c_l. At the start only.
    """

    local_ratio: float | None
    """mean z^2 / (Var(W) |h|^2) of the first image; its expected value is 1 at any depth. Start only."""

    local_z: float | None
    """local_ratio - 1 in standard deviations, sqrt((2 + (k - 3) sum h^4 / (sum h^2)^2) / m), where k is the
    kurtosis of the weights: chi-square with m degrees of freedom for Gaussian ones. Start only.
    """

    a_mean: float | None

    a_std: float | None

    a_rms: float | None

    a_q02: float | None
    """Quantile: 2 % of the activations are less."""

    a_q50: float | None

    a_q98: float | None

    dead_fraction: float | None
    """Share of ReLU units that are 0 on every image of the batch."""

    saturated_fraction: float | None
    """Share of activations near their limits: past +-.95 of the limit (tanh, scaled_tanh, softsign), outside .05
    to .95 (sigmoid).
    """

    dz_rms: float | None
    """Rms of the gradient of each image's own loss with respect to z, in nats."""

    dz_rms_predicted: float | None
    """From the output layer's: E d_l^2 = E d_(l+1)^2 m Var(W_(l+1)) E phi'(sqrt(q_l) Z)^2. Start only."""

    weight_gradient_std: float | None
    """Of the gradient of the batch's mean loss."""

    bias_gradient_std: float | None

    distinct_units: int
    """Number of different rows of W. If they are few, rows within 1e-5 of each other count as one."""

    update_ratio: float | None
    """|W - W before| / |W before|, since the previous record."""

    singular_min: float | None
    """Least singular value of W; at the start and the end only."""

    singular_max: float | None

    jacobian_singular_mean: float | None
    """Mean singular value of diag(phi'(z)) W at the first image; at the start and the end only."""


class LayerDistributions(Record):
    """The distributions in one layer z = W h + b, a = phi(z)."""

    layer: int
    """Number of the layer, from 1; the last one is the output layer, where a = z."""

    weights: Histogram

    weight_gradients: Histogram
    """Of the mean loss of the images, in nats."""

    activations: Histogram
    """Of all units on all images."""

    unit_cosines: Histogram | None
    """Cosines between the incoming weights of two units, from -1 to 1, of at most 256 units, evenly chosen.

    1: the units are one and the same. Null if at most one unit has weights that are not all 0.
    """


class LayerOfPath(Record):
    """What one layer makes of the image."""

    layer: int
    """0: the image; then the layers in order, the last of which has the logits."""

    units: int
    """How many units the layer has."""

    activations: list[float]
    """Of the first 1,024 units, with 5 significant digits; of the image its 784 pixels / 255."""


class Likelihood(Record):
    """How probable images are to the first machines of a deep belief network, in nats an image.

    Images are made binary: a pixel is on with its share of ink as the probability.
    """

    object: Literal["likelihood"]

    machines: int
    """How many machines, from the images up."""

    units: int
    """Hidden units of the last of them."""

    is_bound: bool
    """Whether log p is a lower bound, as it is for more than one machine: log p(h_(l-1) | h_l) - log q(h_l |
    h_(l-1)) summed over the layers below the last machine, plus log p of the last one.
    """

    log_z: float
    """Logarithm of the last machine's partition function."""

    log_z_low: float | None
    """95 % interval of log Z by the spread of the chains; null if they do not bound it.

    With few effective chains it is too narrow and log Z too low, so that log p is too high: take more
    temperatures.
    """

    log_z_high: float

    method: Literal["exact", "ais"]
    """exact: summed over all states of at most 20 hidden units; ais: annealed importance sampling."""

    chains: int | None

    effective_chains: float | None
    """(sum w)^2 / sum w^2 of the chains' weights; null if exact."""

    temperatures: int | None

    test_images: int

    test_log_likelihood: float
    """Mean log p of test images."""

    train_images: int
    """The first images of the training set."""

    train_log_likelihood: float
    """Mean log p of as many training images."""


class Likely(Record):
    """A digit with its probability."""

    label: int

    probability: float


class LinkOfPath(Record):
    """What a unit contributes to a unit of the next layer: w h, a summand of its z."""

    layer: int
    """Layer of the target."""

    source: int
    """Number of the unit in the layer below, from 0."""

    target: int
    """Number of the unit in the layer, from 0."""

    contribution: float
    """The weight times the activation of the source."""


class Liveness(Record):
    """Two fields of the same value: the protocol's text names `live`, existing clients read `ready`."""

    live: bool

    ready: bool


class ManyAnswers(Record):
    """The response of several models, in the order of the request."""

    read_as: ReadAs

    warnings: list[Warned] | None
    """About images that are unlike the training digits."""

    answers: list[OneOfMany | BatchOfMany]


class Mcnemar(Record):
    """McNemar's test of two models on the same images."""

    seed: int

    only_first_right: int
    """Images that only the first model has right."""

    only_second_right: int

    p_value: float
    """Exact, two-sided: chance of a split at least this uneven if both models are equally good."""


class MeanInterval(Record):
    """The mean of some numbers, with its confidence interval."""

    mean: float

    sd: float | None
    """Standard deviation; null for one number."""

    low: float | None
    """95 % interval of the mean over other seeds and other test images; null for one number."""

    high: float | None


class Member(Record):
    """One job of an experiment."""

    job_id: str

    state: Literal["queued", "running", "pausing", "paused", "cancelling", "cancelled", "succeeded", "failed"]

    seed: int

    name: str
    """Short form of the label; members that differ only in their seed share it."""

    label: dict[str, Any]
    """The fields of the spec in which the members differ."""

    accuracy: float | None


class Mistake(Record):
    """A test digit that a model classifies wrongly."""

    model: str
    """The model, as JOB@EPOCH."""

    dataset: str

    index: int
    """Index of the test digit, as in GET /datasets/{name}/test/{index}."""

    label: int
    """The digit's label."""

    answer: int
    """The model's prediction."""

    probability: float
    """Probability that the model gives its prediction."""

    probability_of_label: float
    """Probability that the model gives the label."""

    image: str
    """The 28x28 picture, as a data URL of a PNG."""


class Model(Record):
    """A checkpoint that can predict."""

    id: str
    """The job's id, or JOB@EPOCH for one of its epochs."""

    object: Literal["model"]

    job_id: str

    epoch: int

    final: bool
    """Whether this is the last epoch of its spec."""

    spec: TrainSpec

    parameter_count: int

    weights_sha256: str
    """SHA-256 over the weight tensors alone; equal means bit-identical weights."""

    weights_bytes: int
    """Size of the weights file, in bytes."""

    accuracy: float | None
    """Accuracy on `evaluated_on`; null without an evaluation."""

    evaluated_on: str | None

    created_at: dt.datetime

    links: ModelLinks


class ModelLinks(Record):
    """Paths of the resources and actions of a model."""

    self: str

    job: str

    evaluation: str

    predict: str


class ModelMetadata(Record):
    """The input and output tensors of a model."""

    name: str

    versions: list[str]
    """Epochs that have a checkpoint."""

    platform: str

    inputs: list[TensorMetadata]

    outputs: list[TensorMetadata]


class ModelReady(Record):
    """Readiness of a model."""

    live: bool

    ready: bool

    name: str


class OneAnswer(Record):
    """The response for one image."""

    read_as: ReadAs

    warnings: list[Warned] | None
    """About images that are unlike the training digits."""

    label: int
    """The most probable digit."""

    probabilities: list[float] | None
    """Probabilities of the digits 0 to 9; they sum to 1."""

    top: list[Likely] | None
    """With ?top_k=: the most probable digits, best first."""

    inverted: bool | None
    """With ?fit=true: whether dark ink on light paper was inverted."""

    seen: list[list[int]] | None
    """With ?fit=true: the 28x28 pixels that the network saw."""

    model: PredictedBy


class OneOfMany(Record):
    """The prediction of one of several models for one image."""

    label: int
    """The most probable digit."""

    probabilities: list[float] | None
    """Probabilities of the digits 0 to 9; they sum to 1."""

    top: list[Likely] | None
    """With ?top_k=: the most probable digits, best first."""

    inverted: bool | None
    """With ?fit=true: whether dark ink on light paper was inverted."""

    seen: list[list[int]] | None
    """With ?fit=true: the 28x28 pixels that the network saw."""

    model: PredictedBy


class Outcome(Record):
    """What came of a training that has ended."""

    kind: Literal["learned", "learned_little", "overfits", "did_not_learn", "diverged", "untrained"]
    """learned: at least 80 % of the images are right; learned_little: fewer; did_not_learn: less than 10 points
    more than by one answer to all images; overfits: learned, but training images are right more often, or the
    validation loss has risen; diverged: the loss was not finite; untrained: no epochs.
    """

    reason: str
    """Why, in one or two sentences."""

    remedy: str | None
    """What to do about it; null if nothing is to be done."""


class OutputTensor(Record):
    """An output tensor of a response."""

    name: str

    shape: list[int]

    datatype: str

    parameters: dict[str, Any] | None

    data: list[Any] | None


class Pair(Record):
    """Two groups, compared on the seeds that both have."""

    first: dict[str, Any]

    second: dict[str, Any]

    seeds: list[int]

    accuracy_difference: MeanInterval
    """First minus second, seed by seed."""

    p_value: float | None
    """Paired test of the difference, against chance in seeds and test images, for this pair alone; null below 3
    seeds.
    """

    p_adjusted: float | None
    """The same, adjusted for all pairs that are compared; see adjustment."""

    adjustment: Literal["holm", "dunnett"]
    """holm: for all pairs of groups; dunnett: for all groups against the baseline."""

    mcnemar: list[Mcnemar]
    """By seed, where it is known which images each model has right."""

    verdict: str
    """The result of the comparison, in words."""


class Parameter(Record):
    """A parameter of a scheme, and its range."""

    name: str

    description: str

    default: Any

    types: list[str]
    """JSON types that its value may have."""

    choices: list[Any] | None
    """Allowed values, if it has a fixed set of them."""

    minimum: float | None

    exclusive_minimum: float | None

    maximum: float | None

    exclusive_maximum: float | None


class Path(Record):
    """The path of one image through a network."""

    object: Literal["path"]

    model: PredictedBy

    label: int
    """The most probable digit."""

    probabilities: list[float]

    layers: list[LayerOfPath]

    links: list[LinkOfPath]
    """From the answer down: of each traced unit the 4 largest contributions, and of the units that they come
    from at most 12 a layer. They end at the first hidden layer.
    """


class PhaseDiagram(Record):
    """Fixed points and depth scales of wide networks, by rows of `sigma_b` and columns of `sigma_w`.

    Null stands for a value that is infinite or does not exist.
    """

    object: Literal["phase_diagram"]

    activation: Literal["relu", "tanh", "scaled_tanh", "sigmoid", "softsign", "leaky_relu", "selu", "gelu", "identity"]

    sigma_w: list[float]

    sigma_b: list[float]

    phase: list[list[Literal["ordered", "critical", "chaotic", "unbounded"]]]
    """ordered: all images become one, or the signal dies (q* = 0); chaotic: like images part; critical: chi is 1
    within 1e-4; unbounded: the signal grows without end.
    """

    q: list[list[float | None]]
    """Mean square q* of z that layers reach from 1."""

    c: list[list[float | None]]
    """Correlation c* of two images that layers reach from 0; null where q* = 0."""

    chi: list[list[float | None]]
    """sigma_w^2 E phi'(sqrt(q*) Z)^2: by how much the square of a gradient changes in a layer."""

    xi_q: list[list[float | None]]
    """Layers in which the signal's distance from q* falls to 1/e."""

    xi_c: list[list[float | None]]
    """Layers in which the correlation's distance from c* falls to 1/e; networks train to a depth of a few xi_c
    (Schoenholz et al. 2017).
    """

    critical_line: list[CriticalPoint]
    """The line chi = 1 within the range of the grid."""

    schemes: list[SchemePlace]
    """Schemes to which the theory applies."""


class PredictedBy(Record):
    """The model that made a prediction."""

    id: str
    """Id of the model, as JOB@EPOCH."""

    scheme: str

    accuracy: float | None

    evaluated_on: str | None

    weights_sha256: str


class Prediction(Record):
    """The prediction for one image."""

    label: int
    """The most probable digit."""

    probabilities: list[float] | None
    """Probabilities of the digits 0 to 9; they sum to 1."""

    top: list[Likely] | None
    """With ?top_k=: the most probable digits, best first."""

    inverted: bool | None
    """With ?fit=true: whether dark ink on light paper was inverted."""

    seen: list[list[int]] | None
    """With ?fit=true: the 28x28 pixels that the network saw."""


class PretrainMetrics(Record):
    """The numbers of one pass over the training images by one layer's restricted Boltzmann machine."""

    number: int
    """Number of the epoch over all layers, from 1."""

    layer: int
    """The hidden layer, from 1."""

    epoch: int
    """Number of the epoch of this layer, from 1."""

    reconstruction_error: float
    """Mean over images of |data - reconstruction|^2."""

    free_energy_gap: float | None
    """Mean free energy of held-out images minus that of training images, in nats; growth is overfitting.

    Null without held-out images.
    """

    reconstruction_kl: float | None
    """Actual against recreation: mean over 1,000 learned images of sum_i KL(x_i, r_i), in nats, after one step
    of sampling; numbers in [0, 1] are read as probabilities. Null in epochs before this was measured.
    """

    pseudo_log_likelihood: float | None
    """Mean over the same images of sum_i log p(v_i | the other v), estimated from one bit an image, in nats.

    Null in epochs before this was measured.
    """

    hidden_activity: float
    """Mean probability that a hidden unit is on."""

    weight_std: float
    """Standard deviation of the weights."""

    weight_absmax: float
    """Largest magnitude of a weight."""

    update_ratio: float | None
    """Norm of the last step over the norm of the weights; about 0.001."""

    duration_s: float
    """Seconds of pre-training, without the checkpoint."""

    images_per_s: float
    """Training images a second."""


class Preview(Record):
    """A network as its scheme fills it, before any training."""

    object: Literal["preview"]

    spec: TrainSpec
    """The spec that was previewed."""

    data: str
    """Data set; layers are measured on its first 512 training images."""

    note: str | None
    """A remark on how this scheme starts; null where there is none."""

    diagnostics: Diagnostics


class Progress(Record):
    """Progress of a running job."""

    phase: Literal["pretrain", "train"] | Literal["prepare"]
    """pretrain: the training of the scheme, before that of the job.

    prepare: the worker draws or loads the weights and compiles what the network needs on a GPU.
    """

    layer: int | None
    """In pre-training: the hidden layer in training, from 1; else null."""

    epoch: int
    """The epoch in progress, from 1; in pre-training counted over all layers."""

    epochs: int

    step: int
    """The step within the epoch, from 1; 0 in preparation."""

    steps_per_epoch: int

    percent: float
    """Processed share of the training images of all epochs of the phase, 0 to 100."""

    running_loss: float | None
    """Mean cross entropy of this epoch so far, in nats per image; null in the other phases."""

    images_per_s: float

    time_left_s: float | None
    """Estimated time left at the current speed, in seconds; null in preparation."""


class RateTried(Record):
    """One learning rate of one group."""

    group: str
    """Name of the group that is compared at its chosen rate."""

    rate: float

    n: int
    """Seeds that have succeeded at this rate."""

    validation_accuracy: MeanInterval | None
    """After the last epoch; null without any."""

    chosen: bool
    """Whether the group is compared at this rate."""

    at_edge: bool
    """Whether this is the chosen rate and the lowest or highest tried: a better one may be beyond."""


class ReadAs(Record):
    """How the images were read."""

    form: Literal["png", "jpeg", "webp", "avif", "bmp", "gif", "raw", "npy", "json"]
    """Format that the body was read as."""

    scale: Literal["0-255", "0-1", "mnist-normalized"]
    """Range of the numbers."""

    fitted: bool
    """Whether digits were found, scaled and centred by mass, as in MNIST."""

    clipped: bool | None
    """True if numbers a little beyond 0 or 1 were clipped."""


class Readiness(Record):
    """The parts that were checked; a process that is not ready answers 503 with the reason."""

    status: str

    version: str
    """Version of Fanin."""

    build: str | None
    """Name of the build (FANIN_BUILD), if it has one."""

    database: str
    """A row was written."""

    artifacts: str
    """ok: files can be written; read-only: only workers can write them; away: the object storage does not
    answer, and only models that are in memory are served.
    """

    disk_free_bytes: int | None
    """Free bytes on the disk of the checkpoints; null: they are in object storage."""

    data: str
    """mnist, or mnist_5k where the files of MNIST are not there."""

    workers: int
    """Workers with a recent heartbeat; without one, jobs wait."""


class RecipeView(Record):
    """A published claim about initialization, and how it is tested."""

    name: str

    object: Literal["recipe"]

    title: str

    claim: str

    source: str

    expected: str
    """Criterion for a reproduced claim, fixed before any run."""

    seeds: list[int]

    least_seeds: int
    """Smallest number of seeds that can be judged."""

    members: int
    """Number of jobs."""

    is_long: bool
    """Whether it runs for many minutes."""


class SGD(Record):
    """Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it."""

    name: Literal["sgd"]

    lr: float
    """Learning rate."""

    momentum: float
    """Momentum."""

    weight_decay: float
    """L2 penalty, added to the gradient of weights and biases."""


class Samples(Record):
    """Samples of a deep belief network."""

    object: Literal["samples"]

    model: str
    """The job whose pre-training it is."""

    start: Literal["noise", "digits"]

    layers: list[int]
    """Units of the images and of every machine's hidden layer."""

    chains: list[Chain]


class SchemePlace(Record):
    """Where a scheme with its default parameters and biases stands, for layers of `width` units."""

    scheme: str

    sigma_w: float

    sigma_b: float


class Score(Record):
    """A label with its probability."""

    label: str

    score: float


class ServerMetadata(Record):
    """Name, version and protocol extensions of the server."""

    name: str

    version: str

    extensions: list[str]


class TensorMetadata(Record):
    """A tensor of a model; -1 is a dimension of any size."""

    name: str

    datatype: str

    shape: list[int]


class TrainSpec(Record):
    """How one model is initialized and trained."""

    spec_version: Literal[1]
    """Version of this description."""

    architecture: Architecture
    """The network. Default: {"hidden": [256, 256], "activation": "relu", "inputs": "zero_to_one"}"""

    init: Record
    """The initialization scheme with its parameters.

    Default: {"scheme": "xavier_uniform", "bias": "zeros", "bias_value": 0.0, "gain": 1.0}
    """

    output_init: Literal["same", "small", "zeros"]
    """How the output layer's weight starts: by the scheme, from N(0, 0.01^2), or 0."""

    optimizer: Adam | SGD
    """The optimizer with its parameters. Default: {"name": "adam", "lr": 0.001, "weight_decay": 0.0}"""

    batch_size: int
    """Images a step."""

    drop_last: bool
    """Leave out the last batch of an epoch if it is smaller than the others."""

    epochs: int
    """Passes over the training images; 0 only initializes and evaluates."""

    lr_schedule: Literal["constant", "linear", "cosine"]
    """How the learning rate falls with every step, from optimizer.lr after warm-up to 0 at the end: linear, or
    along half a cosine; constant: not at all.
    """

    warmup_steps: int
    """Steps at first in which the learning rate rises evenly to optimizer.lr."""

    seed: int
    """Seed of the first weights and of the order of images."""

    data: Literal["auto", "mnist", "mnist_5k"]
    """auto: MNIST, or the 5,000 digits of mnist_5k where MNIST is not available."""

    validation_images: int
    """Images held out from the end of the training set and evaluated every epoch."""

    patience: int | None
    """Training ends after this many epochs without a lower loss on the validation images; null: never."""

    test_curve: bool
    """Also record the test accuracy of every epoch (the last one is always)."""

    precision: Literal["float32", "tf32", "bf16"]
    """To what a GPU may round the inputs of matrix products, for speed: tf32 keeps 10 bits of the mantissa; bf16
    keeps 7, and rounds results too. Weights stay in float32, and a CPU always uses float32. The job says what
    was used.
    """

    max_seconds: float | None
    """Seconds of training, of all attempts together, after which the job fails with the reason time-limit; its
    last checkpoint stays. null: no limit.
    """

    diagnostics: bool
    """Record statistics of every layer at the start and with every epoch, on 512 training images."""


class Validation(Record):
    """The resolved spec and the estimates of a submission that was only validated; nothing is queued."""

    object: Literal["validation"]

    spec: TrainSpec
    """The complete spec, with all defaults filled in."""

    parameter_count: int

    queue_position: int
    """Place that the job would have in the queue; 1 is next."""

    estimated_start_at: dt.datetime | None
    """Estimated start; null if unknown."""

    estimated_duration_s: float | None
    """From the speed of recent jobs; null before the first."""

    estimated_memory_bytes: int
    """Memory of the training, with a third to spare."""

    estimated_checkpoint_bytes: int
    """Size of the checkpoints of all epochs."""


class Verdict(Record):
    """The outcome of a recipe."""

    measured: str | None
    """What was measured; null until all members have ended."""

    holds: bool | None
    """Whether the claim was reproduced; null if undecided."""

    reason: str | None
    """Why it is undecided."""

    table: list[list[str]]
    """Further measurements, if any; the first row is the header."""


class Warned(Record):
    """A warning that an image is unlike the digits of the training set."""

    index: int
    """Index of the image, from 0."""

    kind: Literal[
        "blank",
        "dark_on_light",
        "off_centre",
        "fills_the_frame",
        "too_small",
        "faint",
        "too_much_ink",
        "noise",
        "several_digits",
        "cut_off",
        "unsure",
    ]

    detail: str
    """The cause and a hint."""


class WorkerView(Record):
    """A worker process, which serves one device slot of one machine."""

    name: str
    """As node:slot."""

    object: Literal["worker"]

    is_live: bool
    """Whether its last heartbeat is younger than FANIN_WORKER_TTL_S."""

    last_heard_s: float
    """Seconds since its last heartbeat, by the database's clock."""

    device_kind: str
    """cpu or cuda."""

    device_name: str

    threads: int
    """CPU threads."""

    run_id: str | None
    """The run in training; null if the worker is idle."""

    started_at: dt.datetime
