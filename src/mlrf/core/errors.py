"""Every error that mlrf raises on purpose, in one tree.

    MlrfError
    ├── ConfigError                  CONFIG_INVALID       an option, variable or file of settings is wrong
    ├── BundleError                  BUNDLE_INVALID       a bundle on disk is incomplete, foreign or damaged
    ├── RowsError                    ROWS_INVALID         a file of rows by key cannot be read or does not fit the model
    ├── EngineError                  ENGINE_FAILED        an engine could not start or compute
    ├── RepositoryError              REPOSITORY_FAILED    a model repository could not be changed
    ├── SchemaChangedError           SCHEMA_CHANGED       a version is incompatible with the clients of the one before
    ├── BuildError                   BUILD_FAILED         a bundle could not be made
    │   ├── ModelUnreadableError     MODEL_UNREADABLE     the model file is missing, truncated or no model
    │   ├── UnsupportedModelError    UNSUPPORTED_MODEL    a sound model, of a kind that mlrf does not serve
    │   ├── SampleError              SAMPLE_INVALID       sample rows, category lists or class labels do not fit
    │   ├── OutputExistsError        OUTPUT_EXISTS        the output path exists
    │   └── ParityError              PARITY_FAILED        the exported model differs from the training library
    └── RequestError                 REQUEST_REFUSED      what a caller sent cannot be answered
        ├── MalformedRequestError    MALFORMED_REQUEST    not HTTP, not JSON, nested too deep
        ├── InvalidRequestError      INVALID_REQUEST      well-formed, not a request of the contract
        │   ├── MissingFeatureError  MISSING_FEATURE
        │   ├── UnknownFeatureError  UNKNOWN_FEATURE
        │   ├── InvalidFeatureError  INVALID_FEATURE
        │   ├── UnknownCategoryError UNKNOWN_CATEGORY
        │   ├── FeatureCountError    FEATURE_COUNT
        │   ├── EmptyBatchError      EMPTY_BATCH
        │   ├── NonFiniteResultError NON_FINITE_RESULT
        │   ├── NotExplainableError  NOT_EXPLAINABLE
        │   ├── NoThresholdsError    NO_THRESHOLDS
        │   ├── NotKeyedError        NOT_KEYED
        │   ├── InvalidKeyError      INVALID_KEY
        │   ├── InvalidTensorError   INVALID_TENSOR       a tensor's name, shape, datatype or number of elements
        │   └── StaleFeaturesError   STALE_FEATURES
        ├── KeyNotFoundError         KEY_NOT_FOUND
        ├── BatchTooLargeError       BATCH_TOO_LARGE
        ├── BodyTooLargeError        BODY_TOO_LARGE
        ├── HeadersTooLargeError     HEADERS_TOO_LARGE
        ├── LengthRequiredError      LENGTH_REQUIRED
        ├── UnsupportedMediaTypeError UNSUPPORTED_MEDIA_TYPE
        ├── ExpectationFailedError   EXPECTATION_FAILED
        ├── UnauthenticatedError     UNAUTHENTICATED      an API key is required; none or an unknown one was sent
        ├── NotPermittedError        NOT_PERMITTED        the API key lacks the scope
        ├── RouteNotFoundError       ROUTE_NOT_FOUND
        ├── ModelNotFoundError       MODEL_NOT_FOUND
        │   └── ModelUnloadedError   MODEL_UNLOADED       it was unloaded, and may be loaded again
        ├── MethodNotAllowedError    METHOD_NOT_ALLOWED
        ├── RequestTimeoutError      REQUEST_TIMEOUT
        ├── ReloadRefusedError       RELOAD_REFUSED       a version was not activated; the old one still serves
        ├── NotReadyError            NOT_READY
        ├── FeaturesUnavailableError FEATURES_UNAVAILABLE
        │   └── InvalidStoredRowError INVALID_STORED_ROW  the stored bytes are not a valid row of the model
        ├── OverloadedError          OVERLOADED
        └── DeadlineExceededError    DEADLINE_EXCEEDED

An error carries a stable `code`, a sentence for a person, and `details` for a program. HTTP statuses and exit codes
are not defined here: `serving` and `cli` each have one table.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MlrfError(Exception):
    """An error that mlrf raises on purpose; `str(error)` is a sentence that says what to do.

    `details` holds JSON values only, and nothing that a client must not see.
    """

    code: ClassVar[str] = "ERROR"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = details


class ConfigError(MlrfError):
    """An option, an environment variable or a settings file is wrong."""

    code = "CONFIG_INVALID"


class BundleError(MlrfError):
    """A bundle on disk is missing, incomplete, altered, or of a format that this version cannot read."""

    code = "BUNDLE_INVALID"


class RowsError(MlrfError):
    """A file of rows by key cannot be read, or does not fit the model; none of its rows were stored."""

    code = "ROWS_INVALID"


class EngineError(MlrfError):
    """An engine could not be started or could not compute."""

    code = "ENGINE_FAILED"


class RepositoryError(MlrfError):
    """A model repository could not be changed; its pointers are unchanged."""

    code = "REPOSITORY_FAILED"


class SchemaChangedError(MlrfError):
    """A version of a model is incompatible with the clients of the one before."""

    code = "SCHEMA_CHANGED"


class BuildError(MlrfError):
    """A bundle could not be made; nothing was written."""

    code = "BUILD_FAILED"


class ModelUnreadableError(BuildError):
    """The model file is missing, truncated, or not a model."""

    code = "MODEL_UNREADABLE"


class UnsupportedModelError(BuildError):
    """The model is sound but of a kind that mlrf does not serve; the message names the kind."""

    code = "UNSUPPORTED_MODEL"


class SampleError(BuildError):
    """Sample rows, category lists or class labels do not fit the model."""

    code = "SAMPLE_INVALID"


class OutputExistsError(BuildError):
    """The output path exists, and replacing it was not requested."""

    code = "OUTPUT_EXISTS"


class ParityError(BuildError):
    """The exported model does not reproduce the training library's predictions."""

    code = "PARITY_FAILED"


