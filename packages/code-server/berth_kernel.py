"""An extension of IPython: variables of the environment, data of tables and charts, modules that are there at once."""

import datetime
import faulthandler
import functools
import importlib.abc
import importlib.util
import math
import os
import sys
import types

from IPython.display import display

GIVEN = dict(os.environ)
MOST_ROWS = 10_000
LAZY = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot", "sns": "seaborn"}

_set = []

def set_environment(variables):
    """Sets the variables of a run, and takes back those of the run before it."""
    for name in _set:
        if name in GIVEN:
            os.environ[name] = GIVEN[name]
        else:
            os.environ.pop(name, None)
    os.environ.update(variables)
    _set[:] = variables

class Lazy(types.ModuleType):
    """A module that is imported when it is first used."""

    def __init__(self, space, name, module):
        super().__init__(module)
        self.__dict__.update(_space=space, _name=name, _module=module)

    def __getattr__(self, attribute):
        module = importlib.import_module(self._module)
        if self._space.get(self._name) is self:
            self._space[self._name] = module
        return getattr(module, attribute)

def plain(value):
    """A value for JSON: a number, a date or a text."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (int, str)) else str(value)

def show_table(table, include=None, exclude=None):
    columns = table.head(MOST_ROWS).to_dict(orient="list")
    return {"e2b/data": {str(name): [plain(each) for each in values] for name, values in columns.items()}}

def show_figure(figure, include=None, exclude=None):
    try:
        chart = importlib.import_module("berth_charts").chart_of(figure)
    except Exception:  # Of another Matplotlib, which code has installed.
        chart = None
    return {"e2b/chart": chart} if chart else {}

class PillowShows(importlib.abc.MetaPathFinder):
    """Once Pillow is imported, pictures that code saves to files are shown too, as programs written for E2B expect."""

    def find_spec(self, name, path, target=None):
        if name != "PIL.Image":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (load(module), show_saved(module.Image))[0]
        return spec

def show_saved(pictures):
    save = pictures.save

    @functools.wraps(save)
    def save_and_show(picture, fp, *rest, **options):
        save(picture, fp, *rest, **options)
        # Figures are saved by Pillow too, and shown by Matplotlib.
        by = sys._getframe(1).f_globals.get("__name__", "")
        if isinstance(fp, (str, os.PathLike)) and not by.startswith("matplotlib"):
            display(picture)

    pictures.save = save_and_show

def load_ipython_extension(shell):
    # The kernel replaces stderr; a crash is to be seen where the server looks for last words.
    faulthandler.enable(getattr(sys.stderr, "_original_stdstream_copy", 2))
    sys.meta_path.insert(0, PillowShows())
    space = shell.user_ns
    for name, module in LAZY.items():
        if importlib.util.find_spec(module.partition(".")[0]):
            space[name] = Lazy(space, name, module)
    space["datetime"] = datetime
    formatter = shell.display_formatter.mimebundle_formatter
    formatter.for_type_by_name("pandas.core.frame", "DataFrame", show_table)
    formatter.for_type_by_name("matplotlib.figure", "Figure", show_figure)
