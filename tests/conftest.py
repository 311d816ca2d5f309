"""The order of the tests: the long demonstration first, so that another worker has the rest meanwhile."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of workflows first; all else keeps its order."""
    items.sort(key=lambda item: item.path.name != "test_workflows_demo.py")
