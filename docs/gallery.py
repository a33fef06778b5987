"""Draw the figures of docs/gallery.md from the code that the page shows: `python docs/gallery.py`."""

import re
from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PAGE = Path(__file__).with_name("gallery.md")
BLOCK = re.compile(r"```python\n(.*?)```\n\n!\[[^]]*\]\((assets/gallery/[^)]*)\)", re.DOTALL)


def main() -> None:
    """Run the page's blocks one after the other, as its reader would, and save what each has drawn."""
    jax.config.update("jax_enable_x64", True)
    plt.rcParams.update({"figure.figsize": (5.2, 3.6), "figure.constrained_layout.use": True, "font.size": 9})
    names: dict[str, object] = {}
    for code, target in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        plt.close("all")
        exec(code, names)
        path = PAGE.parent / target
        path.parent.mkdir(exist_ok=True)
        plt.gcf().savefig(path, dpi=110)
        print(f"{target}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
