//! The allocation of bits to streams: a budget is spent where it reduces the error most.
//!
//! Error falls from h to h + 1 half bits by variance·n·(noise_h − noise_{h+1}), for n/2 bits. The gain
//! of a stream's steps falls from step to step, because the noise of the codes is convex in the rate.
//! So greedy spending is spending at equal slope, which is optimal up to the last step: reverse
//! water-filling (Cover and Thomas, *Elements of Information Theory*, 10.3.3) over the available rates.
//! Every stream gets a least rate, because later layers may scale the output of a row of small weights
//! up again.

use crate::codec::numbers::element::exp2i;

/// A stream that the budget is spent on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Source {
    /// Weights of the stream.
    pub len: usize,
    /// Their mean square, after the transform.
    pub variance: f64,
    /// The weight of its squared error.
    pub weight: f64,
}

impl Source {
    /// A stream whose squared error has weight 1.
    pub fn new(len: usize, variance: f64) -> Self {
        Self {
            len,
            variance,
            weight: 1.0,
        }
    }
}

/// Half bits a weight for each stream, so that all together take at most `budget` bits. `noise[h]` is
/// the mean squared error of variance 1 at h half bits, `noise[0]` = 1. Streams of zeros get nothing.
/// Every other stream gets at least `least` half bits, or fewer if the budget does not suffice for all.
///
/// Deterministic: among equal steps that of the earlier stream comes first. Time O(m·log m) for m
/// streams.
pub fn allocate(sources: &[Source], noise: &[f64], least: u8, budget: f64) -> Vec<u8> {
    struct Step {
        gain: f64,
        stream: usize,
    }
    let coded = || {
        let all = sources.iter().enumerate();
        all.filter(|(_, source)| source.variance > 0.0)
    };
    let half: f64 = coded().map(|(_, source)| source.len as f64 / 2.0).sum();
    let least = (0..=least)
        .rev()
        .find(|h| half * f64::from(*h) <= budget)
        .unwrap_or(0);
    let mut left = budget - half * f64::from(least);
    let mut rates = vec![0; sources.len()];
    let mut steps = Vec::new();
    for (stream, source) in coded() {
        rates[stream] = least;
        steps.extend(noise[least.into()..].windows(2).map(|pair| Step {
            gain: source.weight * source.variance * (pair[0] - pair[1]),
            stream,
        }));
    }
    // The sort is stable, so steps of one stream with equal gains stay in order.
    steps.sort_by(|a, b| b.gain.total_cmp(&a.gain));
    let mut closed = vec![false; sources.len()];
    for step in steps {
        // What has no room for one step has none for the next either.
        let cost = sources[step.stream].len as f64 / 2.0;
        if closed[step.stream] || cost > left {
            closed[step.stream] = true;
            continue;
        }
        left -= cost;
        rates[step.stream] += 1;
    }
    rates
}

/// The half bits, among those with finite `noise`, that minimise the error plus `slope` times the half
/// bits, each for one weight.
pub fn rate_at(source: &Source, noise: &[f64], slope: f64) -> u8 {
    let worth = source.weight * source.variance;
    let cost = |h: usize| worth * noise[h] + slope * h as f64;
    let mut best = 0;
    for h in 1..noise.len() {
        if cost(h) < cost(best) {
            best = h;
        }
    }
    best as u8
}

/// The least slope (see [`rate_at`]) at which these streams take at most `budget` bits, to a relative
/// 10⁻⁹. It is the least error reduction for which a stream gets one more half bit a weight.
///
/// With it, [`rate_at`] gives the allocation of [`allocate`] stream by stream, for streams whose
/// variance becomes known one after the other. Time O(m·log m) for m streams.
pub fn slope(sources: &[Source], noise: &[f64], budget: f64) -> f64 {
    let spending = SpendingBySlope::new(sources, noise);
    let mut high = spending.largest();
    if high == 0.0 || spending.bits(0.0) <= budget {
        return 0.0;
    }
    // No half bit reduces the error by more than the whole, and 2^−50 of that is below the rounding
    // error.
    let (mut low, mut octaves) = (high * exp2i(-50), 50.0);
    while octaves > 1e-9 {
        let middle = (low * high).sqrt();
        *(if spending.bits(middle) <= budget {
            &mut high
        } else {
            &mut low
        }) = middle;
        octaves /= 2.0;
    }
    high
}

