"""Scripts in cells: open one in an editor that runs cells, or as a notebook, and change things."""
