"""`Model`: the schema, engine and link of one bundle, ready to predict."""

from mlrf.model.model import Model
from mlrf.model.open_model import load

__all__ = ["Model", "load"]
