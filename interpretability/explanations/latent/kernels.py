"""Compiled parts of the latent model: likelihoods of ratings, presence of a concept, modes of coefficients, proposals.

Nothing is reordered or contracted (no fastmath), and matrices of a few coefficients are solved by hand, so bytes do not follow
the instructions of a processor. Who changes this file must renew the digest in `chains`, whose compiled code holds this one's.
"""

from __future__ import annotations

import math

import numba
import numpy as np

_STEEPEST = 35.0  # log odds beyond which a probability is 0 or 1 in double precision
_IMAGES = 1024  # images at a time where all of them are gone through
_PER_LOG2, _LOG2_HIGH, _LOG2_LOW = (
    1.0 / math.log(2.0),
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)  # of fdlibm
_MAGIC = 1.5 * 2.0**52
_FACTORIALS = tuple(1.0 / math.factorial(power) for power in range(14))
_BLOCK = 8  # factors of a likelihood that are multiplied before a logarithm is taken: none is near the smallest number


@numba.njit(nogil=True, cache=True)
def cholesky(matrix, factor):
    """Fill `factor` with the lower triangle whose product with its transpose is `matrix`; False if there is none."""
    p = len(matrix)
    factor[:, :] = 0.0
    for i in range(p):
        for j in range(i + 1):
            rest = matrix[i, j]
            for t in range(j):
                rest -= factor[i, t] * factor[j, t]
            if i == j:
                if not rest > 0.0:
                    return False
                factor[i, i] = math.sqrt(rest)
            else:
                factor[i, j] = rest / factor[j, j]
    return True


@numba.njit(nogil=True, cache=True)
def solve(factor, right, solution):
    """Fill `solution` with the x of factor factor' x = right."""
    p = len(right)
    for i in range(p):
        rest = right[i]
        for j in range(i):
            rest -= factor[i, j] * solution[j]
        solution[i] = rest / factor[i, i]
    for i in range(p - 1, -1, -1):
        rest = solution[i]
        for j in range(i + 1, p):
            rest -= factor[j, i] * solution[j]
        solution[i] = rest / factor[i, i]


@numba.njit(nogil=True, cache=True)
def inverse(matrix):
    """Inverse of a positive definite matrix (p, p)."""
    p = len(matrix)
    factor, result, unit = np.empty((p, p)), np.empty((p, p)), np.zeros(p)
    cholesky(matrix, factor)
    for i in range(p):
        unit[:] = 0.0
        unit[i] = 1.0
        solve(factor, unit, result[i])
    return result


@numba.njit(nogil=True, cache=True)
def expit(x):
    return 1.0 / (1.0 + math.exp(-x))


@numba.njit(nogil=True, cache=True)
def rising(rate, spread, count):
    """rate (rate + spread) ... of `count` factors: what L4 multiplies."""
    product = 1.0
    for j in range(count):
        product *= rate + j * spread
    return product


@numba.njit(nogil=True, cache=True)
def fill_ratings(rated, first, last, logit_yes, logit_no, spread, pull, present, absent):
    """Fill A1 and A0 of rated images first .. last - 1, both without the divisor that they share (L3, L4)."""
    false_no, false_yes = expit(logit_no), expit(logit_yes)
    table = np.empty((len(rated.kinds), 2))
    for c in range(len(rated.kinds)):
        m, k = rated.kinds[c, 0], rated.kinds[c, 1]
        table[c, 0] = rising(false_no, spread, m - k) * rising(1.0 - false_no, spread, k)
        table[c, 1] = rising(false_yes, spread, k) * rising(1.0 - false_yes, spread, m - k)
    if pull == 0.0:
        for r in range(first, last):
            present[r], absent[r] = table[rated.kind[r], 0], table[rated.kind[r], 1]
        return
    kinds, kind_of, lure = rated.kinds, rated.kind, rated.lure
    for r in range(first, last):
        kind = kind_of[r]
        rate = expit(logit_yes + pull * lure[r])
        present[r] = table[kind, 0]
        k = kinds[kind, 1]
        absent[r] = rising(rate, spread, k) * rising(1.0 - rate, spread, kinds[kind, 0] - k)


