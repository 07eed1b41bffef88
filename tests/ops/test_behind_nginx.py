"""The hostile corpus through nginx (row 23): the server must count as many requests as nginx forwards.

On another machine than CI's nginx may be missing (apt-get install nginx-light); then this is skipped.
"""

from __future__ import annotations

import os

import pytest

import behind_nginx
from hostile_corpus import read_corpus
from rows.row_23_hostile import smuggled
from running import serving

pytestmark = pytest.mark.skipif(
    not behind_nginx.is_installed() and not os.environ.get("CI"), reason="nginx is not installed"
)


def test_never_two_requests_out_of_one(bundle, tmp_path):
    with serving(bundle) as server:
        assert smuggled(server, tmp_path, read_corpus()) == []
        assert server.troubles == []
