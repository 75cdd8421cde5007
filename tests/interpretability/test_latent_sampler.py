"""The Markov chain of the latent model beside an established sampler, where that is installed."""

import numpy as np
import pytest
from scipy.special import expit

from interpretability.explanations.latent.estimating import estimate
from interpretability.explanations.latent.posterior import Effort
from interpretability.explanations.latent.study import prepare, prior_means
from tests.interpretability.latent_studies import keys, small_study

numpyro = pytest.importorskip("numpyro", reason="the sampler numpyro is not installed")


def model(study, z, prior):
    """The same posterior (L1 to L5), written for numpyro."""
    import jax.numpy as jnp
    import numpyro.distributions as dist
    from jax.nn import log_sigmoid, sigmoid
    from jax.scipy.special import betaln

    rated, gold, (pairs, p, _) = study.rated, study.gold, z.shape
    pair = np.repeat(np.arange(pairs), np.diff(rated.start))
    m, k = (np.asarray(column, float) for column in rated.kinds[rated.kind].T)
    scale = np.linalg.cholesky(np.diag(1 / prior.scatter))

    def likelihoods(m, k, false_yes, false_no, spread):
        # Beta-binomial by Beta functions: another form than products
        precision = 1 / spread
        parts = []
        for rate in (1 - false_no, false_yes):
            a, b = rate * precision, (1 - rate) * precision
            parts.append(betaln(a + k, b + m - k) - betaln(a, b))
        return parts

    def run():
        b = numpyro.sample("b", dist.Normal(prior.b_mean, np.sqrt(prior.b_var)).to_event(1))
        precision = numpyro.sample("precision", dist.WishartCholesky(prior.scatter_df, scale_tril=scale))
        mix = numpyro.sample("mix", dist.Gamma(prior.t_df / 2, prior.t_df / 2).expand([pairs]).to_event(1))
        unit = numpyro.sample("unit", dist.Normal(0, 1).expand([pairs, p]).to_event(2))
        # precision = factor factor', so factor'^-1 times standard normal numbers has its inverse as covariance
        off = jnp.linalg.solve(precision.T, unit.T).T / jnp.sqrt(mix)[:, None]
        theta = numpyro.deterministic("theta", z @ b + off)
        tau2 = numpyro.sample(
            "tau2", dist.InverseGamma(prior.tau_df / 2, prior.tau_df * prior.tau_scale / 2).expand([2]).to_event(1)
        )
        own = jnp.sqrt(tau2) * numpyro.sample("own_unit", dist.Normal(0, 1).expand([pairs, 2]).to_event(2))
        rate = numpyro.sample("rate", dist.Beta(prior.beta_a, prior.beta_b).expand([2]).to_event(1))
        spread = numpyro.sample("spread", dist.Exponential(1 / prior.spread_mean))
        pull = numpyro.sample("pull", dist.Normal(0, prior.pull_sd))
        logits = jnp.log(rate) - jnp.log1p(-rate)
        t, x = theta[pair], rated.x
        odds = t[:, 0] + (t[:, 2:-1] * x[:, 2:-1]).sum(1)
        odds = odds + jnp.logaddexp(t[:, 1] * x[:, 1], t[:, -1] + study.level[pair])
        false_yes = sigmoid(logits[0] + own[pair, 0] + pull * rated.lure)
        one, zero = likelihoods(m, k, false_yes, sigmoid(logits[1] + own[pair, 1]), spread)
        numpyro.factor("ratings", jnp.logaddexp(log_sigmoid(odds) + one, log_sigmoid(-odds) + zero).sum())
        one, zero = likelihoods(gold.m, gold.k, sigmoid(logits[0] + pull * gold.lure), rate[1], spread)
        numpyro.factor("gold", jnp.where(gold.label == 1, one, zero).sum())
        numpyro.factor("range", jnp.where(rate.sum() < prior.most_errors, 0.0, -jnp.inf))

    return run


def test_posteriors_are_those_of_numpyro():
    import jax

    jax.config.update("jax_enable_x64", True)
    world, ratings, gold = small_study("mediocre", "beta", units=10, n=600, size=30)
    study = prepare(world.activations, world.guide, ratings, gold, keys(10))
    z, prior = prior_means(study)
    sampler = numpyro.infer.MCMC(
        numpyro.infer.NUTS(
            model(study, z, prior), target_accept_prob=0.9, init_strategy=numpyro.infer.init_to_median()
        ),
        num_warmup=500,
        num_samples=800,
        progress_bar=False,
    )
    sampler.run(jax.random.PRNGKey(0))
    theirs = {name: np.asarray(values) for name, values in sampler.get_samples().items()}
    flat = estimate(study, 1, Effort(chains=2, burn=1500, kept=1500, every=5)).flat
    pairs = [
        (flat.theta.reshape(len(flat.b), -1), theirs["theta"].reshape(len(theirs["b"]), -1)),
        (flat.b, theirs["b"]),
        (expit(flat.errors[:, :2]), theirs["rate"]),
        (flat.errors[:, 2:], np.stack([theirs["spread"], theirs["pull"]], axis=1)),
        (np.log(flat.tau), np.log(theirs["tau2"]) / 2),
    ]
    for ours, others in pairs:
        sd = others.std(axis=0)
        # some hundred effective draws on either side: standard errors of means of about 6 % of the standard deviation
        assert np.abs((ours.mean(axis=0) - others.mean(axis=0)) / sd).max() < 0.3
        assert np.abs(np.log(ours.std(axis=0) / sd)).max() < 0.3