@numba.njit(nogil=True, cache=True)
def shared_divisors(rated, spread):
    """Sum over all rated images of the logarithm of the divisor that `fill_ratings` leaves out."""
    total = 0.0
    for c in range(len(rated.kinds)):
        total += rated.counts[c] * math.log(rising(1.0, spread, rated.kinds[c, 0]))
    return total


@numba.njit(nogil=True, cache=True)
def exponentials(x, bits, out):
    """Fill `out` with exp(x) for |x| < 700, to the last bit but one: plain loops, which compilers turn into vector instructions.

    2^k times a polynomial in x - k log 2; k lies in the lower half of x / log 2 plus 1.5 * 2^52. bits (int64) is scratch.
    """
    scaled = bits.view(np.float64)
    for i in range(len(x)):
        scaled[i] = x[i] * _PER_LOG2 + _MAGIC
    for i in range(len(x)):
        whole = scaled[i] - _MAGIC
        rest = (x[i] - whole * _LOG2_HIGH) - whole * _LOG2_LOW
        value = _FACTORIALS[13]
        for power in range(12, -1, -1):
            value = value * rest + _FACTORIALS[power]
        out[i] = value
    for i in range(len(x)):
        bits[i] = (bits[i] << 52) + (1023 << 52)
    for i in range(len(x)):
        out[i] *= scaled[i]


@numba.njit(nogil=True, cache=True)
def inside(value):
    """A part of log odds, kept where its exponential is of use."""
    return min(max(value, -_STEEPEST), _STEEPEST)


@numba.njit(nogil=True, cache=True)
def floor_of(theta, floored, level):
    """The odds that the guide's part is added to: exp of the last coefficient above the level; 0 without a floor."""
    return math.exp(inside(theta[len(theta) - 1] + level)) if floored else 0.0


@numba.njit(nogil=True, cache=True)
def inverse_odds(theta, x, r, floored, floor):
    """(1 - P) / P of the image in row r of the covariates x (rows, p), and the guide's share in the odds, 1 without a floor."""
    p, value = len(theta), theta[0]
    if floored:
        for j in range(2, p - 1):
            value += theta[j] * x[r, j]
        guide = math.exp(inside(theta[1] * x[r, 1]))
        part = 1.0 / (guide + floor)
        return math.exp(-inside(value)) * part, guide * part
    for j in range(1, p):
        value += theta[j] * x[r, j]
    return math.exp(-inside(value)), 1.0


@numba.njit(nogil=True, cache=True)
def log_likelihood(odds, present, absent, first, last):
    """Sum over rated images first .. last - 1 of log(P A1 + (1 - P) A0), with odds (1 - P) / P."""
    total, above, below, held = 0.0, 1.0, 1.0, 0
    for r in range(first, last):
        above *= present[r] + odds[r] * absent[r]
        below *= 1.0 + odds[r]
        held += 1
        if held == _BLOCK:
            total += math.log(above / below)
            above, below, held = 1.0, 1.0, 0
    return total + math.log(above / below)


@numba.njit(nogil=True, cache=True)
def fill_odds(theta, columns, first, floored, floor, bits, odds, share):
    """Fill odds (n,) of absence, and the guide's shares, of n images with covariates in columns (p, images), from the `first`."""
    p, n = len(columns), len(odds)
    odds[:] = -theta[0]
    for j in range(2 if floored else 1, p - 1 if floored else p):
        column, slope = columns[j, first : first + n], theta[j]
        for i in range(n):
            odds[i] -= slope * column[i]
    for i in range(n):
        odds[i] = inside(odds[i])
    exponentials(odds, bits, odds)
    if not floored:
        return
    column, slope = columns[1, first : first + n], theta[1]
    for i in range(n):
        share[i] = inside(slope * column[i])
    exponentials(share, bits, share)
    for i in range(n):
        part = 1.0 / (share[i] + floor)
        odds[i] *= part
        share[i] *= part


