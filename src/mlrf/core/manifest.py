"""The manifest of a bundle: `manifest.json` as types, and the names of the files that it lists.

Annotations are evaluated here: msgspec would compile each one that is a string, which takes 2 % of a server's start.
"""

from typing import Annotated, Literal

import msgspec

from mlrf.core.lazy_pattern import lazy_pattern

FORMAT = 2
MANIFEST = "manifest.json"
SCHEMA = "schema.json"
ONNX_MODEL = "model.onnx"
FOREST = "forest.bin"
FINAL_FOREST = "final.bin"
GOLDEN = "golden.parquet"
FEATURES = "features.parquet"
EXPLANATIONS = "explanations.parquet"
GOLDEN_ROWS = "golden.bin"
LEAVES = "leaves.bin"
SIGNATURE = "model.sig"
"""The detached signature, which no manifest lists; the name that OpenSSF Model Signing gives it."""
NAME_PATTERN = lazy_pattern(r"(?!\.+\Z)[A-Za-z0-9._-]{1,64}")
"""Pattern of a model's name. The name is part of URL paths, in which `.` and `..` have another meaning."""
NAME_RULE = "1 to 64 characters of A-Z a-z 0-9 . _ - (not only dots)"
FILE_PATTERN = lazy_pattern(r"(?!\.+\Z)[A-Za-z0-9._-]{1,100}")
"""Pattern of a listed file's name: a name in the bundle's own directory, on any file system and in any URL."""
MAX_FILES = 100
"""Most files of a bundle; bundles that mlrf writes have fewer than ten."""
_MARGIN_LIMIT = 1e-6
_GRAPH_LIMIT = 1e-4

Task = Literal["regression", "binary", "multiclass", "ranking", "raw"]
Covers = Literal["training", "sample", "none"]
"""The rows from which the covers of explanations come: training rows, sample rows, or none (no explanations)."""


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the bundle in the manifest."""

    sha256: str
    size_bytes: Annotated[int, msgspec.Meta(ge=0)]


class LinkEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The link in the manifest."""

    kind: str
    scale: float = 1.0


class CalibratorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A function from one number to a probability: a logistic curve, or a line through points."""

    slope: float = 0.0
    """The curve is 1 / (1 + exp(slope x + intercept))."""
    intercept: float = 0.0
    x: list[float] = []
    """x of the points of the line, ascending; empty for a curve. Beyond the first and the last point, y is constant."""
    y: list[float] = []


class MemberEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A member of a combination: how its share of the forest's outputs becomes its answer."""

    outputs: int
    """Number of the forest's outputs that belong to the member; they follow those of the members before it."""
    link: LinkEntry
    divisor: float = 1.0
    """The sum of the trees is divided by this and multiplied by `scale`, and `offsets` are added, before the link."""
    scale: float = 1.0
    offsets: list[float] = []
    """[outputs], or none."""
    precision: Literal["float64", "float32"] = "float64"
    """Precision of the link and of isotonic calibrators."""
    both_classes: bool = False
    """Whether the member's answer is one probability p, which is combined as the two (1 - p, p)."""
    calibrators: list[CalibratorEntry] = []
    """One for the second class, or one for each class; empty if the answer is not calibrated."""
    class_at_half: Literal[0, 1] | None = None
    """If set, the member's answer is the index of the class that it chooses: of two, this one at a probability of 0.5."""
    combination: "CombinationEntry | None" = None
    """If set, the member is itself a combination, and its outputs are those of its members."""


class CombinationEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the answers of several models become the margins of one."""

    kind: Literal["mean", "weighted_mean", "weighted_median", "linear", "each", "votes", "one_against_one"]
    """`linear`: each margin is a weighted sum of answers and an intercept; `each`: the margins are the answers in order;
    `votes`: each class's share of the answers, which are classes; `one_against_one`: votes in pairs of classes."""
    members: list[MemberEntry]
    weights: list[float] = []
    """[members] of a mean, median or votes; in `one_against_one` the answer above which the second class wins."""
    coefficients: list[list[float]] = []
    """[margins, answers] of a linear combination."""
    intercepts: list[float] = []
    """[margins] of a linear combination."""
    row_coefficients: list[list[float]] = []
    """[margins, features] of a linear combination that adds multiples of the row's own numbers; empty if it adds none."""
    final: Literal["none", "answers", "answers_and_rows"] = "none"
    """What the trees in `final.bin` read, whose outputs are then the margins: the combined answers, or these and the row."""
    precision: Literal["float64", "float32"] = "float64"
    """Precision of a mean."""
    second_class_only: bool = False
    """Whether the combined answer is two probabilities, of which the second is the margin."""
    n_classes: int = 0
    """Number of classes that are voted for."""

    @property
    def reads_rows(self) -> bool:
        """Whether the margins depend on the row itself, besides the answers of the members."""
        return bool(self.row_coefficients) or self.final == "answers_and_rows"


class ModelFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The size of a forest."""

    trees: int
    leaves: int
    max_depth: int
    categorical_features: int
    linear_leaves: int = 0
    """Leaves that are linear functions of the row and no constants."""


class GraphEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The output of a graph of operators that is the prediction. The graph is the user's ONNX file, run unaltered.

    The margins of such a bundle are the numbers of that output, and its link is the identity.
    """

    output: str
    """Name of the graph's output that is served."""
    column: int | None = None
    """The one column that is served, if the other columns follow from it; None if all columns are."""
    keys: list[str | int] | None = None
    """Keys of the maps that the output consists of, in the order of its columns; None for a tensor."""
    operators: dict[str, int] = {}
    """Number of operators by name."""


class ParityRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Result of one kind of golden rows at build: rows tried, rows bit-equal, and the largest margin difference."""

    rows: int
    bit_equal: int
    max_difference: float


class CoverageEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Number of inner nodes that the golden rows exercised at build."""

    nodes: int
    """Inner nodes reached by a golden row whose value lies exactly at the split."""
    unreachable: int
    """Inner nodes that no row can reach."""
    both_sides: int
    """Reached nodes whose left and right branches were both taken."""
    missing_rule: int
    """Reached nodes that were tested with a missing value."""
    category_probes: int
    """Pairs of categorical node and category tried."""
    category_probes_left_out: int
    """Pairs of categorical node and category not tried, because there were too many."""
    table_entries: int = 0
    """Entries of the model's lookup tables (CatBoost's CTR features)."""
    table_entries_found: int = 0
    """Table entries that a golden row looks up; the remaining entries are not proven."""


class BandEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bands around the thresholds of one feature, in which processors differ."""

    feature: str
    thresholds: int
    """Thresholds with a band."""
    ulps: int
    """Most float64 numbers between a threshold and an end of its band."""
    width: float
    """The greatest distance between a threshold and an end of its band."""


class ProcessorEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The processor on which the thresholds of a pipeline's steps were found, where its functions differ between processors."""

    functions: list[str]
    """What the steps apply: NumPy's functions, transformers."""
    machine: str
    """Its architecture."""
    cpu_features: list[str]
    """Those that NumPy uses of it."""
    libc: str
    """The C library."""
    bands: list[BandEntry]


class KeyFieldEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field of the key of stored rows."""

    name: str
    type: Literal["string", "integer", "date", "boolean"]


class RowsEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows that are served by key: those of `features.parquet`, or none at first if the bundle has no such file."""

    key: list[KeyFieldEntry]
    as_of_column: str | None = None
    """The column of `features.parquet` that holds the as-of time."""
    count: int = 0
    """Rows in `features.parquet`."""
    explained: int = 0
    """Rows whose contributions are in `explanations.parquet`."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The fields of `manifest.json`. It has no time stamp, so that the same inputs give the same version."""

    format: int
    name: str
    task: Task
    objective: str
    """Name of the objective in the training library."""
    link: LinkEntry
    classes: list[str | int | float | bool] | None
    """Class labels in the order of the model's outputs; None unless a classifier."""
    targets: list[list[str | int | float | bool]] = []
    """Class labels of each target of a classifier of several, whose outputs are the probabilities of all classes, target by
    target; empty for other models."""
    class_at_half: Literal[0, 1] = 1
    """The class of a binary prediction of exactly 0.5: several libraries give it to the first."""
    predict_returns: Literal["value", "label"] = "value"
    """What `predict` of the object that was built returns, which the routes of other platforms answer: `value` is the native
    prediction, `label` a class. It is `label` only for classifiers with known labels."""
    n_features: int
    n_outputs: int
    base: list[float]
    """[n_outputs] expected raw margin over the training rows; empty for a graph, which has none."""
    facts: ModelFacts | None
    """Size of a forest; None for a graph."""
    graph: GraphEntry | None = None
    """Served output of a graph; None for a forest."""
    combination: CombinationEntry | None = None
    """How the forest's outputs become the margins, if the forest holds several models; None if they are the margins."""
    libraries: dict[str, str]
    """Versions of the packages that made the bundle, by distribution name."""
    parity: dict[str, dict[str, ParityRows]]
    """Results of the golden rows by engine, then by kind of rows."""
    precision: Literal["float64", "float32"] = "float64"
    """Precision of the training library's margins and predictions."""
    coverage: CoverageEntry | None = None
    """Coverage of the model's nodes by the golden rows."""
    covers: Covers = "training"
    library: str = ""
    """The distribution of the library that trained the model."""
    notes: list[str] = []
    """Unexpected things that the importer did, a sentence each."""
    processor: ProcessorEntry | None = None
    """Where the training library's answers depend on the processor; None if they do nowhere."""
    rows: RowsEntry | None = None
    """The rows that are served by key; None if the model is not served by key."""
    files: dict[str, FileEntry]

    @property
    def margin_limit(self) -> float:
        """Largest difference allowed between a margin and its golden margin, as a share of max(|margin|, mean |margin|).

        A forest's sums are the same on every machine, except for the order in which ONNX Runtime adds. The results of a float32
        graph differ between processors by the rounding of thousands of products.
        """
        return _GRAPH_LIMIT if self.graph is not None and self.precision == "float32" else _MARGIN_LIMIT

    @property
    def parts(self) -> str:
        """The parts of the model, for use in a sentence."""
        if self.facts is not None:
            return f"{self.facts.trees} trees, {self.facts.leaves} leaves"
        counts = {} if self.graph is None else self.graph.operators
        named = ", ".join(name if count == 1 else f"{count} {name}" for name, count in counts.items())
        total = sum(counts.values())
        return f"a graph of {total} operator{'' if total == 1 else 's'} ({named})"
