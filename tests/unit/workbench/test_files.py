"""The files of the page: each is listed, small, and names only files of the page."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import mlrf.workbench
from mlrf.workbench.files import CONTENT_TYPES, read_file

MOST_BYTES = 120_000


def test_every_file_of_the_folder_has_a_content_type():
    folder = Path(mlrf.workbench.__file__).parent / "page"
    assert {each.name for each in folder.iterdir()} == CONTENT_TYPES.keys()


def test_every_file_that_the_page_names_is_sent():
    named = set(re.findall(rb'(?:/ui/|"\./)([a-z-]+\.(?:js|css))"', b"".join(map(read_file, CONTENT_TYPES))))
    assert {name.decode() for name in named} == CONTENT_TYPES.keys() - {"index.html"}


def test_page_is_small_and_names_no_other_host():
    everything = b"".join(map(read_file, CONTENT_TYPES))
    assert len(gzip.compress(everything)) < MOST_BYTES
    assert set(re.findall(rb"https?://[^\"' ]+", everything)) == {b"http://www.w3.org/2000/svg"}
    assert b"innerHTML" not in everything, "what a bundle names enters the page as text"
