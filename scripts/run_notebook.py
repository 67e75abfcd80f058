"""Run all cells of Skin_Cancer_Detection.ipynb, and save it with the outputs.

python -m scripts.run_notebook [OUTPUT]      default: overwrite the notebook
"""

import sys

import nbclient
import nbformat

from lesion_lens import ROOT

NOTEBOOK = ROOT / "Skin_Cancer_Detection.ipynb"


def main() -> None:
    output = sys.argv[1] if len(sys.argv) > 1 else NOTEBOOK
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(ROOT)}},
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # TensorFlow's messages about this machine's processor
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
    nbformat.write(notebook, output)
    print(f"Wrote {output}")


if __name__ == "__main__":
    main()
