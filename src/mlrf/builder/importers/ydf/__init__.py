"""The importer of YDF's and TF-DF's model directories; ydf is not needed to read one.

`importers/ydf_directory` joins a directory's files; protobuf (messages) → trees (the IR); `reader` adds task, link and
features; `reference` runs ydf itself, in a child process.
"""

from mlrf.builder.importers.interface import Library
from mlrf.builder.importers.ydf.reader import read_ydf
from mlrf.builder.importers.ydf_directory import is_joined

LIBRARY = Library(
    name="YDF",
    reads="YDF and TF-DF model directories (gradient boosted trees, random forests) and ydf models",
    packages=("ydf",),
    recognises=is_joined,
    read=read_ydf,
)
