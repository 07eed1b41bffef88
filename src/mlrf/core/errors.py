"""Every error that mlrf raises on purpose, in one tree.

    MlrfError
    ├── ConfigError                  CONFIG_INVALID       an option, variable or file of settings is wrong
    ├── BundleError                  BUNDLE_INVALID       a bundle on disk is not whole, not ours or not sound
    ├── RowsError                    ROWS_INVALID         a file of rows by key cannot be read or does not fit the model
    ├── EngineError                  ENGINE_FAILED        an engine could not answer
    ├── RepositoryError              REPOSITORY_FAILED    a model repository could not be changed
    ├── SchemaChangedError           SCHEMA_CHANGED       a version asks other things of its callers than the one before
    ├── BuildError                   BUILD_FAILED         a bundle could not be made
    │   ├── ModelUnreadableError     MODEL_UNREADABLE     the model file is missing, truncated or no model
    │   ├── UnsupportedModelError    UNSUPPORTED_MODEL    a sound model, of a kind that mlrf does not serve
    │   ├── SampleError              SAMPLE_INVALID       sample rows, category lists or class labels do not fit
    │   ├── OutputExistsError        OUTPUT_EXISTS        the place to write to is taken
    │   └── ParityError              PARITY_FAILED        the exported model answers otherwise than the library
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
        ├── UnauthenticatedError     UNAUTHENTICATED      a key is wanted, and none or a wrong one came
        ├── NotPermittedError        NOT_PERMITTED        the key is right, its scopes are not
        ├── RouteNotFoundError       ROUTE_NOT_FOUND
        ├── ModelNotFoundError       MODEL_NOT_FOUND
        │   └── ModelUnloadedError   MODEL_UNLOADED       it was taken out of service, and may be loaded again
        ├── MethodNotAllowedError    METHOD_NOT_ALLOWED
        ├── RequestTimeoutError      REQUEST_TIMEOUT
        ├── ReloadRefusedError       RELOAD_REFUSED       a version was not taken into service; the old one goes on
        ├── NotReadyError            NOT_READY
        ├── FeaturesUnavailableError FEATURES_UNAVAILABLE
        │   └── InvalidStoredRowError INVALID_STORED_ROW  what the store holds under the key is no row of the model
        ├── OverloadedError          OVERLOADED
        └── DeadlineExceededError    DEADLINE_EXCEEDED

An error carries a stable `code`, a sentence for a person, and `details` for a program. HTTP statuses and exit codes are
no concern of this room: `serving` and `cli` each keep one table.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MlrfError(Exception):
    """An error that mlrf raises on purpose; `str(error)` is a whole sentence that names what to do.

    `details` holds JSON values only and nothing that an outsider may not see.
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
    """A file of rows by key cannot be read, or does not fit the model; nothing of it was taken."""

    code = "ROWS_INVALID"


class EngineError(MlrfError):
    """An engine could not be started or could not answer."""

    code = "ENGINE_FAILED"


class RepositoryError(MlrfError):
    """A model repository could not be changed; its pointers are as they were."""

    code = "REPOSITORY_FAILED"


class SchemaChangedError(MlrfError):
    """A version of a model asks other things of its callers than the one before, or answers in other terms."""

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
    """The place to write to is taken, and replacing it was not asked for."""

    code = "OUTPUT_EXISTS"


class ParityError(BuildError):
    """The exported model answers otherwise than the training library does."""

    code = "PARITY_FAILED"


class RequestError(MlrfError):
    """What a caller sent cannot be answered; the fault is the caller's to mend."""

    code = "REQUEST_REFUSED"


class MalformedRequestError(RequestError):
    """The bytes are not HTTP, not JSON, or nested too deep."""

    code = "MALFORMED_REQUEST"


class InvalidRequestError(RequestError):
    """Well-formed JSON that is not a request of the contract."""

    code = "INVALID_REQUEST"


class MissingFeatureError(InvalidRequestError):
    """A named row lacks a feature of the schema."""

    code = "MISSING_FEATURE"


class UnknownFeatureError(InvalidRequestError):
    """A named row holds a name that is no feature of the schema."""

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
    """The model's answer for this row is not a finite number."""

    code = "NON_FINITE_RESULT"


class NotExplainableError(InvalidRequestError):
    """An explanation is asked of an engine that has none."""

    code = "NOT_EXPLAINABLE"


class NotKeyedError(InvalidRequestError):
    """A row is asked by key of a model that is served without rows."""

    code = "NOT_KEYED"


class InvalidKeyError(InvalidRequestError):
    """A key lacks a field, has one too many, or one of the wrong type."""

    code = "INVALID_KEY"


class InvalidTensorError(InvalidRequestError):
    """A tensor has a name, shape, datatype or number of elements that the model does not take."""

    code = "INVALID_TENSOR"


class StaleFeaturesError(InvalidRequestError):
    """The stored row is older than the server, or the request, allows."""

    code = "STALE_FEATURES"


class KeyNotFoundError(RequestError):
    """No row is stored under this key."""

    code = "KEY_NOT_FOUND"


class BatchTooLargeError(RequestError):
    """A batch holds more instances than the server takes."""

    code = "BATCH_TOO_LARGE"


class BodyTooLargeError(RequestError):
    """A body holds more bytes than the server takes, before or after decompression."""

    code = "BODY_TOO_LARGE"


class HeadersTooLargeError(RequestError):
    """The request line and headers hold more bytes, or more fields, than the server takes."""

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
    """The server wants a key, and the request carries none, or one that it does not know."""

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
    """The model was taken out of service on purpose, and may be loaded again."""

    code = "MODEL_UNLOADED"


class MethodNotAllowedError(RequestError):
    """The route exists but not for this method; `details["allow"]` lists the methods it has."""

    code = "METHOD_NOT_ALLOWED"


class RequestTimeoutError(RequestError):
    """The client took too long to send its request."""

    code = "REQUEST_TIMEOUT"


class ReloadRefusedError(RequestError):
    """A version was not taken into service; every worker serves the old one on."""

    code = "RELOAD_REFUSED"


class NotReadyError(RequestError):
    """The server lives but cannot answer this now."""

    code = "NOT_READY"


class FeaturesUnavailableError(RequestError):
    """The feature store does not answer; what needs no row is answered all the same."""

    code = "FEATURES_UNAVAILABLE"


class InvalidStoredRowError(FeaturesUnavailableError):
    """What is stored under `details["key"]` is no valid row of the model: damaged, forged, or outside the schema."""

    code = "INVALID_STORED_ROW"


class OverloadedError(RequestError):
    """The server has more work waiting than it takes on."""

    code = "OVERLOADED"


class DeadlineExceededError(RequestError):
    """The time that the client gave its request was over before the answer was made."""

    code = "DEADLINE_EXCEEDED"
