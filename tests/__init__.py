import pytest

pytest.register_assert_rewrite("tests.contracts", "tests.worlds")  # so that they say what differs
