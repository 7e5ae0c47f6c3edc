#!/usr/bin/env bash
# DFO-LS 1.6.5 (PyPI): residuals whose squares overflow at the start end the solver at once with flag 0, "Success:
# Objective is sufficiently small", at the start, objective inf; so do infinite ones.
# The stopping value is a fraction of the sum of squares at the start, which is infinite as well, and inf <= inf holds.
# Seen: 1e160 times Rosenbrock's residuals from (-1.2, 1): success after 2 evaluations; without the factor: the minimum (1, 1).
# Needs: python3 3.11 with venv, network. Changes nothing outside a temporary folder.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q DFO-LS==1.6.5 numpy==2.2.6 scipy==1.15.3 pandas==2.2.3
cat >start.py <<'PYTHON'
import warnings
import dfols, numpy as np

warnings.simplefilter("ignore")
def solve(scale):
    residuals = lambda x: scale * np.array([10 * (x[1] - x[0] ** 2), 1 - x[0]])
    return dfols.solve(residuals, np.array([-1.2, 1.0]), maxfun=200)

large, small = solve(1e160), solve(1.0)
print(f"1e160: flag {large.flag}, {large.msg}, x {large.x}, objective {large.obj}, {large.nf} evaluations")
print(f"1: flag {small.flag}, {small.msg}, x {small.x}, objective {small.obj}, {small.nf} evaluations")
assert (large.flag, large.nf, list(large.x)) == (0, 2, [-1.2, 1.0]) and np.isinf(large.obj), "the behaviour has changed"
assert small.flag == 0 and np.allclose(small.x, 1), "the behaviour has changed"
PYTHON
venv/bin/python start.py
echo "dfols_start_too_large_is_success: as described"