/// The bits that streams take at a slope, without a look at each stream.
///
/// What [`rate_at`] chooses are the corners of the lower convex hull of the noise over the rate. A
/// stream takes the step to a corner if its error falls by more than the slope for each half bit of
/// it. So of the streams in order of their errors, the first ones do.
struct SpendingBySlope {
    /// The errors of the streams without bits, in falling order.
    errors: Vec<f64>,
    /// Weights of the first streams in this order, 0 first.
    weights: Vec<f64>,
    /// The steps of the hull: half bits, and the part of the error that each of them saves.
    steps: Vec<(f64, f64)>,
}

impl SpendingBySlope {
    fn new(sources: &[Source], noise: &[f64]) -> Self {
        let errors = sources.iter().map(|s| (s.weight * s.variance, s.len));
        let mut streams: Vec<_> = errors.filter(|(error, _)| *error > 0.0).collect();
        streams.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut weights = vec![0.0];
        weights.extend(streams.iter().scan(0.0, |sum, (_, len)| {
            *sum += *len as f64;
            Some(*sum)
        }));
        Self {
            errors: streams.into_iter().map(|(error, _)| error).collect(),
            weights,
            steps: hull(noise),
        }
    }

    fn largest(&self) -> f64 {
        self.errors.first().copied().unwrap_or(0.0)
    }

    fn bits(&self, slope: f64) -> f64 {
        let taken = self.steps.iter().map(|(half_bits, saved)| {
            let streams = self.errors.partition_point(|error| error * saved > slope);
            half_bits / 2.0 * self.weights[streams]
        });
        taken.sum()
    }
}

