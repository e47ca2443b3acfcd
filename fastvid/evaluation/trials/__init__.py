"""Experiments on the reference: `python -m fastvid.evaluation.trials NAME [options]`.

| name | question |
|---|---|
| disocclusion | does the long-term loss bring back the texture of what was covered? |
| border | does multi-pass do better than single pass where new content comes in? |
| methods | do the methods stand in the order of the paper by `e_warp`? |
| speed | what does an iteration cost beside a plain PyTorch loop? |

Each writes its figures as JSON to stdout, and a picture where there is something to see; what came
out is in docs/reference.md.
"""
