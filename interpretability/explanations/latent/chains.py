"""The Markov chain of the latent model, compiled: one sweep draws the coefficients and deviations of each pair, then the study's.

Random numbers come in as arrays, drawn for each pair from its own key, so no pair depends on its place among the others.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from interpretability.explanations.latent.kernels import (
    centre,
    cholesky,
    climb,
    curvatures,
    expit,
    fill_ratings,
    inverse,
    log_likelihood,
    log_proposal,
    propose,
    pull_to,
    rising,
    shared_divisors,
    solve,
)

# numba keeps compiled code until the file of a function changes, and does not look into the files of those that it calls
KERNELS = "a96fb759705c273b"
ACCEPTED, ACCEPTED_BLINDLY = (
    0.7,
    0.3,
)  # shares of steps taken for which step sizes are tuned, with derivatives and without
LARGEST = 0.999


@numba.njit(nogil=True, cache=True)
def step_coefficients(
    theta, mean, precision, information, size, noise, chance, rated, floored, level, first, last, now, odds, new_odds
):
    """One step of a pair's coefficients (p,); returns the log likelihood of its ratings and whether the step was taken."""
    p = len(mean)
    covariance, factor = inverse(information + precision), np.empty((p, p))
    cholesky(covariance, factor)
    slope, new_slope, tried = np.empty(p), np.empty(p), np.empty(p)
    before = climb(theta, rated, floored, level, first, last, odds, slope) + pull_to(theta, mean, precision, slope)
    propose(theta, slope, covariance, factor, size, noise, tried)
    after = climb(tried, rated, floored, level, first, last, new_odds, new_slope)
    change = after + pull_to(tried, mean, precision, new_slope) - before
    change += log_proposal(theta, tried, new_slope, covariance, factor, size)
    change -= log_proposal(tried, theta, slope, covariance, factor, size)
    if chance < change:
        theta[:] = tried
        odds[first:last] = new_odds[first:last]
        return after, True
    return now, False


@numba.njit(nogil=True, cache=True)
def step_own(own, errors, tau, size, noise, chance, rated, first, last, now, odds, present, absent):
    """One step of a concept's own deviations (2,) of the two error rates; returns as `step_coefficients` does."""
    yes, no = own[0] + size * tau[0] * noise[0], own[1] + size * tau[1] * noise[1]
    change = 0.5 * ((own[0] ** 2 - yes**2) / tau[0] ** 2 + (own[1] ** 2 - no**2) / tau[1] ** 2)
    fill_ratings(rated, first, last, errors[0] + yes, errors[1] + no, errors[2], errors[3], present, absent)
    after = log_likelihood(odds, present, absent, first, last)
    if chance < after - now + change:
        own[0], own[1] = yes, no
        rated.present[first:last] = present[first:last]
        rated.absent[first:last] = absent[first:last]
        return after, True
    return now, False


@numba.njit(nogil=True, cache=True)
def density_of_errors(errors, gold, priors):
    """Log density of (logit false yes, logit false no, spread, pull) given gold ratings alone; -inf outside of their range."""
    false_yes, false_no, spread = expit(errors[0]), expit(errors[1]), errors[2]
    if spread < 0.0 or false_yes + false_no >= priors.most_errors:
        return -np.inf
    value = -spread / priors.spread_mean - 0.5 * (errors[3] / priors.pull_sd) ** 2
    for rate in (false_yes, false_no):
        value += priors.beta_a * math.log(rate) + priors.beta_b * math.log(1.0 - rate)
    for r in range(len(gold.m)):
        m, k = gold.m[r], gold.k[r]
        if gold.label[r]:
            likelihood = rising(false_no, spread, m - k) * rising(1.0 - false_no, spread, k)
        else:
            rate = expit(errors[0] + errors[3] * gold.lure[r])
            likelihood = rising(rate, spread, k) * rising(1.0 - rate, spread, m - k)
        value += math.log(likelihood / rising(1.0, spread, m))
    return value


