"""The slow reference: Ruder, Dosovitskiy and Brox, Artistic style transfer for videos (2016).

Each frame is optimised in VGG space (Gatys et al. 2016) with a temporal loss to earlier results
moved along the optical flow. `mode=paper` does what the paper says, in float; `mode=original` what
the authors' program (artistic-videos) does. Every difference stands in this table, and at its line.

| what | paper | original program | here, mode=paper | mode=original |
|---|---|---|---|---|
| pixel range | 0..255 minus mean | 0..256 minus mean | 255 | 256 |
| frame handed on | - | 8 bit, truncated | float, not clamped | 8 bit, truncated |
| file written | - | 8 bit, truncated | rounded | the handed-on byte |
| temporal gradient | 2 c (x-w) / D | 2 sqrt(c) (x-w) / D | paper | program |
| long-term weights | less the closer c | less the reduced closer c | paper | program |
| absolute stop tests | - | at any iteration | before iteration 10 only | at any iteration |
| stop before iteration 10 | - | frame stays as it began | repeated (`retry_early_stop`) | same |
| relative stop test | - | 1e-4 over 50 iterations | same | same |
| total variation | - | gradient only | same | same |
| loss sums | - | float32 terms in doubles | float32 terms in doubles | same |
| noise | - | new for each frame unless -seed | seed 0 for each frame | same |
| max pooling | - | rounds sizes up | same | same |
| average pooling | - | rounds sizes down | same | same |
| style image | - | area of the frame x scale^2 | same | same |
| warp beyond the image | - | mean colour (multi-pass: border) | same | same |
| optical flow | DeepFlow, EpicFlow | files | DIS, RAFT or files | same |
| reliability | fwd-bwd check, motion edges | consistencyChecker | its maps, byte for byte | same |
| multi-pass `init=image` | - | fails | the frame | same |
| numbers of written frames | - | from 1, multi-pass absolute | the source's | same |
| channels | - | BGR | RGB (no figure depends on it) | same |
| VGG weights | Caffe | Caffe | Caffe; torchvision's if only those are there | same |
| style weights over time | - | constant | `style_schedule` | same |
| `original_colors` | - | not there (neural-style has it) | as neural-style | same |

The program's limit on evaluations (1.25 x iterations) cannot bind without a line search and is
left out. The paper's text was not at hand for every row; "-" means that nothing is known of it.
"""
