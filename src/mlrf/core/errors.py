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

    def __init_subclass__(cls, *, code: str) -> None:
        """Give a kind of error its code, which the statement of the class must name."""
        cls.code = code

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details: dict[str, Any] = details


class ConfigError(MlrfError, code="CONFIG_INVALID"):
    """An option, an environment variable or a settings file is wrong."""


class BundleError(MlrfError, code="BUNDLE_INVALID"):
    """A bundle on disk is missing, incomplete, altered, or of a format that this version cannot read."""


class RowsError(MlrfError, code="ROWS_INVALID"):
    """A file of rows by key cannot be read, or does not fit the model; none of its rows were stored."""


class EngineError(MlrfError, code="ENGINE_FAILED"):
    """An engine could not be started or could not compute."""


class RepositoryError(MlrfError, code="REPOSITORY_FAILED"):
    """A model repository could not be changed; its pointers are unchanged."""


class SchemaChangedError(MlrfError, code="SCHEMA_CHANGED"):
    """A version of a model is incompatible with the clients of the one before."""


class BuildError(MlrfError, code="BUILD_FAILED"):
    """A bundle could not be made; nothing was written."""


class ModelUnreadableError(BuildError, code="MODEL_UNREADABLE"):
    """The model file is missing, truncated, or not a model."""


class UnsupportedModelError(BuildError, code="UNSUPPORTED_MODEL"):
    """The model is sound but of a kind that mlrf does not serve; the message names the kind."""


class SampleError(BuildError, code="SAMPLE_INVALID"):
    """Sample rows, category lists or class labels do not fit the model."""


class OutputExistsError(BuildError, code="OUTPUT_EXISTS"):
    """The output path exists, and replacing it was not requested."""


class ParityError(BuildError, code="PARITY_FAILED"):
    """The exported model does not reproduce the training library's predictions."""


class RequestError(MlrfError, code="REQUEST_REFUSED"):
    """A request cannot be answered; most subclasses are faults that the client can correct."""


class MalformedRequestError(RequestError, code="MALFORMED_REQUEST"):
    """The bytes are not HTTP, not JSON, or nested too deep."""


class InvalidRequestError(RequestError, code="INVALID_REQUEST"):
    """The body is well-formed JSON but not a valid request."""


class MissingFeatureError(InvalidRequestError, code="MISSING_FEATURE"):
    """A named row lacks a feature of the schema."""


class UnknownFeatureError(InvalidRequestError, code="UNKNOWN_FEATURE"):
    """A named row holds a name that is not a feature of the schema."""


class InvalidFeatureError(InvalidRequestError, code="INVALID_FEATURE"):
    """A feature's value is of the wrong type or out of its range."""


class UnknownCategoryError(InvalidRequestError, code="UNKNOWN_CATEGORY"):
    """A categorical feature's value is not in its list of categories."""


class FeatureCountError(InvalidRequestError, code="FEATURE_COUNT"):
    """A positional row holds too many or too few values."""


class EmptyBatchError(InvalidRequestError, code="EMPTY_BATCH"):
    """A batch holds no instance."""


class NonFiniteResultError(InvalidRequestError, code="NON_FINITE_RESULT"):
    """The prediction for this row is not a finite number."""


class NotExplainableError(InvalidRequestError, code="NOT_EXPLAINABLE"):
    """An explanation is requested from an engine that cannot explain."""


class NoThresholdsError(InvalidRequestError, code="NO_THRESHOLDS"):
    """A response curve is requested of a model whose thresholds are not known."""


class NotKeyedError(InvalidRequestError, code="NOT_KEYED"):
    """A row is requested by key from a model that is served without stored rows."""


class InvalidKeyError(InvalidRequestError, code="INVALID_KEY"):
    """A key lacks a field, has an unknown field, or has a field of the wrong type."""


class InvalidTensorError(InvalidRequestError, code="INVALID_TENSOR"):
    """A tensor has a name, shape, datatype or number of elements that the model does not accept."""


class StaleFeaturesError(InvalidRequestError, code="STALE_FEATURES"):
    """The stored row is older than the server, or the request, allows."""


class KeyNotFoundError(RequestError, code="KEY_NOT_FOUND"):
    """No row is stored under this key."""


class BatchTooLargeError(RequestError, code="BATCH_TOO_LARGE"):
    """A batch holds more instances than the server accepts."""


class BodyTooLargeError(RequestError, code="BODY_TOO_LARGE"):
    """A body holds more bytes than the server accepts, before or after decompression."""


class HeadersTooLargeError(RequestError, code="HEADERS_TOO_LARGE"):
    """The request line and headers hold more bytes, or more fields, than the server accepts."""


class LengthRequiredError(RequestError, code="LENGTH_REQUIRED"):
    """A request that needs a body declares neither a length nor chunks."""


class UnsupportedMediaTypeError(RequestError, code="UNSUPPORTED_MEDIA_TYPE"):
    """The declared content type or content encoding is not one that the route reads."""


class ExpectationFailedError(RequestError, code="EXPECTATION_FAILED"):
    """An Expect header asks for something other than 100-continue."""


class UnauthenticatedError(RequestError, code="UNAUTHENTICATED"):
    """The server requires an API key, and the request has none or an unknown one."""


class NotPermittedError(RequestError, code="NOT_PERMITTED"):
    """The request's key lacks a scope, which `details["scope"]` names."""


class RouteNotFoundError(RequestError, code="ROUTE_NOT_FOUND"):
    """No route has this path."""


class ModelNotFoundError(RequestError, code="MODEL_NOT_FOUND"):
    """No served model has this name."""


class ModelUnloadedError(ModelNotFoundError, code="MODEL_UNLOADED"):
    """The model was unloaded on purpose, and may be loaded again."""


class MethodNotAllowedError(RequestError, code="METHOD_NOT_ALLOWED"):
    """The route exists but not for this method; `details["allow"]` lists the methods it has."""


class RequestTimeoutError(RequestError, code="REQUEST_TIMEOUT"):
    """The client took too long to send its request."""


class ReloadRefusedError(RequestError, code="RELOAD_REFUSED"):
    """A version was not activated; every worker still serves the old one."""


class NotReadyError(RequestError, code="NOT_READY"):
    """The server is running but not ready."""


class FeaturesUnavailableError(RequestError, code="FEATURES_UNAVAILABLE"):
    """The feature store does not respond; requests that need no stored row are still answered.

    `reason` is what a library, the system or the store's server said. It may contain internal addresses, so it goes to the log
    and to the command line, but not to callers.
    """

    def __init__(self, message: str, *, reason: str = "", **details: Any) -> None:
        super().__init__(message, **details)
        self.reason = reason

    @property
    def explained(self) -> str:
        """The message with the reason, for operators."""
        return f"{self}: {self.reason}" if self.reason else str(self)


class InvalidStoredRowError(FeaturesUnavailableError, code="INVALID_STORED_ROW"):
    """What is stored under `details["key"]` is not a valid row of the model: damaged, forged, or outside the schema."""


class OverloadedError(RequestError, code="OVERLOADED"):
    """The server has too much work waiting to accept more."""


class DeadlineExceededError(RequestError, code="DEADLINE_EXCEEDED"):
    """The request's deadline passed before the response was ready."""