class RequestError(MlrfError):
    """A request cannot be answered; most subclasses are faults that the client can correct."""

    code = "REQUEST_REFUSED"


class MalformedRequestError(RequestError):
    """The bytes are not HTTP, not JSON, or nested too deep."""

    code = "MALFORMED_REQUEST"


class InvalidRequestError(RequestError):
    """The body is well-formed JSON but not a valid request."""

    code = "INVALID_REQUEST"


class MissingFeatureError(InvalidRequestError):
    """A named row lacks a feature of the schema."""

    code = "MISSING_FEATURE"


class UnknownFeatureError(InvalidRequestError):
    """A named row holds a name that is not a feature of the schema."""

    code = "UNKNOWN_FEATURE"


class InvalidFeatureError(InvalidRequestError):
    """A feature's value is of the wrong type or out of its range."""

    code = "INVALID_FEATURE"


class UnknownCategoryError(InvalidRequestError):
    """A categorical feature's value is not in its list of categories."""

    code = "UNKNOWN_CATEGORY"


class FeatureCountError(InvalidRequestError):
    """A positional row holds too many or too few values."""

    code = "FEATURE_COUNT"


class EmptyBatchError(InvalidRequestError):
    """A batch holds no instance."""

    code = "EMPTY_BATCH"


class NonFiniteResultError(InvalidRequestError):
    """The prediction for this row is not a finite number."""

    code = "NON_FINITE_RESULT"


class NotExplainableError(InvalidRequestError):
    """An explanation is requested from an engine that cannot explain."""

    code = "NOT_EXPLAINABLE"


class NoThresholdsError(InvalidRequestError):
    """A response curve is requested of a model whose thresholds are not known."""

    code = "NO_THRESHOLDS"


class NotKeyedError(InvalidRequestError):
    """A row is requested by key from a model that is served without stored rows."""

    code = "NOT_KEYED"


class InvalidKeyError(InvalidRequestError):
    """A key lacks a field, has an unknown field, or has a field of the wrong type."""

    code = "INVALID_KEY"


class InvalidTensorError(InvalidRequestError):
    """A tensor has a name, shape, datatype or number of elements that the model does not accept."""

    code = "INVALID_TENSOR"


class StaleFeaturesError(InvalidRequestError):
    """The stored row is older than the server, or the request, allows."""

    code = "STALE_FEATURES"


class KeyNotFoundError(RequestError):
    """No row is stored under this key."""

    code = "KEY_NOT_FOUND"


class BatchTooLargeError(RequestError):
    """A batch holds more instances than the server accepts."""

    code = "BATCH_TOO_LARGE"


class BodyTooLargeError(RequestError):
    """A body holds more bytes than the server accepts, before or after decompression."""

    code = "BODY_TOO_LARGE"


class HeadersTooLargeError(RequestError):
    """The request line and headers hold more bytes, or more fields, than the server accepts."""

    code = "HEADERS_TOO_LARGE"


class LengthRequiredError(RequestError):
    """A request that needs a body declares neither a length nor chunks."""

    code = "LENGTH_REQUIRED"


class UnsupportedMediaTypeError(RequestError):
    """The declared content type or content encoding is not one that the route reads."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class ExpectationFailedError(RequestError):
    """An Expect header asks for something other than 100-continue."""

    code = "EXPECTATION_FAILED"


class UnauthenticatedError(RequestError):
    """The server requires an API key, and the request has none or an unknown one."""

    code = "UNAUTHENTICATED"


class NotPermittedError(RequestError):
    """The request's key lacks a scope, which `details["scope"]` names."""

    code = "NOT_PERMITTED"


class RouteNotFoundError(RequestError):
    """No route has this path."""

    code = "ROUTE_NOT_FOUND"


class ModelNotFoundError(RequestError):
    """No served model has this name."""

    code = "MODEL_NOT_FOUND"


class ModelUnloadedError(ModelNotFoundError):
    """The model was unloaded on purpose, and may be loaded again."""

    code = "MODEL_UNLOADED"


class MethodNotAllowedError(RequestError):
    """The route exists but not for this method; `details["allow"]` lists the methods it has."""

    code = "METHOD_NOT_ALLOWED"


class RequestTimeoutError(RequestError):
    """The client took too long to send its request."""

    code = "REQUEST_TIMEOUT"


class ReloadRefusedError(RequestError):
    """A version was not activated; every worker still serves the old one."""

    code = "RELOAD_REFUSED"


class NotReadyError(RequestError):
    """The server is running but not ready."""

    code = "NOT_READY"


class FeaturesUnavailableError(RequestError):
    """The feature store does not respond; requests that need no stored row are still answered."""

    code = "FEATURES_UNAVAILABLE"


class InvalidStoredRowError(FeaturesUnavailableError):
    """What is stored under `details["key"]` is not a valid row of the model: damaged, forged, or outside the schema."""

    code = "INVALID_STORED_ROW"


class OverloadedError(RequestError):
    """The server has too much work waiting to accept more."""

    code = "OVERLOADED"


class DeadlineExceededError(RequestError):
    """The request's deadline passed before the response was ready."""

    code = "DEADLINE_EXCEEDED"
