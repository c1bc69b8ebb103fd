"""Which code a turn without memory follows with a look for files."""

import pytest

from agent.turns.may_write import may_use_files, may_write


@pytest.mark.parametrize(
    "code",
    [
        "print(6 * 7)",
        "import math\nmath.sqrt(2)",
        "import numpy as np, pandas as pd\npd.DataFrame({'a': np.arange(3)}).describe()",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('Growth')\nplt.show()",
        "from sympy import symbols, solve\nx = symbols('x')\nsolve(x ** 2 - 2)",
        "from datetime import date; import calendar\nprint(f'{date.today():%Y} {1.5:.2f}')",
        "df.copy().to_numpy()",
        "x %= 3\nplt.plot(a, b,\n    label='AUC = %.2f' % area)\ndf.memory_usage()",
    ],
)
def test_code_that_evidently_writes_nothing(code: str) -> None:
    assert not may_write(code)


@pytest.mark.parametrize(
    "code",
    [
        "open('a', 'w')",
        "from pathlib import Path\nPath('/mnt') / 'data'",
        "import os",
        "import math, shutil",
        "x = 1; import tarfile",
        "if True: import zipfile",
        "df.to_csv(name)",
        "df.to_excel(name)",
        "plt.savefig(name)",
        "np.save(name, a)",
        "import json\njson.dump(a, f)",
        "%%writefile a\nb",
        "%cd /tmp",
        "!touch a",
        "  !touch a",
        "names = !touch a",
        "out, d['errors'] = !cp a b",
        "x = %sx touch a",
        "from reportlab.platypus import SimpleDocTemplate",
        "getattr(x, y)()",
        "x.__class__",
        "exec(y)",
        "doc.build('a.pdf')",
        "canvas.render('figure.svg')",
        "\uff4fpen(a, b)",  # a name that Python reads as `open`
        "x.\u017fave(a)",
        "import\\\nos",
        "import\x0cos",
        "from\tos\timport *",
        "from . import a",
        "df.to_dictionary_of_sheets(a)",
        "with PdfPages(name) as pages:\n    pass",
        "Pipeline(steps, memory=folder)",
        "import matplotlib\nmatplotlib.os.mkdir(name)",
    ],
)
def test_code_that_may_write(code: str) -> None:
    assert may_write(code)


@pytest.mark.parametrize(
    "code",
    [
        "pd.read_csv(name)",
        "plt.imread(name)",
        "np.loadtxt(name)",
        "plt.style.use(name)",
        "import IPython",
        "open(a)",
    ],
)
def test_code_that_may_use_a_file(code: str) -> None:
    assert may_use_files(code)


def test_code_that_evidently_uses_no_file() -> None:
    assert not may_use_files("import math\nalready = [math.sqrt(2)]\nprint(already)")
