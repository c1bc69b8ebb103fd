"""Cells that the session pool's kernel must answer as ipykernel does, in this order."""

PLOT = "import matplotlib.pyplot as plt\n"

CELLS: dict[str, str] = {
    # Values
    "an integer": "1 + 1",
    "a text": "'text'",
    "a text with quotes": "'it\\'s \"so\"'",
    "bytes": "b'\\x00\\xff'",
    "none": "None",
    "nothing": "x = 1",
    "no code": "",
    "a comment": "# nothing",
    "a semicolon": "1;",
    "several expressions": "1\n2\n3",
    "a tuple": "1, 'two', None",
    "a long list": "list(range(2000))",
    "a long text": "'x' * 5000",
    "nested containers": "{'a': [1, {'b': (2, 3)}], 'c': {4, 5}}",
    "itself within itself": "a = []; a.append(a); a",
    "nan": "float('nan')",
    "a large integer": "2 ** 200",
    "a complex number": "1 + 2j",
    "an ordered dictionary": "from collections import OrderedDict; OrderedDict(a=1)",
    "a counter": "from collections import Counter; Counter('banana')",
    "a default dictionary": "from collections import defaultdict; defaultdict(list, a=[1])",
    "a dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 1\nP()"),
    "a named tuple": "from collections import namedtuple; namedtuple('P', 'x y')(1, 2)",
    "a decimal": "from decimal import Decimal; Decimal('1.10')",
    "a fraction": "from fractions import Fraction; Fraction(1, 3)",
    "a date": "import datetime; datetime.date(2024, 2, 29)",
    "a path": "import pathlib; pathlib.PurePosixPath('/mnt/data/x.csv')",
    "a function": "def f(): pass\nf.__name__, f.__module__",
    "a class": "class C: pass\nC",
    "a type": "int",
    "a module": "import json; json.__name__",
    "a regular expression": "import re; re.compile('a+')",
    "a match": "re.match('a', 'abc')",
    "an enumeration": "import enum\nclass E(enum.Enum):\n    A = 1\nE.A",
    "an ellipsis": "...",
    "the last result": "_",
    "the inputs": "In[1]",
    "an assignment expression": "(y := 5)",
    "a walrus in a condition": "y",
    "a range": "range(3)",
    "a lambda's name": "(lambda: 0).__name__",
    "a future annotation": "from __future__ import annotations\ndef g(a: Nope): pass\n'fine'",
    # Printing
    "a print": "print('a')",
    "a print without a newline": "print('a', end='')",
    "a print and a value": "print('a'); 1",
    "a print to stderr": "import sys; print('e', file=sys.stderr)",
    "characters beyond ASCII": "print('é 漢字 🎉')",
    "a carriage return": "print('a\\rb')",
    "a terminal's colours": "print('\\x1b[31mred\\x1b[0m')",
    "a null character": "print('a\\0b')",
    "a long print": "for n in range(300): print(n, 'x' * 50)",
    "a pretty print": "import pprint; pprint.pprint({'a': list(range(40))})",
    "writing to stdout": "sys.stdout.write('w\\n')",
    "a redirected print": (
        "import io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()) as held:\n"
        "    print('held')\nheld.getvalue()"
    ),
    "a print of a thread": (
        "import threading; t = threading.Thread(target=print, args=('t',)); t.start(); t.join()"
    ),
    "is stdout a terminal": "sys.stdout.isatty()",
    "stdout's encoding": "sys.stdout.encoding",
    # Display
    "display": "display(1, 'a', [2])",
    "display between prints": "print('a'); display('b'); print('c')",
    "HTML": "from IPython.display import *\nHTML('<b>x</b>')",
    "Markdown": "Markdown('# x')",
    "Latex": "Latex('$x$')",
    "SVG": "SVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')",
    "JSON": "JSON({'a': 1})",
    "Javascript": "Javascript('1')",
    "a displayed dictionary of formats": "display({'text/plain': 'p', 'text/html': 'h'}, raw=True)",
    "a display that is updated": "h = display('old', display_id='one'); h.update('new')",
    "an output that is cleared": "print('a'); clear_output(); print('b')",
    "an output that is cleared later": "print('a'); clear_output(wait=True); print('b')",
    "captured output": "%%capture out\nprint('hidden'); 1",
    "what was captured": "out.stdout",
    "a repr of its own": "class R:\n    def __repr__(self): return 'R!'\nR()",
    "an HTML repr": "class H:\n    def _repr_html_(self): return '<i>h</i>'\nH()",
    "a bundle of formats": (
        "class B:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
        "        return {'text/plain': 'b', 'application/vnd.own+json': {'n': 1}}\nB()"
    ),
    "a bundle with metadata": (
        "class M:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
        "        return {'text/plain': 'm'}, {'text/plain': {'k': 1}}\nM()"
    ),
    "an own display": "class D:\n    def _ipython_display_(self): print('shown itself')\nD()",
    "a repr that fails": "class F:\n    def __repr__(self): raise ValueError('repr')\nF()",
    "an HTML repr that fails": "class G:\n    def _repr_html_(self): return 1/0\ndisplay(G())",
    "a repr of the wrong type": "class W:\n    def __repr__(self): return 1\nW()",
    "an integer too large to print": "3 ** 100000",
    "a list nested deep": "deep = []\nfor _ in range(900): deep = [deep]\ndeep",
    # Errors
    "a division": "1/0",
    "in a function": "def half(n):\n    return n / 0\n\nhalf(4)",
    "two functions deep": "def outer(n):\n    return half(n)\nouter(4)",
    "a name": "nowhere",
    "an attribute": "'text'.nowhere",
    "a key": "{}['k']",
    "an index": "[][0]",
    "a type error": "1 + '1'",
    "a module that is missing": "import nowhere_to_be_found",
    "a file that is missing": "open('/nowhere')",
    "not Python": "def (",
    "a bracket too many": "print(1))",
    "a text without an end": "'abc",
    "an indentation": "if True:\nprint(1)",
    "mixed indentation": "if True:\n    a = 1\n  b = 2",
    "a raise from": "try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise KeyError('k') from e",
    "a raise within": "try:\n    1/0\nexcept ZeroDivisionError:\n    raise KeyError('k')",
    "a raise from none": (
        "try:\n    1/0\nexcept ZeroDivisionError:\n    raise KeyError('k') from None"
    ),
    "a note": "e = ValueError('x'); e.add_note('note'); raise e",
    "an own exception": "class Own(Exception): pass\nraise Own('own', 2)",
    "an exception without a message": "raise RuntimeError",
    "an exception whose text fails": ("class T(Exception):\n    def __str__(self): 1/0\nraise T"),
    "an assertion": "assert 1 == 2, 'unequal'",
    "an exception group": "raise ExceptionGroup('g', [ValueError('a'), KeyError('b')])",
    "a division within exec": "exec('1/0')",
    "a syntax error within exec": "exec('def (')",
    "an error within eval": "eval('1/0')",
    "a recursion": "def r(n): return r(n + 1)\nr(0)",
    "a recursion of two": "def p(n): return q(n)\ndef q(n): return p(n)\np(0)",
    "exit": "import sys; sys.exit(3)",
    "a caught error is printed": (
        "import traceback\ntry:\n    1/0\nexcept ZeroDivisionError:\n    traceback.print_exc()"
    ),
    "a print, then an error": "print('before'); 1/0",
    "a stop of an iteration": "next(iter([]))",
    "an interrupt of its own": "raise KeyboardInterrupt",
    "an error in a comprehension": "[1 / n for n in (1, 0)]",
    "an error in a generator": "def gen():\n    yield 1\n    raise ValueError('g')\nlist(gen())",
    "an error in a thread": (
        "t = threading.Thread(target=lambda: 1 / 1, name='T'); t.start(); t.join(); 'joined'"
    ),
    "an error in a library": "import json; json.loads('{')",
    "%tb": "%tb",
    "input": "input('name? ')",
    "a warning": "import warnings; warnings.warn('careful')",
    "a deprecation": "warnings.warn('old', DeprecationWarning)",
    "a log line": "import logging; logging.warning('logged')",
    # Magics
    "%%writefile": "%%writefile written.py\nprint('from a file')\nvalue = 3",
    "%run": "%run written.py\nvalue",
    "%run of what fails": (
        "open('failing.py', 'w').write('1/0\\n');\n%run failing.py\nprint('goes on')"
    ),
    "%time": "%%capture t\n%time 1 + 1",
    "%matplotlib inline": "%matplotlib inline",
    "run_line_magic": "get_ipython().run_line_magic('matplotlib', 'inline')",
    "%config": "%config InlineBackend.figure_format = 'png'",
    "a magic that is missing": "%nowhere",
    "a cell magic that is missing": "%%nowhere\n1",
    "a magic used wrongly": "%timeit -z",
    "%who": "who_a = 1\n%who_ls int",
    "%load_ext of what is missing": "%load_ext nowhere",
    "%env": "%env SOME_NAME=1\nimport os; os.environ['SOME_NAME']",
    "%%bash": "%%bash\necho from bash",
    "%%sh that fails": "%%sh\nexit 3",
    "a shell command": "!echo shell",
    "the output of a command": "lines = !printf 'a\\nb\\n'\nlist(lines)",
    "a command with a variable": "word = 'w'\n!echo {word} $word",
    "a command that is missing": "!nowhere-command 2>&1 | sed 's/.*: //'",
    "help": "%pdoc len",
    "%precision": "%precision 2\n3.14159",
    "%precision back": "%precision\n3.14159",
    "%%timeit is quiet": "%%timeit -n1 -r1 -q\npass",
    "%%html": "%%html\n<b>h</b>",
    "%%latex": "%%latex\n$x$",
    "%lsmagic exists": "len(get_ipython().magics_manager.lsmagic()['cell']) > 10",
    # The event loop
    "await": "import asyncio\nawait asyncio.sleep(0.01, 'awaited')",
    "a coroutine": "async def main(): return 1\nstarted = main()",
    "asyncio.run": "asyncio.run(started)",
    "a running loop": "asyncio.get_running_loop().is_running()",
    "get_event_loop": "asyncio.get_event_loop().is_running()",
    "run_until_complete": "asyncio.get_event_loop().run_until_complete(started)",
    "the coroutine never ran": "started.close()",
    "a loop of its own in a thread": (
        "import concurrent.futures\n"
        "with concurrent.futures.ThreadPoolExecutor() as ex:\n"
        "    r = ex.submit(lambda: asyncio.run(asyncio.sleep(0, 'ran'))).result()\nr"
    ),
    "a task is made": "task = asyncio.get_event_loop().create_task(asyncio.sleep(0, 'done'))",
    "the task has gone on": "await asyncio.sleep(0.05); task.result()",
    "a new event loop": "loop = asyncio.new_event_loop(); sleeping = asyncio.sleep(0)",
    "a new event loop is run": "loop.run_until_complete(sleeping)",
    "a new event loop is closed": "sleeping.close(); loop.close(); loop.is_closed()",
    "no loop in a thread": (
        "with concurrent.futures.ThreadPoolExecutor() as ex:\n"
        "    r = repr(ex.submit(asyncio.get_event_loop).exception())\nr.split('(')[0]"
    ),
    "a group of tasks": (
        "async with asyncio.TaskGroup() as group:\n"
        "    made = group.create_task(asyncio.sleep(0, 'grouped'))\nmade.result()"
    ),
    "an error in a group of tasks": (
        "async def fails(): raise ValueError('grouped')\n"
        "async with asyncio.TaskGroup() as group:\n    group.create_task(fails())"
    ),
    "a time-out that is awaited": "async with asyncio.timeout(0.01): await asyncio.sleep(1)",
    "a thread that is awaited": "await asyncio.to_thread(len, 'abc')",
    "gather": "await asyncio.gather(*(asyncio.sleep(0.01, n) for n in range(3)))",
    "an error that was awaited": "async def bad(): raise ValueError('awaited')\nawait bad()",
    "async for": "async def g():\n    yield 1\n[n async for n in g()]",
    "async with": (
        "import contextlib\n@contextlib.asynccontextmanager\nasync def cm(): yield 'held'\n"
        "async with cm() as c: print(c)"
    ),
    "a context variable is set": "import contextvars; v = contextvars.ContextVar('v'); v.set(1);",
    "decimal's precision is set": (
        "import decimal; decimal.getcontext().prec = 5; decimal.Decimal(1) / 3"
    ),
    "a context variable stays": "v.get(), decimal.getcontext().prec",
    "a module that a cell wrote": "%%writefile own_module.py\nx = 7",
    "that module": "import own_module; own_module.x",
    # pandas and numpy
    "an array": "import numpy as np; np.arange(3)",
    "a large array": "np.arange(10000).reshape(100, 100)",
    "a scalar": "np.float64(1.5)",
    "a division of arrays": "np.array([1.0]) / 0",
    "a frame": "import pandas as pd; pd.DataFrame({'n': [1, 2], 't': ['a', 'b']})",
    "a wide frame": "pd.DataFrame({f'column_{n}': [n] for n in range(30)})",
    "a wide frame that is printed": "print(pd.DataFrame({f'column_{n}': [n] for n in range(19)}))",
    "a wide frame of many columns": "print(pd.DataFrame({f'c{n}': [n] for n in range(200)}))",
    "a wide frame with long names": "pd.DataFrame({'name ' * 20 + str(n): [n] for n in range(6)})",
    "a wide frame as a text": "pd.DataFrame({f'c{n}': [n] for n in range(40)}).to_string()",
    "a wide frame in a list": "[pd.DataFrame({f'column_{n}': [n] for n in range(25)})]",
    "a wide frame of two levels": (
        "pd.DataFrame([range(24)], columns=pd.MultiIndex.from_product([range(4), list('abcdef')]))"
    ),
    "a wide array": "print(np.arange(60).reshape(2, 30))",
    "pandas' options": (
        "[pd.get_option(f'display.{n}') for n in ('width', 'max_columns', 'max_rows')]"
    ),
    "a wide text frame": "print(pd.DataFrame({'a': ['x' * 200], 'b': ['y' * 200]}))",
    "a long frame": "pd.DataFrame({'n': range(1000)})",
    "a series": "pd.Series([1.5, 2.5], name='s')",
    "a long series": "print(pd.Series(range(200)))",
    "described": "pd.DataFrame({'n': [1, 2]}).describe()",
    "info": "pd.DataFrame({'n': [1, 2]}).info()",
    "an empty frame": "pd.DataFrame()",
    "a column that is missing": "pd.DataFrame({'n': [1]})['missing']",
    "a style": "pd.DataFrame({'n': [1]}).style.format('{:.1f}').set_uuid('u')",
    "a group": "pd.DataFrame({'k': ['a', 'b', 'a'], 'n': [1, 2, 3]}).groupby('k').sum()",
    "a date range": "pd.date_range('2024-01-01', periods=3)",
    "CJK in a frame": "pd.DataFrame({'名前': ['山田'], '値': [1]})",
    "pandas knows its front end": (
        "from pandas.io.formats.console import in_ipython_frontend; in_ipython_frontend()"
    ),
    "a symbol": "import sympy; sympy.symbols('x') ** 2",
    # Figures
    "a figure": PLOT + "plt.plot([1, 2]); plt.show()",
    "two figures": "for n in (1, 2):\n    plt.figure(figsize=(n, 1)); plt.plot([n]); plt.show()",
    "a figure left open": "plt.figure(figsize=(1, 1)); plt.plot([1])",
    "a figure and a value": "plt.figure(figsize=(1, 1)); plt.show(); 42",
    "a figure and an error": "plt.figure(figsize=(1, 1)); plt.show(); 1/0",
    "a figure object": "fig, ax = plt.subplots(figsize=(1, 1)); plt.close(fig); fig",
    "axes": "plt.subplots(figsize=(1, 1))[1].plot([1])[0].__class__.__name__",
    "bad mathtext": "plt.figure(figsize=(1, 1)); plt.title('$\\\\frac{1$'); plt.show(); 'after'",
    "CJK in a figure": "plt.figure(figsize=(2, 1)); plt.title('標題 제목 見出し'); plt.show()",
    "saved": "plt.figure(); plt.savefig('saved.png'); plt.close()",
    "the backend": "import matplotlib; matplotlib.get_backend()",
    "a PIL image": "import PIL.Image; PIL.Image.new('RGB', (2, 2), 'red')",
    "a figure of pandas": "pd.Series([1, 2]).plot(figsize=(1, 1)); plt.show()",
    # The process
    "the name of the module": "__name__",
    "no file": "__file__",
    "a class pickled": "import pickle; pickle.loads(pickle.dumps(Counter('aa')))",
    "the time zone": "import time; time.tzname",
    "local time": "datetime.datetime(2024, 1, 1).astimezone().utcoffset()",
    "the time zone's name": "str(datetime.datetime.now().astimezone().tzinfo)",
    "the time zone of a child": "import subprocess; subprocess.getoutput('date +%Z')",
    "another time zone": (
        "import zoneinfo; zone = zoneinfo.ZoneInfo('Asia/Tokyo')\n"
        "str(datetime.datetime(2026, 7, 1, tzinfo=zone))"
    ),
    "the time zone of a frame": "pd.Timestamp(0, tz='UTC').tz_convert('Europe/Zurich')",
    "the encoding": "sys.getdefaultencoding(), sys.getfilesystemencoding()",
    "the recursion limit": "sys.getrecursionlimit()",
    "the shell's class": "type(get_ipython()).__name__",
    "the application's section": "'IPKernelApp' in get_ipython().config",
    "interactive": "hasattr(sys, 'ps1')",
    "a signal": "import signal; signal.getsignal(signal.SIGTERM) is signal.SIG_DFL",
    "multiprocessing": (
        "import multiprocessing as mp, math\nif True:\n"
        "    with mp.get_context('fork').Pool(2) as pool: r = pool.map(math.sqrt, [1, 4])\nr"
    ),
    "spawn": "with mp.get_context('spawn').Pool(1) as pool: r = pool.map(math.sqrt, [1, 4])\nr",
    "forkserver": (
        "with mp.get_context('forkserver').Pool(1) as pool: r = pool.map(math.sqrt, [1, 4])\nr"
    ),
    "joblib": (
        "import joblib; joblib.Parallel(n_jobs=2)(joblib.delayed(math.sqrt)(n) for n in (1, 4))"
    ),
    "the way processes start": "mp.get_start_method()",
    "a function of a cell in a pool": (
        "def twice(n): return 2 * n\nwith mp.Pool(2) as pool: r = pool.map(twice, [1, 2])\nr"
    ),
    "an error in a pool": (
        "try:\n    with mp.Pool(1) as pool: pool.map(len, [1])\n"
        "except TypeError as error:\n    r = str(error)\nr"
    ),
    "a queue between processes": (
        "queue = mp.Queue(); child = mp.Process(target=queue.put, args=(7,)); child.start()\n"
        "got = queue.get(); child.join(); got, child.exitcode"
    ),
    "a function of a cell in joblib": (
        "joblib.Parallel(n_jobs=2)(joblib.delayed(twice)(n) for n in (1, 2))"
    ),
    "joblib with threads": (
        "joblib.Parallel(n_jobs=2, prefer='threads')(joblib.delayed(twice)(n) for n in (1, 2))"
    ),
    "a forest of two jobs": (
        "from sklearn.ensemble import RandomForestRegressor as Forest\n"
        "Forest(2, n_jobs=2, random_state=0).fit([[0], [1]], [0, 1]).predict([[5]]).shape"
    ),
    "a pool of processes": (
        "with concurrent.futures.ProcessPoolExecutor(2) as ex: r = list(ex.map(math.sqrt, [9]))\nr"
    ),
    "a subprocess": "import subprocess; subprocess.run(['echo', 'x'], capture_output=True).stdout",
}