/// The steps between the corners of the lower convex hull of the finite noises: half bits, and the
/// noise that each of them saves.
fn hull(noise: &[f64]) -> Vec<(f64, f64)> {
    let saved = |from: usize, to: usize| (noise[from] - noise[to]) / (to - from) as f64;
    let mut corners = vec![0];
    for next in (1..noise.len()).filter(|h| noise[*h].is_finite()) {
        while let [.., before, last] = corners[..]
            && saved(before, last) <= saved(last, next)
        {
            corners.pop();
        }
        corners.push(next);
    }
    let steps = corners.windows(2);
    let steps = steps.map(|pair| ((pair[1] - pair[0]) as f64, saved(pair[0], pair[1])));
    steps.filter(|(_, saved)| *saved > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 6.02 dB a bit, half a decibel above the bound, and 0.2 dB more at odd half bits.
    fn noise() -> Vec<f64> {
        (0..=16)
            .map(|h| match h {
                0 => 1.0,
                _ => 0.25f64.powf(f64::from(h) / 2.0) * [1.12, 1.17][h as usize % 2],
            })
            .collect()
    }

    fn spent(sources: &[Source], rates: &[u8]) -> f64 {
        sources
            .iter()
            .zip(rates)
            .map(|(s, h)| s.len as f64 * f64::from(*h) / 2.0)
            .sum()
    }

    fn error(sources: &[Source], rates: &[u8]) -> f64 {
        let noise = noise();
        sources
            .iter()
            .zip(rates)
            .map(|(s, h)| s.len as f64 * s.variance * noise[usize::from(*h)])
            .sum()
    }

    proptest! {
        #[test]
        fn a_budget_is_kept_and_nearly_spent(
            variances in proptest::collection::vec(0.01f64..100.0, 20..100),
            bits in 0.6f64..7.5,
        ) {
            let sources: Vec<_> = variances.iter().map(|&variance| Source::new(384, variance)).collect();
            let budget = bits * 384.0 * sources.len() as f64;
            let rates = allocate(&sources, &noise(), 0, budget);
            prop_assert!(spent(&sources, &rates) <= budget);
            // More than a step is left only if all streams have the highest rate.
            if rates.iter().all(|h| *h < 16) {
                prop_assert!(budget - spent(&sources, &rates) < 192.0);
            }
        }

        #[test]
        fn a_slope_spends_as_the_allocation_does(
            variances in proptest::collection::vec(0.01f64..100.0, 20..100),
            bits in 0.6f64..7.5,
        ) {
            let sources: Vec<_> = variances.iter().map(|&variance| Source::new(384, variance)).collect();
            let budget = bits * 384.0 * sources.len() as f64;
            let at = slope(&sources, &noise(), budget);
            let rates: Vec<u8> = sources.iter().map(|s| rate_at(s, &noise(), at)).collect();
            prop_assert!(spent(&sources, &rates) <= budget);
            // Odd half bits lie a little above the line between their neighbours, so a slope skips some
            // of them, and a few steps may be left.
            let greedy = allocate(&sources, &noise(), 0, budget);
            prop_assert!(spent(&sources, &greedy) - spent(&sources, &rates) <= 5.0 * 192.0);
            prop_assert!(error(&sources, &rates) <= 1.5 * error(&sources, &greedy));
        }

        #[test]
        fn bits_at_a_slope_are_those_of_the_streams_rates(
            streams in proptest::collection::vec((1usize..1000, 0.0f64..100.0), 1..60),
            noise in proptest::collection::vec(prop_oneof![Just(f64::INFINITY), 0.0f64..1.2], 1..16),
            slope in 1e-6f64..10.0,
        ) {
            let sources: Vec<_> = streams.iter().map(|&(len, v)| Source::new(len, v)).collect();
            let noise = [&[1.0][..], &noise].concat();
            let rates: Vec<u8> = sources.iter().map(|s| rate_at(s, &noise, slope)).collect();
            let bits = SpendingBySlope::new(&sources, &noise).bits(slope);
            prop_assert!((bits - spent(&sources, &rates)).abs() < 1e-6);
        }

        #[test]
        fn no_exchange_of_a_step_is_better(
            variances in proptest::collection::vec(0.01f64..100.0, 2..12),
            bits in 0.6f64..6.0,
        ) {
            let sources: Vec<_> = variances.iter().map(|&variance| Source::new(100, variance)).collect();
            let rates = allocate(&sources, &noise(), 0, bits * 100.0 * sources.len() as f64);
            for from in 0..rates.len() {
                for to in 0..rates.len() {
                    if from != to && rates[from] > 0 && rates[to] < 16 {
                        let mut other = rates.clone();
                        other[from] -= 1;
                        other[to] += 1;
                        prop_assert!(error(&sources, &other) >= error(&sources, &rates) * (1.0 - 1e-12));
                    }
                }
            }
        }
    }

    #[test]
    fn equal_streams_differ_by_one_step_at_most() {
        let sources = [Source::new(1000, 2.0); 7];
        let rates = allocate(&sources, &noise(), 0, 4.0 * 7000.0 - 10.0);
        assert_eq!(rates, [8, 8, 8, 8, 8, 8, 7]);
        assert_eq!(allocate(&sources, &noise(), 0, 0.0), [0; 7]);
    }

    #[test]
    fn no_stream_gets_less_than_the_least() {
        let sources = [(100, 1e-9), (100, 1.0)].map(|(len, variance)| Source::new(len, variance));
        assert_eq!(allocate(&sources, &noise(), 0, 800.0), [0, 16]);
        assert_eq!(allocate(&sources, &noise(), 6, 800.0), [6, 10]);
        assert_eq!(allocate(&sources, &noise(), 6, 260.0), [2, 3]);
    }

    #[test]
    fn zeros_get_nothing() {
        let sources = [(4, 0.0), (4, 1.0)].map(|(len, variance)| Source::new(len, variance));
        assert_eq!(allocate(&sources, &noise(), 0, 1e9), [0, 16]);
    }
}
