"""Scores of texts from few ratings of people and a machine's guess: the concept of each image as a latent label.

For every image of a pair (a unit and a text) the log odds that it shows the concept are linear in what a machine says (the
guide) and in the unit's activation, with coefficients of its own for each pair that resemble each other within a study. How
raters err is estimated along with them. The score is the correlation of activation and concept over ALL images, so that ratings
are needed only to learn a few coefficients, and no weights are needed. Its interval is the spread of draws from the posterior.
Departure: the crowd paper estimates the correlation from the drawn images alone, weighted (Eq. 7 to 9), with one error rate for
all raters that is known beforehand, and gives no interval.

    design       which images to ask about (D1, D2)                  adaptive    which of them to ask about again (D3, D4)
    likelihood   how likely ratings are, given the label (L4)        covariates  what is known of every image (L1)
    population   priors and a first fit (L2, L5)                     posterior   chains of draws (L6), in `chains` and `kernels`
    scoring      scores from draws (I1, I2)                          self_check  when not to believe them
    fit          all of it in one call
"""