@numba.njit(nogil=True, cache=True)
def step_errors(errors, own, free, factor, size, noise, chance, rated, gold, priors, odds, lines, present, absent):
    """One step of the study's error rates (4,) with the ratings of all pairs; whether it was taken."""
    tried = errors.copy()
    for i in range(4):
        for j in range(i + 1):
            tried[i] += size * free[i] * factor[i, j] * noise[j]
    change = density_of_errors(tried, gold, priors)
    if change == -np.inf:
        return False
    change -= density_of_errors(errors, gold, priors)
    change -= shared_divisors(rated, tried[2]) - shared_divisors(rated, errors[2])
    new_lines = np.empty(len(own))
    for u in range(len(own)):
        first, last = rated.start[u], rated.start[u + 1]
        yes, no = tried[0] + own[u, 0], tried[1] + own[u, 1]
        fill_ratings(rated, first, last, yes, no, tried[2], tried[3], present, absent)
        new_lines[u] = log_likelihood(odds, present, absent, first, last)
        change += new_lines[u] - lines[u]
    if chance >= change:
        return False
    errors[:] = tried
    lines[:] = new_lines
    rated.present[:] = present
    rated.absent[:] = absent
    return True


@numba.njit(nogil=True, cache=True)
def step_centres(errors, own, tau, noise, chances, gold, priors):
    """Move each error rate and all concepts' deviations from it against each other: the ratings are as likely as before."""
    for side in range(2):
        middle = errors[side]
        for u in range(len(own)):
            middle += own[u, side] / len(own)
        tried = errors.copy()
        # given the concepts' own rates the population's part of the density of the centre is what it is drawn from
        tried[side] = middle + tau[side] / math.sqrt(len(own)) * noise[side]
        change = density_of_errors(tried, gold, priors)
        if change > -np.inf and chances[side] < change - density_of_errors(errors, gold, priors):
            for u in range(len(own)):
                own[u, side] += errors[side] - tried[side]
            errors[side] = tried[side]


@numba.njit(nogil=True, cache=True)
def step_scale(side, errors, own, tau, size, noise, chance, rated, priors, odds, lines, present, absent):
    """One step of the spread of the concepts' own deviations of one error rate, which takes the deviations along."""
    factor = math.exp(size * noise)
    wide = (factor * tau[side]) ** 2
    # the density of the deviations, the size of the step and the prior of tau leave this of the ratio
    change = -priors.tau_df * (math.log(factor) + 0.5 * priors.tau_scale * (1.0 / wide - 1.0 / tau[side] ** 2))
    new_lines = np.empty(len(own))
    for u in range(len(own)):
        first, last = rated.start[u], rated.start[u + 1]
        yes, no = errors[0] + own[u, 0], errors[1] + own[u, 1]
        if side == 0:
            yes += (factor - 1.0) * own[u, 0]
        else:
            no += (factor - 1.0) * own[u, 1]
        fill_ratings(rated, first, last, yes, no, errors[2], errors[3], present, absent)
        new_lines[u] = log_likelihood(odds, present, absent, first, last)
        change += new_lines[u] - lines[u]
    if chance >= change:
        return False
    tau[side] *= factor
    for u in range(len(own)):
        own[u, side] *= factor
    lines[:] = new_lines
    rated.present[:] = present
    rated.absent[:] = absent
    return True


@numba.njit(nogil=True, cache=True)
def information_of_population(theta, z, rated, floored, level, priors):
    """Curvature (q, q) of the likelihood of all ratings, and of the prior, when b moves and takes all coefficients along."""
    units, p = theta.shape
    q = z.shape[2]
    total, bound, scores = np.zeros((q, q)), np.empty((p, p)), np.empty((p, p))
    for a in range(q):
        total[a, a] = 1.0 / priors.b_var[a]
    for u in range(units):
        scores[:, :] = 0.0
        curvatures(theta[u], rated, floored, level[u], rated.start[u], rated.start[u + 1], bound, scores)
        for a in range(q):
            for c in range(q):
                for i in range(p):
                    for j in range(p):
                        total[a, c] += z[u, i, a] * scores[i, j] * z[u, j, c]
    return total


@numba.njit(nogil=True, cache=True)
def climb_population(theta, b, z, rated, floored, level, priors, odds, lines, slope):
    """Log density of b while it takes all coefficients along; fills odds, log likelihoods of pairs and the derivatives by b."""
    units, p = theta.shape
    slope[:] = -(b - priors.b_mean) / priors.b_var
    total, part = -0.5 * ((b - priors.b_mean) ** 2 / priors.b_var).sum(), np.empty(p)
    for u in range(units):
        lines[u] = climb(theta[u], rated, floored, level[u], rated.start[u], rated.start[u + 1], odds, part)
        total += lines[u]
        for i in range(p):
            for a in range(len(b)):
                slope[a] += z[u, i, a] * part[i]
    return total


