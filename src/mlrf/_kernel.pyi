from array import array
from collections.abc import Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Sequence[float | None]
Rows: TypeAlias = bytes | bytearray | memoryview | array  # type: ignore[type-arg]

# The file is not a forest file, has another version, or is damaged.
class ForestFileError(ValueError): ...

# What was requested would take more memory than the kernel's limit.
class TooLargeError(ValueError): ...

# A forest file in mapped memory: computes margins and SHAP values of rows.
class Forest:
    def __init__(self, path: str, level: str | None = None) -> None: ...
    # Return the K raw margins of one row: a list, a tuple, or a buffer of float64 or float32.
    def margin(self, row: Row | Rows) -> list[float]: ...
    # Return the raw margins of n rows, [n, K] row-major; the bits do not depend on `threads`.
    def margins(self, rows: Rows, threads: int = 1) -> array[float]: ...
    # Return the SHAP values of one row, [F, K] row-major; with `base` they add up to the margin.
    def contributions(self, row: Row | Rows) -> array[float]: ...
    # Return the SHAP values of n rows, [n, F, K] row-major; within 1e-12 of `contributions` of each.
    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]: ...
    # Return the interaction values of n rows, [n, F, F, K] row-major: symmetric, and each matrix row adds up to a SHAP value.
    def interactions(self, rows: Rows, threads: int = 1) -> array[float]: ...
    # Return the margins [n, K] of sums that start at `starts` (float64 [n, K]) instead of the model's base score.
    def margins_from(self, rows: Rows, starts: Rows) -> array[float]: ...
    # Return [n, trees]: for each row and each tree of `trees`, the element of `numbers` for the leaf that the row reaches.
    # Both are u32; `numbers` has an element for each leaf of the file.
    def leaves(self, rows: Rows, trees: Rows, numbers: Rows) -> array[float]: ...
    # Return the finite cut points of a feature, ascending: for all x with cut < x <= next cut (in float64) the margins are the
    # same. Categories are treated as numbers, their codes.
    def cuts(self, feature: int) -> array[float]: ...
    # The expected raw margin, [K].
    @property
    def base(self) -> list[float]: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def n_trees(self) -> int: ...
    # The name of the instruction set in use (kernel/src/dispatch.cpp).
    @property
    def level(self) -> str: ...
    # How the file is laid out: narrow (swept in bytes, in words, or walked) or wide.
    @property
    def layout(self) -> str: ...
    # The features of each combination of categories that the model looks up as one: they must be in one group.
    @property
    def combinations(self) -> list[list[int]]: ...
    # Whether leaves are linear functions of the row: contributions are a ValueError then, and margins change between cuts.
    @property
    def has_linear_leaves(self) -> bool: ...
    # Whether the trees are packed in blocks of 64 nodes, which the levels above baseline can score.
    @property
    def is_packed(self) -> bool: ...

# SHAP values of the game whose players are groups of features. `group_of` (u32 [F]) has the group of each feature.
class Groups:
    def __init__(self, forest: Forest, group_of: Rows, n_groups: int) -> None: ...
    # Return the SHAP values of n rows, [n, n_groups, K] row-major; with `base` they add up to the margins.
    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]: ...
    @property
    def base(self) -> list[float]: ...

# SHAP values of the game of kernel/src/games/ with this name, made from rows, with tables of at most `most_bytes`; of groups,
# if they are given.
class Game:
    def __init__(
        self, forest: Forest, name: str, rows: Rows, most_bytes: int, groups: Groups | None = None
    ) -> None: ...
    # Return the SHAP values of n rows, [n, F, K] row-major; with `base` they add up to the margins.
    def contributions_many(self, rows: Rows, threads: int = 1) -> array[float]: ...
    # What the contributions of a row add to, [K]: with a background its mean margin.
    @property
    def base(self) -> list[float]: ...
    # Bytes of the tables.
    @property
    def size_bytes(self) -> int: ...

# Checks the columns of a row that must hold whole numbers; `columns` has the index, least and greatest number of each. Minus
# zero does not count as a whole number.
class WholeColumns:
    def __init__(self, columns: Sequence[tuple[int, float, float]]) -> None: ...
    # Return whether every such column of a row (a tuple or a list) holds None or a whole number in its range.
    def admit(self, row: Sequence[float | None]) -> bool: ...

