"""The store of an address. The library of each is imported on first use."""

from __future__ import annotations

from mlrf.core.errors import RepositoryError
from mlrf.stores.address import Address
from mlrf.stores.interface import StoreReader, StoreWriter


def open_reader(address: Address, timeout_s: float) -> StoreReader:
    """Return a reader of what an address names; `timeout_s` limits each wait for the network. RepositoryError if it fails."""
    if address.scheme == "s3":
        return open_writer(address, timeout_s)
    if address.scheme == "oci":
        from mlrf.stores.oci import OciStore  # noqa: PLC0415

        return OciStore(address, timeout_s)
    if address.scheme in ("models", "runs"):
        from mlrf.stores.mlflow import MlflowStore  # noqa: PLC0415

        return MlflowStore(address, timeout_s)
    from mlrf.stores.https import HttpsStore  # noqa: PLC0415

    return HttpsStore(address, timeout_s)


def open_writer(address: Address, timeout_s: float) -> StoreWriter:
    """Return a writer to what an address names; RepositoryError for stores that are read only."""
    if address.scheme == "s3":
        from mlrf.stores.s3 import S3Store  # noqa: PLC0415

        return S3Store(address, timeout_s)
    raise RepositoryError(f"{address.text}: is read only; publish to a directory that is served, or to s3:// or oci://")
