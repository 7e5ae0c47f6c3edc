"""bilevel-learn against a usual PyTorch program on the same problems: results, certificates and times.

Usage: learn_pytorch.py BILEVEL_LEARN TRAIN_IMAGES TRAIN_LABELS VALIDATION_IMAGES VALIDATION_LABELS [--train N]
         [--problems logistic,multinomial,hypercleaning] [--threads N] [--outer K]

Files are MNIST's idx files, unpacked. The PyTorch program is what one writes with it: double precision, lower level by
L-BFGS with strong Wolfe steps, warm started; hypergradient by implicit differentiation, conjugate gradients with Hessian
products of autograd, warm started; theta by L-BFGS too. Its accuracies are fixed: those that bilevel-learn ended with, so
that both loops know the reconstruction and the adjoint equally well at the end.

Times are until the loss is within 1 %, 0.1 % and 0.01 % of the better one of both ends, losses being those of solves to
1e-7 by PyTorch. Of bilevel-learn all else that its process does counts too (start, files, norms of the samples); of
PyTorch only its loop. Processor seconds of both are told beside, for busy machines. Ends with 77 where PyTorch is not there, with 1 where a certificate is broken.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import torch
except ImportError as error:
    print("skipped: %s for %s; name another one by BILEVEL_CROSS_PYTHON." % (error, sys.executable))
    sys.exit(77)

torch.set_default_dtype(torch.float64)
faults = []


def read_idx(name):
    with open(name, "rb") as file:
        data = file.read()
    shape = [int.from_bytes(data[4 + 4 * k: 8 + 4 * k], "big") for k in range(data[3])]
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


class Samples:
    def __init__(self, images, labels, count, binary):
        x = read_idx(images)
        self.count = min(count, len(x))
        self.x = torch.from_numpy(x[: self.count].reshape(self.count, -1) / 255.0)
        labels = read_idx(labels)[: self.count].astype(np.int64)
        self.labels = torch.from_numpy(labels % 2 if binary else labels)
        self.binary = binary

    def cross_entropies(self, w):
        s = self.x @ w.T
        if not self.binary:
            return torch.nn.functional.cross_entropy(s, self.labels, reduction="none")
        return torch.nn.functional.binary_cross_entropy_with_logits(s[:, 0], self.labels.double(), reduction="none")

    def put(self, folder, name):
        names = os.path.join(folder, name + "-images.npy"), os.path.join(folder, name + "-labels.npy")
        np.save(names[0], self.x.numpy())
        np.save(names[1], self.labels.numpy())
        return names


class Problem:
    """theta to the loss of the minimiser; `learn` is the option of bilevel-learn."""

    def __init__(self, learn, train, validation, options=()):
        self.learn, self.train, self.validation, self.options = learn, train, validation, list(options)
        self.shape = (1 if train.binary else 10, train.x.shape[1])
        size = {"ridge": 1, "ridges": self.shape[0] * self.shape[1], "samples": train.count}[learn]
        first = {"ridge": np.log(0.01), "ridges": np.log(0.05), "samples": 0.0}[learn]
        self.start = torch.full((size,), float(first))
        self.ridge = 0.01  # of samples: A

    def lower(self, w, theta):
        losses = self.train.cross_entropies(w)
        if self.learn == "samples":
            return (torch.sigmoid(theta) * losses).mean() + self.ridge * (w * w).sum()
        weights = torch.exp(theta) if self.learn == "ridge" else torch.exp(theta).reshape(self.shape)
        return losses.mean() + 0.5 * (weights * w * w).sum()

    def upper(self, w):
        return self.validation.cross_entropies(w).mean()

    def convexity(self, theta):
        return 2 * self.ridge if self.learn == "samples" else float(torch.exp(theta).min())


class Implicit:
    """Loss and hypergradient at theta, each to an accuracy: |w - what| <= epsilon, |residual| <= delta."""

    def __init__(self, problem, epsilon, delta):
        self.problem, self.epsilon, self.delta = problem, epsilon, delta
        self.w = torch.zeros(problem.shape, requires_grad=True)
        self.q = torch.zeros(problem.shape)

    def solve_lower(self, theta):
        """|grad| <= mu epsilon suffices."""
        wanted, reached = self.problem.convexity(theta) * self.epsilon, float("inf")
        while True:
            optimiser = torch.optim.LBFGS([self.w], max_iter=500, history_size=20, tolerance_grad=0,
                                          tolerance_change=0, line_search_fn="strong_wolfe")
            norms = []

            def closure():
                optimiser.zero_grad()
                value = self.problem.lower(self.w, theta)
                value.backward()
                norms.append(float(self.w.grad.norm()))
                if norms[-1] <= wanted:
                    raise Reached()
                return value

            try:
                optimiser.step(closure)
            except Reached:
                return
            if norms[-1] > reached / 2:
                print("       L-BFGS stopped at a gradient of %.1e, %.1e was wanted" % (norms[-1], wanted))
                return
            reached = norms[-1]

    def __call__(self, theta):
        theta = theta.detach().requires_grad_()
        self.solve_lower(theta.detach())
        w = self.w
        loss = self.problem.upper(w)
        (b,) = torch.autograd.grad(loss, w)
        (g,) = torch.autograd.grad(self.problem.lower(w, theta), w, create_graph=True)
        self.q = self.conjugate_gradients(lambda v: torch.autograd.grad(g, w, v, retain_graph=True)[0], b)
        (z,) = torch.autograd.grad(g, theta, self.q)
        return float(loss), -z

    def conjugate_gradients(self, product, b):
        q = self.q.clone()
        r = b - product(q)
        p, rr = r.clone(), float((r * r).sum())
        for _ in range(10000):
            if rr <= self.delta ** 2:
                return q
            h = product(p)
            step = rr / float((p * h).sum())
            q += step * p
            r -= step * h
            before, rr = rr, float((r * r).sum())
            p = r + rr / before * p
        return q


class Reached(Exception):
    pass


def with_pytorch(problem, epsilon, delta, outer):
    """(seconds, theta) of every evaluation."""
    oracle, theta, trace = Implicit(problem, epsilon, delta), problem.start.clone().requires_grad_(), []
    optimiser = torch.optim.LBFGS([theta], max_iter=outer, max_eval=2 * outer, history_size=20, tolerance_grad=0,
                                  tolerance_change=0, line_search_fn="strong_wolfe")
    begin = time.perf_counter()

    def closure():
        loss, theta.grad = oracle(theta)
        trace.append((time.perf_counter() - begin, loss, theta.detach().clone()))
        return torch.tensor(loss)

    optimiser.step(closure)
    return trace


def processor_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def with_bilevel(program, problem, files, folder, threads):
    """Log, summary, theta at the end, the seconds that are not in the log, and those of the processor."""
    command = [program, "train", "--train-data", files[0], "--train-labels", files[1], "--validation-data", files[2],
               "--validation-labels", files[3], "--learn", problem.learn, "--out", folder, "--device", "cpu", "--threads",
               str(threads), "--quiet", *problem.options]
    begin, before = time.perf_counter(), processor_of_children()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, processor = time.perf_counter() - begin, processor_of_children() - before
    if done.returncode:
        sys.exit("%s ended with %d:\n%s" % (" ".join(command), done.returncode, done.stderr))
    with open(os.path.join(folder, "log.jsonl")) as file:
        log = [json.loads(line) for line in file]
    with open(os.path.join(folder, "summary.json")) as file:
        summary = json.load(file)
    if problem.learn == "ridge":
        theta = np.log([summary["theta"]["xi"]])
    elif problem.learn == "ridges":
        theta = np.log(np.load(os.path.join(folder, "ridge_weight.npy")).ravel())
    else:
        sigma = np.clip(np.load(os.path.join(folder, "sample_weight.npy")), 1e-300, 1 - 2.0 ** -53)
        theta = np.log(sigma / (1 - sigma))
    return log, summary, torch.from_numpy(theta), seconds - summary["seconds"], processor


def check(what, good, numbers):
    print("%s %-58s %s" % ("ok    " if good else "WRONG ", what, numbers))
    if not good:
        faults.append(what)


def check_certificates(tight, theta, record, where):
    """What is certified at theta, against a tight solve: losses, and the norm of the hypergradient."""
    loss, z = tight(theta)
    low, high = record["loss_lower"], record["loss_upper"]
    check("loss at %s, certainly in between" % where, low * (1 - 1e-7) <= loss <= high * (1 + 1e-7),
          "%.8f <= %.8f <= %.8f" % (low, loss, high))
    off = abs(float(z.norm()) - record["gradient_norm"])
    check("|gradient| at %s, off at most" % where, off <= record["error_bound"] + 1e-6,
          "%.1e <= %.1e" % (off, record["error_bound"]))
    return loss


def first_time(points, limit):
    return min((seconds for seconds, loss in points if loss <= limit), default=None)


def compare(name, problem, program, threads, outer):
    print("\n%s: %d samples, %d for validation, %d weights, %d parameters" % (
        name, problem.train.count, problem.validation.count, problem.shape[0] * problem.shape[1], len(problem.start)))
    with tempfile.TemporaryDirectory() as folder:
        files = problem.train.put(folder, "train") + problem.validation.put(folder, "validation")
        log, summary, theta, beside, processor = with_bilevel(program, problem, files, os.path.join(folder, "run"), threads)
    epsilon, delta = summary["epsilon"], log[-1]["delta"]
    before = time.process_time()
    trace = with_pytorch(problem, epsilon, delta, outer)
    their_processor = time.process_time() - before
    tight = Implicit(problem, 1e-7, 1e-9)
    check_certificates(tight, problem.start, log[0], "the start")
    ours = check_certificates(tight, theta, summary, "the end")
    last = min(trace, key=lambda t: t[1])
    theirs = tight(last[2])[0]
    print("       ends: loss %.6f and %.6f of PyTorch, accuracies epsilon %.1e, delta %.1e" % (ours, theirs, epsilon,
                                                                                              delta))
    # A record is of theta before its step, its seconds include the step.
    reached = [beside] + [beside + r["seconds"] for r in log]
    points = list(zip(reached, [r["loss_upper"] for r in log] + [summary["loss_upper"]]))
    best = min(ours, theirs)
    for part in (1e-2, 1e-3, 1e-4):
        a, b = first_time(points, best * (1 + part)), first_time([t[:2] for t in trace], best * (1 + part))
        show = lambda t: "-" if t is None else "%.2f s" % t
        print("       within %5g %%: bilevel-learn %9s, PyTorch %9s, ratio %s" % (
            100 * part, show(a), show(b), "-" if a is None or b is None else "%.3f" % (a / b)))
    print("       all: bilevel-learn %.2f s (%d iterations, of which %.2f s beside the loop), PyTorch %.2f s (%d "
          "evaluations)" % (beside + summary["seconds"], summary["iterations"], beside, trace[-1][0], len(trace)))
    print("       processor: bilevel-learn %.2f s, PyTorch %.2f s" % (processor, their_processor))


parser = argparse.ArgumentParser()
parser.add_argument("program")
for each in ("train_images", "train_labels", "validation_images", "validation_labels"):
    parser.add_argument(each)
parser.add_argument("--train", type=int, default=1000)
parser.add_argument("--problems", default="logistic,multinomial,hypercleaning")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--outer", type=int, default=30)
options = parser.parse_args()
torch.set_num_threads(options.threads)
print("torch %s, %d thread(s) each" % (torch.__version__, options.threads))


def samples(binary):
    return (Samples(options.train_images, options.train_labels, options.train, binary),
            Samples(options.validation_images, options.validation_labels, options.train, binary))


def corrupted(train, rate=0.1):
    """A tenth of the labels are others."""
    random = np.random.default_rng(0)
    wrong = torch.from_numpy(random.choice(train.count, int(rate * train.count), replace=False))
    train.labels[wrong] = (train.labels[wrong] + torch.from_numpy(random.integers(1, 10, len(wrong)))) % 10
    return train


limits = ["--min-progress", "0", "--tolerance", "1e-4", "--max-iterations", str(options.outer)]
for name in options.problems.split(","):
    train, validation = samples(name == "logistic")
    if name == "hypercleaning":
        problem = Problem("samples", corrupted(train), validation, ["--ridge", "0.01", *limits])
    else:
        problem = Problem("ridge" if name == "logistic" else "ridges", train, validation, limits)
    compare(name, problem, options.program, options.threads, options.outer)
sys.exit("\n".join(faults) or 0)
