"""Damaged messages of the Open Inference Protocol, and damaged Arrow streams: some hundreds of those that `make mutated-messages` sends by the ten thousand."""

from __future__ import annotations

from mutated_messages import try_both

UNFORESEEN = (
    "from mlrf.core import errors\nfrom mlrf.serving.error_status import TABLE\ndel TABLE[errors.InvalidRequestError]\n"
)


def test_damaged_messages_are_answered_or_client_errors():
    seen, faults = try_both(500, seed=6)
    assert faults == []
    # Some come as far as the model, and not all.
    expected = ((seen["REST"], "200", "422"), (seen["gRPC"], "OK", "INVALID_ARGUMENT"), (seen["Arrow"], "200", "400"))
    for came, answered, refused in expected:
        assert came[answered] > 10
        assert came[refused] > 10


def test_planted_fault_is_detected():
    _, faults = try_both(60, broken_by=UNFORESEEN)
    assert {"REST: 500", "gRPC: INTERNAL"} <= set(faults)