@numba.njit(nogil=True, cache=True)
def climb(theta, rated, floored, level, first, last, odds, slope):
    """Log likelihood of rated images first .. last - 1; fills their odds, and the derivatives by theta."""
    p, n = len(theta), last - first
    share, off, bits = np.ones(n), np.empty(n), np.empty(n, np.int64)
    against = odds[first:last]
    present, absent = rated.present[first:last], rated.absent[first:last]
    fill_odds(theta, rated.columns, first, floored, floor_of(theta, floored, level), bits, against, share)
    for i in range(n):
        # the chance that the concept is there after the ratings, less that before them
        up, down = present[i] + against[i] * absent[i], 1.0 + against[i]
        off[i] = (present[i] * down - up) / (up * down)
    slope[:] = 0.0
    for j in range(p):
        column, total = rated.columns[j, first:last], 0.0
        if floored and j == 1:
            for i in range(n):
                total += off[i] * share[i] * column[i]
        elif floored and j == p - 1:
            for i in range(n):
                total += off[i] * (1.0 - share[i])
        else:
            for i in range(n):
                total += off[i] * column[i]
        slope[j] = total
    return log_likelihood(odds, rated.present, rated.absent, first, last)


@numba.njit(nogil=True, cache=True)
def curvatures(theta, rated, floored, level, first, last, bound, scores):
    """Add the curvature of the complete likelihood to `bound` (p, p), and the outer products of scores to `scores`."""
    p, floor = len(theta), floor_of(theta, floored, level)
    slope = np.empty(p)
    for r in range(first, last):
        odds, share = inverse_odds(theta, rated.x, r, floored, floor)
        before, after = 1.0 / (1.0 + odds), rated.present[r] / (rated.present[r] + odds * rated.absent[r])
        slope[:] = rated.x[r]
        slope[0] = 1.0
        if floored:
            slope[1] = share * rated.x[r, 1]
            slope[p - 1] = 1.0 - share
        for i in range(p):
            for j in range(p):
                bound[i, j] += before * (1.0 - before) * slope[i] * slope[j]
                scores[i, j] += (after - before) ** 2 * slope[i] * slope[j]


@numba.njit(nogil=True, cache=True)
def pull_to(theta, mean, precision, slope):
    """Log density of theta under N(mean, precision^-1) but for its constant, whose derivatives are added to `slope`."""
    value = 0.0
    for i in range(len(mean)):
        for j in range(len(mean)):
            part = precision[i, j] * (theta[j] - mean[j])
            slope[i] -= part
            value -= 0.5 * (theta[i] - mean[i]) * part
    return value


@numba.njit(nogil=True, cache=True)
def mode(theta, mean, precision, rated, floored, level, first, last, rounds, information):
    """Move theta to the mode of its posterior under the prior N(mean, precision^-1), and fill `information` (p, p) there.

    Steps of the EM algorithm, whose curvature bounds that of the likelihood from above, halved until they climb. The
    information is the sum of the outer products of the images' scores, without the prior's.
    """
    p = len(theta)
    step, slope, new_slope, tried = np.empty(p), np.empty(p), np.empty(p), np.empty(p)
    bound, factor, scores = np.empty((p, p)), np.empty((p, p)), np.empty((p, p))
    odds = np.empty(last)
    best = climb(theta, rated, floored, level, first, last, odds, slope) + pull_to(theta, mean, precision, slope)
    for turn in range(rounds + 1):
        bound[:, :] = precision
        scores[:, :] = 0.0
        curvatures(theta, rated, floored, level, first, last, bound, scores)
        if turn == rounds:
            break
        cholesky(bound, factor)
        solve(factor, slope, step)
        size, moved, value = 1.0, False, best
        while size > 1e-6 and not moved:
            for i in range(p):
                tried[i] = theta[i] + size * step[i]
            value = climb(tried, rated, floored, level, first, last, odds, new_slope)
            value += pull_to(tried, mean, precision, new_slope)
            moved = value > best
            size *= 0.5
        if not moved:
            break
        theta[:] = tried
        slope[:] = new_slope
        best = value
    information[:, :] = scores


@numba.njit(nogil=True, cache=True)
def centre(z, b, u, mean):
    """Fill the prior mean Z_u b of a pair's coefficients (L2)."""
    for i in range(len(mean)):
        mean[i] = 0.0
        for a in range(len(b)):
            mean[i] += z[u, i, a] * b[a]


@numba.njit(nogil=True, cache=True)
def modes(rated, z, b, precision, level, floored, theta, rounds, information):
    """Move the coefficients of every pair to their mode under the population (b, precision)."""
    mean = np.empty(theta.shape[1])
    for u in range(len(theta)):
        centre(z, b, u, mean)
        mode(
            theta[u],
            mean,
            precision,
            rated,
            floored,
            level[u],
            rated.start[u],
            rated.start[u + 1],
            rounds,
            information[u],
        )


