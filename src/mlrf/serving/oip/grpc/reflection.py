"""gRPC's server reflection, by which tools like grpcurl discover calls and messages."""

from __future__ import annotations

from typing import Any

from mlrf.serving.oip.grpc.message_types import FILES, POOL, message, parsed_short

REFLECTION = "grpc.reflection.v1.ServerReflection"
REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection"
"""The same under its first name, which many tools still use."""
_REQUEST = message("grpc.reflection.v1.ServerReflectionRequest")
_RESPONSE = message("grpc.reflection.v1.ServerReflectionResponse")
_NOT_FOUND, _UNIMPLEMENTED = 5, 12
"""gRPC codes by number, as used in errors."""


class Reflection:
    """Describes `services` by the descriptors of their messages."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._services = services

    def answer(self, body: bytes) -> bytes:
        """Answer one request of the stream; raises MalformedRequestError for an invalid one."""
        request = parsed_short(_REQUEST, body)
        response = _RESPONSE(valid_host=request.host, original_request=request)
        try:
            self._answer(request, response)
        except KeyError:
            response.error_response.error_code = _NOT_FOUND
            response.error_response.error_message = "this server has no such file, symbol or type"
        written: bytes = response.SerializeToString()
        return written

    def _answer(self, request: Any, response: Any) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                response.file_descriptor_response.file_descriptor_proto.append(FILES[request.file_by_filename])
            case "file_containing_symbol":
                name = POOL.FindFileContainingSymbol(request.file_containing_symbol).name
                response.file_descriptor_response.file_descriptor_proto.append(FILES[name])
            case "all_extension_numbers_of_type":
                found = POOL.FindMessageTypeByName(request.all_extension_numbers_of_type)
                response.all_extension_numbers_response.base_type_name = found.full_name
            case "file_containing_extension":
                raise KeyError(request.file_containing_extension.extension_number)
            case _:
                response.error_response.error_code = _UNIMPLEMENTED
                response.error_response.error_message = "the kind of request is not supported"
