"""One model, ready to answer: the schema, the engine and the link of a bundle behind `Model`."""

from mlrf.model.model import Model, load

__all__ = ["Model", "load"]
