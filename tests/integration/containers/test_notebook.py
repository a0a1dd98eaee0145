"""A notebook's session in an image, from a real kernel through a real hub and its local endpoint."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_images import Images

from tests.integration.notebook.conftest import HERE, Kernel


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    from jupyter_fx import embedded

    top = Path(tempfile.mkdtemp(prefix="fxc"))
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(HERE):
            place = top / str(number)
            place.mkdir(mode=0o700)
            patch.setenv(name, str(place))
        patch.delenv("JUPYTER_FX_HUB", raising=False)
        embedded.find_hub()
        kernel = Kernel(top)
        try:
            kernel.run("%load_ext jupyter_fx")
            yield kernel
        finally:
            kernel.close()
            embedded.stop_endpoint()
            embedded.stop_hub()
    shutil.rmtree(top, ignore_errors=True)


def test_a_notebook_in_images_and_what_it_is_told_when_one_is_wrong(kernel: Kernel, images: Images) -> None:
    if shutil.which("ch-run") is None or shutil.which("bwrap") is None:
        pytest.skip("ch-run and bwrap are not both installed")
    first, second = f"charliecloud:{images.directory}", f"bubblewrap:{images.directory}"
    said = kernel.run(f"%fx use local --image {first}")
    assert f"its session opens with the first one, in {first}" in said.stream()
    inside = kernel.remote(
        "import os\nfactor = 7\nprint(os.path.isdir('/opt/image'), os.path.isdir('/boot'))\nfactor * 6"
    )
    assert inside.result == "42", inside.shown
    assert inside.stream() == "True False\n"
    assert kernel.value("factor") == "7"

    # Another image needs a word, for the session's variables would go.
    refused = kernel.run(f"%fx use local --image {second}")
    assert refused.error["ename"] == "UsageError"
    assert f"%fx use local --image {second} --new" in refused.error["evalue"]
    assert kernel.remote("factor + 1").result == "8"

    # A second session beside it, in the other image.
    kernel.run(f"%fx use local --image {second} --session other")
    assert kernel.remote("import os\nos.environ['HOME']", "--session other --no-capture").result == "'/tmp'"
    assert kernel.remote("'factor' in globals() and factor").result == "7"

    # A function in an image, without any session.
    function = "def home():\n    import os\n    return os.environ['HOME']"
    kernel.run(f"import jupyter_fx as fx\n@fx.remote(image={second!r})\n{function}")
    assert kernel.value("home.remote()") == "'/tmp'"
    assert kernel.run("fx.remote(image='a', environment='b')(print)").error["ename"] == "UsageError"

    # What is wrong with an image is said where the cell stands.
    kernel.run("%fx use local --image /nowhere/torch.sqfs --new")
    failed = kernel.remote("1")
    assert "there is no image '/nowhere/torch.sqfs'" in failed.shown + failed.error["evalue"]
    wrong = kernel.run("fx.remote(image='/nowhere/x.sif')(print).remote()")
    assert "there is no image '/nowhere/x.sif'" in wrong.error["evalue"]
    kernel.run("%fx use local --image host --new")
    assert kernel.remote(f"import os\nos.path.isdir({str(Path(__file__).parent)!r})").result == "True"