@numba.njit(nogil=True, cache=True)
def step_population(theta, b, z, covariance, size, noise, chance, rated, floored, level, priors, odds, new_odds, lines):
    """One step of b that takes the coefficients of all pairs along; whether it was taken."""
    units, p = theta.shape
    q = len(b)
    factor, slope, new_slope, tried = np.empty((q, q)), np.empty(q), np.empty(q), np.empty(q)
    cholesky(covariance, factor)
    before = climb_population(theta, b, z, rated, floored, level, priors, odds, lines, slope)
    propose(b, slope, covariance, factor, size, noise, tried)
    moved, new_lines = theta.copy(), np.empty(units)
    for u in range(units):
        for i in range(p):
            for a in range(q):
                moved[u, i] += z[u, i, a] * (tried[a] - b[a])
    change = climb_population(moved, tried, z, rated, floored, level, priors, new_odds, new_lines, new_slope) - before
    change += log_proposal(b, tried, new_slope, covariance, factor, size)
    change -= log_proposal(tried, b, slope, covariance, factor, size)
    if chance >= change:
        return False
    theta[:, :] = moved
    b[:] = tried
    lines[:] = new_lines
    odds[:] = new_odds
    return True


@numba.njit(nogil=True, cache=True)
def draw_centre(theta, scale, z, b, precision, priors, noise):
    """Gibbs draw of b, in place, given all coefficients, their scales and the precision of the population (L2, L5)."""
    q, p = len(b), theta.shape[1]
    weight, right, factor = np.zeros((q, q)), priors.b_mean / priors.b_var, np.empty((q, q))
    for a in range(q):
        weight[a, a] = 1.0 / priors.b_var[a]
    for u in range(len(theta)):
        for a in range(q):
            for i in range(p):
                if z[u, i, a] != 0.0:
                    for j in range(p):
                        part = scale[u] * z[u, i, a] * precision[i, j]
                        right[a] += part * theta[u, j]
                        for c in range(q):
                            weight[a, c] += part * z[u, j, c]
    cholesky(weight, factor)
    solve(factor, right, b)
    off = np.empty(q)
    for i in range(q - 1, -1, -1):  # off has the inverse of weight as covariance
        off[i] = noise[i]
        for j in range(i + 1, q):
            off[i] -= factor[j, i] * off[j]
        off[i] /= factor[i, i]
    b += off


@numba.njit(nogil=True, cache=True)
def draw_precision(theta, scale, z, b, precision, priors, chi, noise):
    """Gibbs draw of the precision of the population, in place: Wishart, by Bartlett's triangle of `chi` (p,) and `noise`."""
    p = theta.shape[1]
    sums, mean, rest = np.diag(priors.scatter), np.empty(p), np.empty(p)
    for u in range(len(theta)):
        centre(z, b, u, mean)
        rest[:] = theta[u] - mean
        for i in range(p):
            for j in range(p):
                sums[i, j] += scale[u] * rest[i] * rest[j]
    small, lower, place = np.empty((p, p)), np.zeros((p, p)), 0
    cholesky(inverse(sums), small)
    for i in range(p):
        for j in range(i + 1):
            part = chi[i] if i == j else noise[place]
            place += i != j
            for row in range(i, p):
                lower[row, j] += small[row, i] * part
    for i in range(p):
        for j in range(p):
            precision[i, j] = 0.0
            for t in range(min(i, j) + 1):
                precision[i, j] += lower[i, t] * lower[j, t]


@numba.njit(nogil=True, cache=True)
def learn(values, seen, mean, products):
    """Add values (d,) as the `seen`-th point to a running mean, and to the sum of products of deviations."""
    off = values - mean
    mean += off / seen
    for i in range(len(values)):
        for j in range(len(values)):
            products[i, j] += off[i] * (values[j] - mean[j])


