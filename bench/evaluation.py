"""How long kNN and the linear probe take beside the bare matrix product and beside peers.

    OMP_NUM_THREADS=1 python bench/evaluation.py [--json]

Synthetic features: 60,000 labelled examples of 512 numbers, 10 classes, 10,000 queries. Every
round runs all contestants once, one after the other; a ratio is taken within a round, and the
median of the rounds is printed. Peers that are not installed are left out.
"""

import argparse
import importlib.util
import json
import statistics
import time
import warnings

import torch
import torch.nn.functional as F

from manyviews.evaluation.knn import knn
from manyviews.evaluation.linear import linear_probe, standardiser

K, TEMPERATURE, CHUNK = 20, 0.07, 256
DECAY = 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bank", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--only", choices=["knn", "linear"], help="one of the two")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    train, test = data(options)
    found = {"threads": torch.get_num_threads(), "rounds": options.rounds}
    peers = not options.no_peers
    if options.only != "linear":
        found["knn"] = compete(knn_contestants(train, test, peers), options.rounds)
    if options.only != "knn":
        found["linear"] = compete(linear_contestants(train, test, peers), options.rounds)
    print(json.dumps(found) if options.json else page(found))


def data(options):
    """Classes that overlap, on correlated features: like an encoder's, not like a closed form."""
    g = torch.Generator().manual_seed(0)
    width = options.width
    centres = torch.randn(10, width, generator=g)
    mix = torch.randn(width, width, generator=g) * torch.arange(1, width + 1).rsqrt()

    def part(n):
        y = torch.randint(0, 10, (n,), generator=g)
        x = (0.3 * centres[y] + 1.5 * torch.randn(n, width, generator=g)) @ mix.T
        return F.relu(x), y

    return part(options.bank), part(options.queries)


def compete(contestants, rounds):
    """Name -> median seconds, median ratio to the first, accuracy."""
    base = next(iter(contestants))
    seconds, right = {name: [] for name in contestants}, {}
    for _ in range(rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            right[name] = run()
            seconds[name].append(time.perf_counter() - began)
    return {
        name: {
            "seconds": round(statistics.median(times), 3),
            f"of {base}": round(
                statistics.median(a / b for a, b in zip(times, seconds[base], strict=True)), 3
            ),
            "accuracy": right[name],
        }
        for name, times in seconds.items()
    }


def knn_contestants(train, test, peers):
    (bank, labels), (queries, truth) = train, test
    unit, asked = F.normalize(bank, dim=1), F.normalize(queries, dim=1)

    def product():
        for part in asked.split(CHUNK):
            part @ unit.T

    def ours():
        return accuracy(knn(bank, labels, queries, k=K, temperature=TEMPERATURE), truth)

    def lightly():
        transposed = unit.T.contiguous()
        found = [
            knn_predict(part, transposed, labels, 10, knn_k=K, knn_t=TEMPERATURE)[:, 0]
            for part in asked.split(CHUNK)
        ]
        return accuracy(torch.cat(found), truth)

    def sklearn():
        model = KNeighborsClassifier(K, metric="cosine", algorithm="brute", weights=weigh)
        return model.fit(unit.numpy(), labels.numpy()).score(asked.numpy(), truth.numpy())

    def flat():
        index = faiss.IndexFlatIP(unit.shape[1])
        index.add(unit.numpy())
        similar, rows = map(torch.from_numpy, index.search(asked.numpy(), K))
        scores = torch.zeros(len(rows), 10)
        return accuracy(
            scores.scatter_add_(1, labels[rows], (similar / TEMPERATURE).exp()).argmax(1), truth
        )

    found = {"the matrix product": product, "manyviews": ours}
    if peers and installed("lightly"):
        from lightly.utils.benchmarking.knn import knn_predict

        found["lightly knn_predict"] = lightly
    if peers and installed("sklearn"):
        from sklearn.neighbors import KNeighborsClassifier

        found["scikit-learn KNeighbors"] = sklearn
    if peers and installed("faiss"):
        import faiss

        found["faiss IndexFlatIP"] = flat
    return found


def weigh(distances):
    return torch.from_numpy((1 - distances) / TEMPERATURE).exp().numpy()


def linear_contestants(train, test, peers):
    """scikit-learn gets standardised features and the decay; ours does both itself."""
    (x, y), (queries, truth) = train, test
    mean, scale = standardiser(x)

    def chosen():
        return accuracy(linear_probe(x, y, queries)[0], truth)

    def given():
        return accuracy(linear_probe(x, y, queries, decays=[DECAY])[0], truth)

    def sklearn(**settings):
        def run():
            model = LogisticRegression(C=1 / (DECAY * len(x)), **settings)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it says that 100 iterations are not enough
                model.fit(((x - mean) * scale).numpy(), y.numpy())
            return model.score(((queries - mean) * scale).numpy(), truth.numpy())

        return run

    found = {"manyviews, decay given": given, "manyviews, decay chosen of 8": chosen}
    if peers and installed("sklearn"):
        from sklearn.linear_model import LogisticRegression

        found = {
            "scikit-learn": sklearn(),
            **found,
            "scikit-learn, to its tolerance": sklearn(max_iter=2000),
        }
    return found


def accuracy(predictions, truth):
    return float((predictions == truth).float().mean())


def installed(name):
    return importlib.util.find_spec(name) is not None


def page(found):
    lines = [f"{found['threads']} thread(s), medians of {found['rounds']} rounds"]
    for work in ("knn", "linear"):
        rows = found.get(work, {})
        for name, row in rows.items():
            cells = [f"{key} {value}" for key, value in row.items() if value is not None]
            lines.append(f"{work}: {name}: " + ", ".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
