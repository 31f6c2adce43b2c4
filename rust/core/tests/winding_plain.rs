//! The winding codec against the scheme written again in plain form.

use hypercomp_core::Control;
use hypercomp_core::codec::{Winding, WindingParams};
use proptest::prelude::*;

fn encode(weights: &[f32], params: &WindingParams) -> Winding {
    Winding::encode(weights, params, &Control::new()).unwrap()
}

fn decode(winding: &Winding) -> Vec<f32> {
    let mut out = vec![f32::NAN; winding.len()];
    winding.decode(&mut out, &Control::new()).unwrap();
    out
}

/// Weights of one magnitude, and now and then one of any.
fn weights() -> impl Strategy<Value = Vec<f32>> {
    let wild = prop_oneof![
        Just(0.0f32),
        Just(1e30),
        Just(-1e30),
        Just(f32::MAX),
        Just(1e-45)
    ];
    let magnitude = prop_oneof![6 => Just(0.1f32), 1 => Just(1e-30), 1 => Just(1e30)];
    magnitude.prop_flat_map(move |magnitude| {
        let usual = (-1.0f32..1.0).prop_map(move |x| x * magnitude);
        prop::collection::vec(prop_oneof![30 => usual, 1 => wild.clone()], 0..120)
    })
}

/// The scheme again, without any of the codec's arithmetic: weight units instead of lattice units,
/// every sample scanned, categories by a loop. It is the oracle.
mod plain {
    use super::WindingParams;

    /// Where the codec put centre and farthest group, in `f64`, and its number of categories.
    pub struct Plain<'a> {
        pub params: &'a WindingParams,
        pub centre: Vec<f64>,
        pub farthest: Vec<f64>,
        pub classes: u32,
    }

    impl Plain<'_> {
        /// The distance that category j pulls to l/2.
        pub fn reach(&self, category: u32) -> f64 {
            let farthest = distance(&self.farthest, &self.centre);
            let inner = self.params.side / 2.0;
            match self.classes {
                0 => inner,
                m => inner + f64::from(category) * (farthest - inner) / f64::from(m),
            }
        }

        /// The sample of an index, as seen from the centre.
        pub fn sample(&self, index: u32) -> Vec<f64> {
            let k = self.params.group as u32;
            let m = (1u64..)
                .find(|m| m.pow(k) >= self.params.samples.into())
                .unwrap();
            let turn = |i| u64::from(index - 1) * m.pow(i) % m.pow(k);
            (0..k)
                .map(|i| match index {
                    0 => 0.0,
                    _ => (turn(i) as f64 / m.pow(k) as f64 - 0.5) * self.params.side,
                })
                .collect()
        }

        /// A group pulled into the cube by its category's factor.
        pub fn pulled(&self, group: &[f64], category: u32) -> Vec<f64> {
            let factor = self.params.side / 2.0 / self.reach(category);
            group
                .iter()
                .zip(&self.centre)
                .map(|(x, c)| (x - c) * factor)
                .collect()
        }

        /// What a code decodes to.
        pub fn decoded(&self, code: u64) -> Vec<f64> {
            let points = u64::from(self.params.samples) + 1;
            let push = self.reach((code / points) as u32) / (self.params.side / 2.0);
            let sample = self.sample((code % points) as u32);
            sample
                .iter()
                .zip(&self.centre)
                .map(|(x, c)| x * push + c)
                .collect()
        }
    }

    pub fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - b).powi(2))
            .sum::<f64>()
            .sqrt()
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

fn plain(winding: &Winding) -> plain::Plain<'_> {
    plain::Plain {
        params: winding.params(),
        centre: wide(winding.center()),
        farthest: wide(winding.farthest()),
        classes: winding.classes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every code is a nearest sample of the right category, and decodes to that sample.
    #[test]
    fn codes_are_those_of_the_plain_scheme(
        weights in weights(),
        group in 1usize..=4,
        samples in prop_oneof![1u32..30, 1u32..500],
        class_max in 1u32..5,
    ) {
        let params = WindingParams { group, samples, class_max, ..WindingParams::default() };
        let winding = encode(&weights, &params);
        let plain = plain(&winding);
        let decoded = decode(&winding);
        let side = params.side;
        for ((group, decoded), code) in weights
            .chunks_exact(group)
            .zip(decoded.chunks_exact(group))
            .zip(winding.codes())
        {
            let group = wide(group);
            let category = (code / (u64::from(samples) + 1)) as u32;
            let offset = plain::distance(&group, &plain.centre);
            let inside = group.iter().zip(&plain.centre).all(|(x, c)| (x - c).abs() <= side / 2.0);
            prop_assert_eq!(category == 0, inside);
            if !inside {
                prop_assert!(offset <= plain.reach(category) * (1.0 + 1e-14));
                prop_assert!(category == 1 || offset > plain.reach(category - 1) * (1.0 - 1e-14));
            }
            let pulled = plain.pulled(&group, category);
            let to = |index| plain::distance(&pulled, &plain.sample(index));
            let ours = to((code % (u64::from(samples) + 1)) as u32);
            let least = (0..=samples).map(to).fold(f64::INFINITY, f64::min);
            prop_assert!(ours <= least + 1e-14 * side, "{} for {}", ours, least);
            for (ours, plain) in decoded.iter().zip(plain.decoded(code)) {
                let plain = plain.clamp(f32::MIN.into(), f32::MAX.into());
                let tolerance = 1e-7 * plain.abs() + 1e-14 * plain.abs().max(offset) + 1e-17;
                prop_assert!((f64::from(*ours) - plain).abs() <= tolerance, "{} {}", ours, plain);
            }
        }
    }
}
