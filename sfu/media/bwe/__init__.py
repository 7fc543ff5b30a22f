"""Send-side bandwidth estimation of one subscribe transport, from its transport-wide feedback.

`estimator.Estimator` is the whole; the other modules are its parts. Everything is sans-IO: time is
passed in as `now_us`, nothing is random. Sources are named where they are used, and all of them in
docs/bandwidth.md.
"""

from sfu.media.bwe.estimator import Estimator as Estimator
from sfu.media.bwe.estimator import EstimatorStatus as EstimatorStatus
