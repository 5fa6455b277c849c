"""knobs.py: the library's settings, from the table that made it (core/knobs.def).

Reached from rss.py (which policies there are) and from `spangc help`.
"""
import importlib.machinery
import importlib.util
from pathlib import Path

KNOB_TABLE = Path(__file__).resolve().parent.parent / "knob-table"


def _module():
    loader = importlib.machinery.SourceFileLoader("knob_table", str(KNOB_TABLE))
    spec = importlib.util.spec_from_loader("knob_table", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def words(variable):
    """The words that `variable` takes, the default first."""
    return next(knob.words for knob in _module().read_table() if knob.variable == variable)


def as_text():
    module = _module()
    return "\n".join(module.as_text(module.read_table()))
