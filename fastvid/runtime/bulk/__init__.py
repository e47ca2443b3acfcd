"""Many films, or one long one, on several processes or machines: `infer.py --workers`, `--ray`.

A film is cut into segments that depend on the film and the options alone (`plan`). One function
paints a segment into a piece, a film of its own (`piece`); it runs here, in processes or on a Ray
cluster (`crew`, `processes`, `on_ray`) and gives the same bytes everywhere. Pieces wait in a hidden
folder (`folder`), so that a run which was killed goes on where it was; when all are there they are
joined without encoding (`film`). `schedule` keeps the workers busy.
"""
