"""Minimisers of bilevel-denoise and bilevel-mri against those of other programs.

Usage: minimisers.py BILEVEL_DENOISE BILEVEL_MRI PROGRAM, PROGRAM being pyproximal, deepinv, pywavelets, sigpy or bart.

Total variation of others is not smoothed, ours with nu > 0 is, so that the two come together as nu falls; what limits
them beside nu is said with each. "off" is a relative Euclidean distance. Ends with 77 where the program is not there.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77


def skip(reason):
    print("skipped: " + reason)
    sys.exit(SKIPPED)


try:
    import numpy as np
except ImportError:
    skip("NumPy is not installed for %s; name another one by BILEVEL_CROSS_PYTHON." % sys.executable)

denoise_program, mri_program, program = sys.argv[1:4]
faults = []


def off(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def check(what, value, most):
    good = value <= most
    print("%s %-72s off %.1e, at most %.1e" % ("ok    " if good else "WRONG ", what, value, most))
    if not good:
        faults.append(what)


def check_smoothed(what, ours, theirs, limits):
    """ours(nu) comes nearer as nu falls; limits: {nu: most}, in falling order."""
    values = []
    for nu, most in limits.items():
        values.append(off(ours(nu), theirs))
        check("%s, nu %g" % (what, nu), values[-1], most)
    if any(after > before for before, after in zip(values, values[1:])):
        faults.append(what + ": a smaller nu is further off")


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit("%s ended with %d:\n%s%s" % (" ".join(map(str, command)), done.returncode, done.stdout, done.stderr))
    return done.stdout


folder = tempfile.TemporaryDirectory()


def path(name):
    return os.path.join(folder.name, name)


def denoised(noisy, model, theta, **options):
    """By bilevel-denoise: model is its name in model.json, theta its numbers, options beside the potential."""
    segments = [
        {"name": n, "transform": "exp", "value": v, "lower": 1e-10, "upper": 1e3, "learned": False}
        for n, v in dict(theta, xi=1e-10).items()
    ]
    content = {"format": "bilevel-model", "format_version": 1, "model": model, "potential": "charbonnier"}
    content.update(options)
    content.update({"theta": segments, "conventions": {}, "training": {}, "library_version": "0"})
    content["data"] = {"files": [], "images": 1, "height": 8, "width": 8, "fingerprint": "0" * 16}
    with open(path("model.json"), "w") as file:
        json.dump(content, file)
    np.save(path("noisy.npy"), noisy)
    run(denoise_program, "apply", "--model", path("model.json"), "--input", path("noisy.npy"), "--output",
        path("denoised.npy"), "--tolerance", 1e-9, "--device", "cpu", "--threads", 1)
    return np.load(path("denoised.npy"))


def reconstructed(kspace, mask, regulariser, weight, nu):
    """By bilevel-mri, zero frequency in the middle of k-space and mask."""
    np.save(path("kspace.npy"), kspace)
    np.save(path("mask.npy"), mask.astype(float))
    smoothing = [] if regulariser in ("tikhonov", "h1") else ["--nu", nu]
    run(mri_program, "reconstruct", "--kspace", path("kspace.npy"), "--mask", path("mask.npy"), "--mask-centre",
        "middle", "--scale", 1, "--regulariser", regulariser, "--weight", weight, *smoothing, "--xi", 1e-6,
        "--tolerance", 2e-6, "--output", path("image.npy"), "--device", "cpu", "--threads", 1, "--quiet")
    return np.load(path("image.npy"))


def fourier(x):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x), norm="ortho"))


def square(n=64, noise=0.1):
    """A square away from the border, with noise everywhere."""
    x = np.zeros((n, n))
    x[n // 4: 3 * n // 4, n // 4: 3 * n // 4] = 1
    return x + noise * np.random.default_rng(1).standard_normal(x.shape)


def object_inside(n=64):
    """Of several steps, zero near the border."""
    x = np.zeros((n, n))
    x[16:48, 16:40] = 1
    x[24:32, 20:44] = 0.5
    x[36:44, 24:36] = 1.5
    return x


def random_mask(n=64, kept=0.4):
    """Frequencies in conjugate pairs, the low ones among them."""
    mask = np.random.default_rng(2).random((n, n)) < kept / 2
    mask[n // 2 - 4: n // 2 + 5, n // 2 - 4: n // 2 + 5] = True
    return mask | np.roll(mask[::-1, ::-1], (1, 1), (0, 1))


# Isotropic, forward differences, none across the border: those of ours. Limited by nu and by their accuracy (2e-7 to
# 5e-6 of pyproximal with 5000 steps, 3e-6 to 1.3e-5 of deepinv).
SMOOTHED = {1e-3: 1.2e-2, 1e-4: 2e-3, 1e-5: 3e-4}


def with_pyproximal():
    import pyproximal

    y = square()
    for alpha in (0.1, 0.5):
        tv = pyproximal.TV(dims=y.shape, sigma=1.0, niter=5000, rtol=1e-14)
        theirs = tv.prox(y.ravel(), alpha).reshape(y.shape)
        check_smoothed("tv, alpha %g" % alpha, lambda nu: denoised(y, "tv", {"alpha": alpha, "nu": nu}, **TV), theirs,
                       SMOOTHED)


TV = {"isotropic": True, "xi_inside_alpha": False}


def with_deepinv():
    import deepinv
    import torch

    y = square()
    for alpha in (0.1, 0.5):
        prior = deepinv.optim.prior.TVPrior()
        theirs = prior.prox(torch.from_numpy(y)[None, None], gamma=alpha).numpy()[0, 0]
        check_smoothed("tv, alpha %g" % alpha, lambda nu: denoised(y, "tv", {"alpha": alpha, "nu": nu}, **TV), theirs,
                       SMOOTHED)


def smooth_threshold(c, alpha, nu):
    """argmin 1/2 (u - c)^2 + alpha sqrt(u^2 + nu^2), by bisection."""
    low, high = np.zeros_like(c), np.abs(c)
    for _ in range(200):
        u = (low + high) / 2
        above = u + alpha * u / np.sqrt(u * u + nu * nu) > np.abs(c)
        low, high = np.where(above, low, u), np.where(above, u, high)
    return np.sign(c) * (low + high) / 2


def with_pywavelets():
    import pywt

    y = square()
    alpha = 0.1
    for name in ("haar", "db2", "db4"):
        for keep in (False, True):  # whether the approximation is penalised

            def thresholded(function):
                coefficients = pywt.wavedec2(y, name, mode="periodization", level=3)
                bands = [tuple(function(b) for b in level) for level in coefficients[1:]]
                first = function(coefficients[0]) if keep else coefficients[0]
                return pywt.waverec2([first] + bands, name, mode="periodization")

            def ours(nu):
                return denoised(y, "wavelet", {"alpha": alpha, "nu": nu}, wavelet=name, levels=3,
                                keep_approximation=keep)

            what = "%s, approximation %s" % (name, "penalised" if keep else "not penalised")
            nu = 0.01  # with this smoothing the minimiser is known too: an exact relation
            check(what + ", smoothed threshold", off(ours(nu), thresholded(lambda b: smooth_threshold(b, alpha, nu))),
                  1e-8)
            soft = thresholded(lambda b: pywt.threshold(b, alpha, "soft"))
            check_smoothed(what + ", soft threshold", ours, soft, {1e-3: 3e-3, 1e-4: 6e-4, 1e-5: 1e-4})


def with_sigpy():
    from sigpy.mri.app import TotalVariationRecon

    # Differences of neighbours in pairs, so that backward and forward are the same; theirs cross the border, where
    # nothing is. Moduli of complex differences, ours of real and imaginary parts: of real images the same.
    x, mask = object_inside(), random_mask()
    k = fourier(x) * mask
    alpha = 0.02
    theirs = TotalVariationRecon(k[None], np.ones((1, *k.shape)), alpha, max_iter=5000, show_pbar=False).run()
    check_smoothed("tv-aniso, 41 % of k-space", lambda nu: reconstructed(k, mask, "tv-aniso", alpha, nu), theirs,
                   {1e-3: 1e-2, 1e-4: 3e-3, 1e-5: 1e-3})


def bart(*arguments):
    run("bart", *arguments, cwd=folder.name)


def write_cfl(name, array):
    with open(path(name + ".hdr"), "w") as file:
        file.write("# Dimensions\n%s\n" % " ".join(map(str, list(array.shape) + [1] * (16 - array.ndim))))
    array.astype(np.complex64).ravel(order="F").tofile(path(name + ".cfl"))


def read_cfl(name):
    with open(path(name + ".hdr")) as file:
        shape = [int(s) for s in file.read().split("\n")[1].split()]
    return np.fromfile(path(name + ".cfl"), np.complex64).reshape(shape, order="F").squeeze()


def pics(kspace, *options):
    write_cfl("k", kspace[..., None])
    write_cfl("maps", np.ones(kspace.shape + (1,)))
    bart("pics", "-w", "1", *options, "k", "maps", "x")
    return read_cfl("x")


def turned(a):
    """By 180 degrees about index floor(n/2)."""
    return np.roll(a[::-1, ::-1], (1, 1), (0, 1))


def with_bart():
    # Backward differences, circular: forward ones of the image turned by 180 degrees, but for the border, which the
    # object does not touch. 1.7e-3 are left whatever nu is.
    x, mask = object_inside(), random_mask()
    k = fourier(x + 0.02j * np.roll(x, 3, 0)) * mask
    theirs = pics(k, "-i", 2000, "-R", "T:3:0:0.1")
    check_smoothed("tv of the image turned, 41 % of k-space",
                   lambda nu: turned(reconstructed(turned(k), turned(mask), "tv", 0.1, nu)), theirs,
                   {1e-3: 1e-2, 1e-4: 3e-3, 3e-5: 2.5e-3})
    apart = off(reconstructed(k, mask, "tv", 0.1, 1e-4), theirs)
    print("tv of the image as it is, which pairs other differences: off %.1e" % apart)
    if apart < 6e-3:
        faults.append("the direction of the differences makes no difference")
    check("tikhonov", off(reconstructed(k, mask, "tikhonov", 0.3, 0), pics(k, "-i", 500, "-R", "Q:0.3")), 1e-5)
    y = square()
    theirs = pics(fourier(y), "-m", "-n", "-i", 200, "-R", "W:3:0:0.1", "--wavelet", "haar").real

    def ours(nu):
        return denoised(y, "wavelet", {"alpha": 0.1, "nu": nu}, wavelet="haar", levels=3, keep_approximation=True)

    check_smoothed("haar, all coefficients", ours, theirs, {1e-3: 3e-3, 1e-4: 6e-4, 1e-5: 1e-4})


programs = {"pyproximal": with_pyproximal, "deepinv": with_deepinv, "pywavelets": with_pywavelets,
            "sigpy": with_sigpy, "bart": with_bart}
if program == "bart":
    if not shutil.which("bart"):
        skip("BART is not installed.")
else:
    try:
        print(program, importlib.metadata.version(program))
    except importlib.metadata.PackageNotFoundError:
        skip("the package %s is not installed for %s; name another one by BILEVEL_CROSS_PYTHON." % (program, sys.executable))
programs[program]()
sys.exit("\n".join(faults) or 0)