@numba.njit(nogil=True, cache=True)
def posteriors(rated, theta, level, floored, q):
    """Fill q with the chance that each rated image shows the concept, given its ratings and the coefficients."""
    for u in range(len(theta)):
        floor = floor_of(theta[u], floored, level[u])
        for r in range(rated.start[u], rated.start[u + 1]):
            odds, _ = inverse_odds(theta[u], rated.x, r, floored, floor)
            q[r] = rated.present[r] / (rated.present[r] + odds * rated.absent[r])


@numba.njit(nogil=True, cache=True)
def propose(now, slope, covariance, factor, size, noise, tried):
    """Fill `tried` with now + (1 - sqrt(1 - size^2)) covariance slope + size factor noise.

    For a normal target with this covariance (factor factor') it moves a part of the way to the mode and keeps the target.
    """
    d, drift = len(now), 1.0 - math.sqrt(1.0 - size * size)
    for i in range(d):
        tried[i] = now[i]
        for j in range(d):
            tried[i] += drift * covariance[i, j] * slope[j]
        for j in range(i + 1):
            tried[i] += size * factor[i, j] * noise[j]


@numba.njit(nogil=True, cache=True)
def log_proposal(to, now, slope, covariance, factor, size):
    """Log density at `to` of that proposal, but for its constant."""
    d, drift, total = len(now), 1.0 - math.sqrt(1.0 - size * size), 0.0
    off = np.empty(d)
    for i in range(d):
        off[i] = to[i] - now[i]
        for j in range(d):
            off[i] -= drift * covariance[i, j] * slope[j]
        for j in range(i):
            off[i] -= factor[i, j] * off[j]
        off[i] /= factor[i, i]
        total += off[i] * off[i]
    return -0.5 * total / (size * size)


@numba.njit(nogil=True, cache=True)
def moments(thetas, columns, abar, floored, level, sums):
    """Fill sums (draws, 5) over all images with those of P, abar P, P (1 - P), abar P (1 - P) and abar^2 P (1 - P).

    columns (p, n): covariates, of which a block of images is taken at a time.
    """
    n = columns.shape[1]
    bits, odds, chance = np.empty(_IMAGES, np.int64), np.empty(_IMAGES), np.empty(_IMAGES)
    for d in range(len(thetas)):
        s0, s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0, 0.0
        floor = floor_of(thetas[d], floored, level)
        for start in range(0, n, _IMAGES):
            size = min(_IMAGES, n - start)
            r, g, a = odds[:size], chance[:size], abar[start : start + size]
            fill_odds(thetas[d], columns, start, floored, floor, bits[:size], r, g)
            for i in range(size):
                g[i] = 1.0 / (1.0 + r[i])
            for i in range(size):
                r[i] = g[i] * g[i] * r[i]
            for i in range(size):
                s0 += g[i]
                s1 += a[i] * g[i]
                s2 += r[i]
                s3 += a[i] * r[i]
                s4 += a[i] * a[i] * r[i]
        sums[d, 0], sums[d, 1], sums[d, 2], sums[d, 3], sums[d, 4] = s0, s1, s2, s3, s4


@numba.njit(nogil=True, cache=True)
def odds_of(thetas, x, floored, level, odds):
    """Fill odds (draws, images) of absence."""
    for d in range(len(thetas)):
        floor = floor_of(thetas[d], floored, level)
        for i in range(len(x)):
            odds[d, i], _ = inverse_odds(thetas[d], x, i, floored, floor)


@numba.njit(nogil=True, cache=True)
def ratings_of(rated, first, last, errors, own, present, absent):
    """Fill A1 and A0 (draws, last - first) of the images of one pair, for errors (draws, 4) and own deviations (draws, 2)."""
    one, zero = np.empty(last), np.empty(last)
    for d in range(len(errors)):
        yes, no = errors[d, 0] + own[d, 0], errors[d, 1] + own[d, 1]
        fill_ratings(rated, first, last, yes, no, errors[d, 2], errors[d, 3], one, zero)
        present[d] = one[first:]
        absent[d] = zero[first:]