# Reads rows of Python values without running Python for each. Each of `columns` has its name, the numbers of its rule as for
# `first_outside`, whether it takes numbers, whether it takes true and false, and the code of each string (or None).
class InstanceRows:
    def __init__(
        self, columns: Sequence[tuple[str, float, float, bool, bool, bool, bool, dict[str, float] | None]]
    ) -> None: ...
    # Write rows (lists, tuples or dicts of all features) into a float64 table [n, F], missing as NaN. Return the numbers of the
    # rows that are not certainly valid, which may be written in part.
    def read(self, rows: list[Any] | tuple[Any, ...], table: Any) -> list[int]: ...
    # The same for an array of objects [n, F] in C order.
    def read_array(self, rows: Any, table: Any) -> list[int]: ...
    # Write the values of one feature to float64 [n]; return as `read`.
    def read_column(self, index: int, values: list[Any], out: Any) -> list[int]: ...

# Reads the JSON of batches without making an object for each number. Each of `columns` has its name as JSON, the least and
# the greatest number, whether numbers must be whole, whether null is admitted, and whether it holds true or false instead.
class JsonRows:
    def __init__(
        self, columns: Sequence[tuple[str, float, float, bool, bool, bool]], by_name: bool, most_rows: int
    ) -> None: ...
    # Return the float64 table [n, F] of {"instances": [{"features": row}, ...]}, missing as NaN, and its option "explain". Rows
    # are arrays or, with `by_name`, objects, all columns in order. None for any other body, for more than `most_rows`, and
    # where it is not certainly valid.
    def read(self, body: bytes) -> tuple[array[float], bool | int] | None: ...

# Reads infer requests with one tensor of numbers without making an object for each number; `columns` are (least, most, whole,
# may_miss), `names` those of the tensor as JSON strings.
class JsonTensor:
    def __init__(
        self,
        columns: Sequence[tuple[float, float, bool, bool]],
        names: Sequence[tuple[str, Any]],
        outputs: Sequence[tuple[str, Any]],
        most_rows: int,
    ) -> None: ...
    # Return the object of the requested output, or else of the tensor's name, the number of rows, their float64 table [n, F],
    # missing as NaN, the request's id, empty without one, and whether a binary answer is requested. None for any other body,
    # for more than `most_rows`, and where it is not certainly valid. `json_bytes`: length of the JSON, None for all.
    def read(self, body: bytes, json_bytes: int | None) -> tuple[Any, int, array[float], str, bool] | None: ...

# Writes explanations as JSON without making an object for each number. Names of `players` (features or groups) and `outputs`
# are JSON strings; a single output has no name. `members` are added to each document, each with a comma before it.
class ExplanationJson:
    def __init__(self, players: Sequence[str], outputs: Sequence[str], members: str) -> None: ...
    # Return a document for each row of `margins` [n, K], with their `base` [K] and `contributions` [n, F, K], all float64. It
    # names the `top` largest contributions, in descending order; all if `top` is None. The GIL is released for several rows.
    def write(self, margins: Rows, base: Rows, contributions: Rows, top: int | None, source: str) -> list[bytes]: ...

# Return the numbers of inputs, outputs, parameters, raw contents, dimensions, numbers, texts and fields in a ModelInferRequest
# in protobuf. The count ends at the first field beyond `most_fields`, and at the first bytes that are not valid protobuf.
def count_wire(message: bytes, most_fields: int) -> tuple[int, int, int, int, int, int, int, int]: ...

# Return how many numbers in JSON text have an exponent whose absolute value is at least `least`, those inside strings included.
def count_exponents(text: bytes, least: int) -> int: ...

# Return the flat index of the first value of a float64 table [n, F] that its column's rule does not admit; None if all pass.
# `rules` (float64 [F, 4]) has for each column: least, greatest, whether whole (0 or 1), whether it may be missing (0 or 1).
def first_outside(rows: Rows, rules: Rows) -> int | None: ...

# Write the columns of numbers of an Arrow record batch into a float64 table [n_rows, width], missing as NaN. `nodes` are (i64
# rows, i64 missing), `buffers` (i64 offset, i64 bytes), `columns` (u32 struct code, i32 table column or -1, u32 buffers).
# Return whether the batch is certainly valid; where it is not, the table may be written in part.
def fill_records(body: Rows, nodes: Rows, buffers: Rows, columns: bytes, table: array[float], n_rows: int) -> bool: ...

# Write columns of numbers into a float64 table [n_rows, F], missing as NaN. Each of `columns` has the code of its type in
# struct, its column of the table, its values, bits that are 0 for missing ones (or None), and the index of its first value.
# `rules` as for `first_outside`. Return the indices of the columns with a number that is not admitted.
def fill_columns(
    columns: Sequence[tuple[int, int, Any, Any, int]], rules: Rows, table: Any, n_rows: int
) -> list[int]: ...