@numba.njit(nogil=True, cache=True)
def run(
    rated, gold, priors, z, level, floored, theta, information, errors, free, own_noise, study_noise, burn, every, kept
):
    """Run one chain from theta (units, p) and errors (4,), in place; fill `kept` with every `every`-th of its later draws (L6).

    The first `burn` sweeps tune sizes and shapes of the steps and are not kept.
    """
    units, p = theta.shape
    q, rows = z.shape[2], len(rated.kind)
    odds, new_odds, present, absent = np.empty(rows), np.empty(rows), np.empty(rows), np.empty(rows)
    own, tau = np.zeros((units, 2)), np.full(2, math.sqrt(priors.tau_scale))
    lines, scale, b, precision = np.empty(units), np.ones(units), priors.b_start.copy(), np.diag(priors.precision_start)
    size, own_size, b_size, error_size = np.full(units, 0.8), np.ones(units), 0.8, 1.0
    tau_size = np.full(2, 0.5)
    error_factor, seen, error_mean, products = np.eye(4) * 0.1, 0, np.zeros(4), np.zeros((4, 4))
    mean, slope, b_covariance, renewal = np.empty(p), np.empty(q), np.empty((q, q)), 0
    for u in range(units):
        fill_ratings(
            rated,
            rated.start[u],
            rated.start[u + 1],
            errors[0],
            errors[1],
            errors[2],
            errors[3],
            rated.present,
            rated.absent,
        )
    climb_population(theta, b, z, rated, floored, level, priors, odds, lines, slope)
    for sweep in range(burn + every * len(kept.errors)):
        gain = 4.0 / (10.0 + sweep) ** 0.7 if sweep < burn else 0.0
        if sweep == renewal and sweep < burn:
            b_covariance = inverse(information_of_population(theta, z, rated, floored, level, priors))
            renewal = 2 * renewal + 20
        noise = study_noise.normals[sweep]
        draw_centre(theta, scale, z, b, precision, priors, noise[:q])
        draw_precision(theta, scale, z, b, precision, priors, study_noise.chi[sweep], noise[2 * q + 7 :])
        for u in range(units):
            first, last = rated.start[u], rated.start[u + 1]
            centre(z, b, u, mean)
            distance = 0.0
            for i in range(p):
                for j in range(p):
                    distance += (theta[u, i] - mean[i]) * precision[i, j] * (theta[u, j] - mean[j])
            scale[u] = own_noise.gammas[u, sweep] / (0.5 * (priors.t_df + distance))
            lines[u], taken = step_coefficients(
                theta[u],
                mean,
                precision * scale[u],
                information[u],
                size[u],
                own_noise.normals[u, sweep, :p],
                own_noise.chances[u, sweep, 0],
                rated,
                floored,
                level[u],
                first,
                last,
                lines[u],
                odds,
                new_odds,
            )
            size[u] = min(size[u] * math.exp(gain * ((1.0 if taken else 0.0) - ACCEPTED)), LARGEST)
            lines[u], taken = step_own(
                own[u],
                errors,
                tau,
                own_size[u],
                own_noise.normals[u, sweep, p:],
                own_noise.chances[u, sweep, 1],
                rated,
                first,
                last,
                lines[u],
                odds,
                present,
                absent,
            )
            own_size[u] *= math.exp(gain * ((1.0 if taken else 0.0) - ACCEPTED_BLINDLY))
        for side in range(2):
            total = priors.tau_df * priors.tau_scale
            for u in range(units):
                total += own[u, side] ** 2
            tau[side] = math.sqrt(0.5 * total / study_noise.gammas[sweep, side])
        chances = study_noise.chances[sweep]
        side = sweep % 2
        taken = step_scale(
            side,
            errors,
            own,
            tau,
            tau_size[side],
            noise[2 * q + 6],
            chances[4],
            rated,
            priors,
            odds,
            lines,
            present,
            absent,
        )
        tau_size[side] *= math.exp(gain * ((1.0 if taken else 0.0) - ACCEPTED_BLINDLY))
        step_centres(errors, own, tau, noise[2 * q + 4 : 2 * q + 6], chances[:2], gold, priors)
        taken = step_errors(
            errors,
            own,
            free,
            error_factor,
            error_size,
            noise[2 * q : 2 * q + 4],
            chances[2],
            rated,
            gold,
            priors,
            odds,
            lines,
            present,
            absent,
        )
        error_size *= math.exp(gain * ((1.0 if taken else 0.0) - ACCEPTED_BLINDLY))
        if sweep % 2:  # every other time is enough: these steps go far
            taken = step_population(
                theta,
                b,
                z,
                b_covariance,
                b_size,
                noise[q : 2 * q],
                chances[3],
                rated,
                floored,
                level,
                priors,
                odds,
                new_odds,
                lines,
            )
            b_size = min(b_size * math.exp(gain * ((1.0 if taken else 0.0) - ACCEPTED)), LARGEST)
        if 50 <= sweep < burn:
            seen += 1
            learn(errors, seen, error_mean, products)
            if seen >= 100 and seen % 50 == 0:
                cholesky(products / seen + np.eye(4) * 1e-4, error_factor)
                error_size = 1.2 if seen == 100 else error_size
        elif sweep >= burn and (sweep - burn) % every == every - 1:
            place = (sweep - burn) // every
            kept.theta[place], kept.own[place], kept.errors[place] = theta, own, errors
            kept.tau[place], kept.b[place] = tau, b
            for i in range(p):
                kept.precision[place, i] = precision[i, i]
