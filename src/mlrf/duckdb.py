"""A bundle as a function of DuckDB's SQL: `register(con, "sales", "bundle")`, then `SELECT sales(t) FROM t`.

1. A row is one struct, matched by name (`sales(t)`, or `sales({'price': p, …})`), or its features as arguments in the order of
   the model's schema (`sales(*COLUMNS(t.*))`), whose number must be right: DuckDB does not pass names of arguments.
2. DuckDB calls the function with a vector of rows at a time. NULL is a missing value; a struct that is NULL has no answer.
3. An invalid value ends the query with the sentence that a server answers.
"""

from __future__ import annotations

import os
from typing import Any

from mlrf.core.errors import ConfigError, InvalidRequestError
from mlrf.core.leniency import UnknownCategories

try:
    import duckdb
    import pyarrow as pa

    from mlrf.scoring.answer_array import AnswerFields, ArrayScorer
except ImportError as missing:
    raise ConfigError(f"mlrf.duckdb needs DuckDB and pyarrow: pip install 'mlrf[duckdb]' ({missing})") from missing


def register(
    con: Any,
    name: str,
    bundle: str | os.PathLike[str],
    *,
    label: bool = False,
    probabilities: bool = False,
    margin: bool = False,
    contributions: bool = False,
    unknown_categories: UnknownCategories = "refuse",
    version: str | None = None,
) -> None:
    """Create the function `name`, which predicts rows with a bundle, in a DuckDB connection.

    It returns a DOUBLE, or a struct by class for a multiclass model; with any of `label`, `probabilities`, `margin` and
    `contributions` a struct of `prediction` and these. `version` is the version that the bundle must have. ConfigError if the
    function exists or an option does not fit the model, BundleError if the bundle is damaged or of another version.
    """
    if not hasattr(con, "create_function"):
        raise ConfigError(f"con is a {type(con).__name__}; pass a DuckDB connection, as of duckdb.connect()")
    scorer = ArrayScorer(
        bundle,
        AnswerFields(label, probabilities, margin, contributions),
        unknown_categories=unknown_categories,
        version=version,
    )

    # DuckDB takes the number of parameters from the signature: this one has any number, of any type.
    def function(*columns: Any) -> Any:
        return _answers(scorer, name, columns)

    try:
        con.create_function(name, function, None, _duckdb_type(con, scorer.type), type="arrow", null_handling="special")
    except duckdb.NotImplementedException as error:
        raise ConfigError(
            f"{name}: the connection has such a function; call con.remove_function({name!r}) first, or choose another name"
        ) from error
    except duckdb.Error as error:
        raise ConfigError(f"{name}: DuckDB cannot create the function: {error}") from error


def _answers(scorer: ArrayScorer, name: str, columns: tuple[Any, ...]) -> Any:
    arrays = [_one_array(column) for column in columns]
    if len(arrays) == 1 and pa.types.is_struct(arrays[0].type):
        return _of_structs(scorer, arrays[0])
    names = scorer.model.schema.names
    if len(arrays) != len(names):
        raise InvalidRequestError(
            f"{name}() has {len(arrays)} arguments, and the model {len(names)} features; pass the row of a table t by name, as "
            f"{name}(t), or the features in the order of the model's schema",
            expected=len(names),
            actual=len(arrays),
        )
    return scorer(pa.table(arrays, names=names))


def _of_structs(scorer: ArrayScorer, rows: Any) -> Any:
    names = [field.name for field in rows.type]
    # flatten, unlike field, applies the validity of the structs to their fields.
    known = rows.is_valid()
    present = rows.filter(known) if rows.null_count else rows
    answers = scorer(pa.table(present.flatten(), names=names))
    if not rows.null_count:
        return answers
    return answers.take(pa.array(_positions(known.to_pylist()), pa.int64()))


def _positions(known: list[bool]) -> list[int | None]:
    """Return the index among the True ones of each, and None for each False one."""
    positions: list[int | None] = []
    seen = 0
    for each in known:
        positions.append(seen if each else None)
        seen += each
    return positions


def _one_array(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _duckdb_type(con: Any, kind: Any) -> Any:
    """Return an Arrow type as DuckDB's; ConfigError if names of a struct differ by case alone, which DuckDB cannot hold."""
    if not pa.types.is_struct(kind):
        return {pa.float64(): "DOUBLE", pa.int64(): "BIGINT", pa.bool_(): "BOOLEAN", pa.string(): "VARCHAR"}[kind]
    fields: dict[str, Any] = {}
    for field in kind:
        if alike := [each for each in fields if each.lower() == field.name.lower()]:
            raise ConfigError(
                f"{alike[0]!r} and {field.name!r} differ by upper and lower case alone, which DuckDB does not distinguish"
            )
        fields[field.name] = _duckdb_type(con, field.type)
    return con.struct_type(fields)
