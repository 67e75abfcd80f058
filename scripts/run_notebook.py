"""Run Skin_Cancer_Detection.ipynb from its first cell to its last and save it with its outputs."""

from pathlib import Path

import nbclient
import nbformat

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "Skin_Cancer_Detection.ipynb"


def main():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(ROOT)}},
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # TensorFlow's remarks on this machine's processor
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    nbformat.write(notebook, NOTEBOOK)
    print(f"Wrote {NOTEBOOK.name}")


if __name__ == "__main__":
    main()
