"""`Store`: the objects of a store below an address, to be listed, read, written and deleted."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mlrf.scoring.remote_files import file_system, object_path, store_errors


class Store:
    """The objects below an address, by their names from there; OSError if the store does not do what is requested."""

    def __init__(self, address: str) -> None:
        self._files = file_system(address)
        self._root = object_path(address)

    def is_object(self) -> bool:
        """Whether the address itself is an object."""
        from pyarrow.fs import FileType  # noqa: PLC0415

        with store_errors():
            return bool(self._files.get_file_info(self._root).type == FileType.File)

    def sizes(self) -> dict[str, int]:
        """Return the sizes in bytes of all objects."""
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415

        with store_errors():
            found = self._files.get_file_info(FileSelector(self._root, recursive=True, allow_not_found=True))
        return {each.path[len(self._root) + 1 :]: each.size for each in found if each.type == FileType.File}

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if there is none."""
        try:
            with store_errors(), self._files.open_input_file(self._path(name)) as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None

    def write(self, name: str, content: Any) -> None:
        """Create or replace an object with bytes or a buffer, and check that the store has all of it.

        Nothing can be absent from an empty one, which another process may have deleted since.
        """
        size = memoryview(content).nbytes
        with store_errors():
            with self._files.open_output_stream(self._path(name)) as stream:
                stream.write(content)
            if not size:
                return
            found = self._files.get_file_info(self._path(name)).size
        if found != size:
            raise OSError(f"the store has {found} bytes of {size}")

    def delete(self, name: str) -> None:
        """Delete an object."""
        with store_errors():
            self._files.delete_file(self._path(name))

    def delete_folder(self, name: str) -> None:
        """Delete all objects below a folder."""
        # Google's file system deletes the objects, and then an object with the folder's name, which need not exist.
        with store_errors(), suppress(FileNotFoundError):
            self._files.delete_dir(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
